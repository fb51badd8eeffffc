"""The knobs of a suite: which values each takes, as a number, a list or a grid with so many values a decade."""

from __future__ import annotations

import itertools
import math
import re
from decimal import Decimal
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt, MultipleOf
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from bench.spelling import is_same_value
from bench.suite.errors import problem, reject, relocated, show
from bench.trial import Choice, Knobs

SWEPT_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", re.ASCII)
OFF = "off"  # grad_clip: no clipping
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def listed(value: Any) -> Any:
    """A list as the tuple that strict validation asks for; all else is left for it to refuse."""
    return tuple(value) if isinstance(value, list) else value


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values; a problem for each that is there twice, or that equals another to within bench.spelling's bound."""
    first: dict[Any, int] = {}
    # Lists and mappings, which an entry may refuse later, are told apart by what they hold.
    keys = [repr(value) if isinstance(value, list | dict) else value for value in values]
    repeats = [(i, first[key]) for i, key in enumerate(keys) if first.setdefault(key, i) != i]
    if repeats:
        reject(*(problem(f"{_named(values[i])} is listed twice; remove one", loc=(i,), same_as=j) for i, j in repeats))
    numbers = sorted((value, i) for i, value in enumerate(values) if isinstance(value, float))
    near = [pair for pair in itertools.pairwise(numbers) if is_same_value(pair[0][0], pair[1][0])]
    if near:
        pairs = ((max(i, j), min(i, j)) for (_, i), (_, j) in near)
        reject(*(problem(f"{show(values[i])} and {show(values[j])} are one value; remove one", loc=(i,), same_as=j)
                 for i, j in pairs))  # fmt: skip
    return values


def _named(value: Any) -> str:
    return value.label if isinstance(value, Choice) else show(value)


class LogGrid(BaseModel):
    """Every m x 10^k from low to high, both included, with m in `per_decade` and k a whole number."""

    model_config = STRICT

    log: Annotated[tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]], BeforeValidator(listed)] = Field(
        description="[low, high], both included"
    )
    per_decade: Annotated[
        tuple[Annotated[float, Ge(1), Lt(10)], ...], BeforeValidator(listed), AfterValidator(distinct)
    ] = Field(description="factors from 1 to below 10, such as [1, 3]", min_length=1, max_length=100)

    @model_validator(mode="after")
    def _check(self) -> LogGrid:
        low, high = self.log
        if low > high:
            reject(problem(f"log must be [low, high], low first, got [{low!r}, {high!r}]", loc=("log",)))
        if not self.values():
            factors = ", ".join(map(repr, self.per_decade))
            message = f"log must span a value, got no m x 10^k from {low!r} to {high!r} with m in [{factors}]"
            reject(problem(message, loc=("log",)))
        return self

    def values(self) -> tuple[float, ...]:
        """The grid, rising; each value is the float of its decimal text, 3e-05 and not 3.0000000000000004e-05."""
        low, high = (Decimal(repr(bound)) for bound in self.log)
        slack = Decimal("1e-9")  # a bound that was computed, such as 0.1 + 0.2, still includes 0.3
        powers = range(low.adjusted() - 1, high.adjusted() + 1)
        grid = [Decimal(repr(factor)).scaleb(power) for power in powers for factor in sorted(self.per_decade)]
        return tuple(float(value) for value in grid if low * (1 - slack) <= value <= high * (1 + slack))


def _values_of(value: Any) -> tuple[Any, ...]:
    """A knob's values from what a suite gives: a number, a list, or a LogGrid."""
    grid = LogGrid.model_validate(value) if isinstance(value, dict) else value
    values = grid.values() if isinstance(grid, LogGrid) else grid
    return tuple(values) if isinstance(values, list | tuple) else (values,)


class KnobGrid(BaseModel):
    """The values of each knob: a number, a list, or {log: [low, high], per_decade: [1, 3]}.

    Beside the lane knobs below, any parameter of a workload, method, optimizer or schedule of the suite
    (bench/suite/sweeps.py).
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    lr: tuple[Annotated[float, Gt(0)], ...] = Field(min_length=1, description="peak learning rate")
    warmup_steps: tuple[Annotated[float, Ge(0), MultipleOf(1)], ...] = Field(
        (Knobs.warmup_steps,), min_length=1, description="steps of linear warmup; 0: none"
    )
    weight_decay: tuple[Annotated[float, Ge(0)], ...] = Field((Knobs.weight_decay,), min_length=1)
    grad_clip: tuple[Annotated[float, Gt(0), Field(allow_inf_nan=True)], ...] = Field(
        (Knobs.grad_clip,), min_length=1, description="largest norm of the gradient; off (or .inf): no clipping"
    )
    init_scale: tuple[Annotated[float, Gt(0)], ...] = Field(
        (Knobs.init_scale,), min_length=1, description="factor on the initial weights"
    )

    @property
    def swept(self) -> dict[str, tuple[Any, ...]]:
        """Values of the knobs that are parameters of entries, by the names that the suite gives."""
        return self.__pydantic_extra__ or {}

    @model_validator(mode="after")
    def _check_swept(self) -> KnobGrid:
        for name, value in self.swept.items():
            if not SWEPT_NAME.fullmatch(name):
                reject(problem(f"unknown key {show(name)}; expected the name of a knob", loc=(name,), at_key=True))
            try:
                values = _values_of(value)
                if not values:
                    reject(problem(f"{name} must not be empty", value=value))
                if isinstance(value, dict):  # a grid of a parameter that is a whole number
                    values = tuple(int(number) if number.is_integer() else number for number in values)
                self.swept[name] = distinct(values)
            except ValidationError as error:
                reject(*(relocated(details, name) for details in error.errors(include_url=False)))
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _values(cls, value: Any, info: ValidationInfo) -> Any:
        values = _values_of(value)
        if info.field_name == "grad_clip":
            return tuple(math.inf if isinstance(v, str) and v == OFF else v for v in values)
        return values

    @field_validator("*", mode="after")
    @classmethod
    def _distinct_values(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return distinct(tuple(value + 0.0 for value in values))  # -0.0 and 0.0 are one value

    @field_serializer("*")
    def _write(self, values: tuple[float, ...]) -> list[float | str]:
        return [OFF if value == math.inf else value for value in values]


class FixedKnobs(KnobGrid):
    """The knobs that a box does not draw, each of one value; without lr where the box has it."""

    lr: tuple[Annotated[float, Gt(0)], ...] = Field((), description="peak learning rate")

    @model_serializer(mode="wrap")
    def _write_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is left to its default, as the box may have it."""
        given = {*self.model_fields_set, *self.swept}
        return {name: values for name, values in handler(self).items() if name in given}
