"""Suite: what to compare, validated, and the trials that it stands for.

A suite is read from a YAML file (`load_suite`) or built in Python (`Suite(...)`). Either raises UsageError with one
line a problem: `file:line:column: message`, or `Suite: methods[1].width: message`.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Lt, MultipleOf
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.suite_entry import KINDS, entry_schema, resolve
from bench.suite_errors import dotted, explain, problem, reject, show
from bench.suite_file import Document, find_suite, read_document, shipped_suites
from bench.trial import KNOB_NAMES, Choice, Knobs, Trial

__all__ = ["KnobGrid", "LogGrid", "Suite", "find_suite", "json_schema", "load_suite", "shipped_suites"]

MAX_TRIALS = 1_000_000
OFF = "off"  # grad_clip: no clipping
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What validation knows beside the data: the file that it came from, and whether its code may be imported."""

    document: Document | None = None
    allow_code: bool = False


def _listed(value: Any) -> Any:
    """A list as the tuple that strict validation asks for; all else is left for it to refuse."""
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    first: dict[Any, int] = {}
    repeats = [(i, first[value]) for i, value in enumerate(values) if first.setdefault(value, i) != i]
    if repeats:
        reject(*(problem(f"{_named(values[i])} is listed twice; remove one", loc=(i,), same_as=j) for i, j in repeats))
    return values


def _named(value: Any) -> str:
    return value.label if isinstance(value, Choice) else show(value)


class LogGrid(BaseModel):
    """Every m x 10^k from low to high, both included, with m in `per_decade` and k a whole number."""

    model_config = STRICT

    log: Annotated[tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]], BeforeValidator(_listed)] = Field(
        description="[low, high], both included"
    )
    per_decade: Annotated[
        tuple[Annotated[float, Ge(1), Lt(10)], ...], BeforeValidator(_listed), AfterValidator(_distinct)
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


class KnobGrid(BaseModel):
    """The values of each lane knob: a number, a list, or {log: [low, high], per_decade: [1, 3]}."""

    model_config = STRICT

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

    @field_validator("*", mode="before")
    @classmethod
    def _values(cls, value: Any, info: ValidationInfo) -> Any:
        grid = LogGrid.model_validate(value) if isinstance(value, dict) else value
        values = grid.values() if isinstance(grid, LogGrid) else grid
        values = tuple(values) if isinstance(values, list | tuple) else (values,)
        if info.field_name == "grad_clip":
            return tuple(math.inf if isinstance(v, str) and v == OFF else v for v in values)
        return values

    @field_validator("*", mode="after")
    @classmethod
    def _distinct_values(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return _distinct(tuple(value + 0.0 for value in values))  # -0.0 and 0.0 are one value

    @field_serializer("*")
    def _write(self, values: tuple[float, ...]) -> list[float | str]:
        return [OFF if value == math.inf else value for value in values]


def _seeds(value: Any) -> Any:
    """A count as the seeds from 0; a list as it is."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple):
        reject(problem(f"seeds must be a count or a list of whole numbers, got {show(value)}", value=value))
    if isinstance(value, int):
        if not 1 <= value <= MAX_TRIALS:
            reject(problem(f"seeds must be a count from 1 to {MAX_TRIALS:,}, got {show(value)}", value=value))
        return tuple(range(value))
    return tuple(value)


def _resolve(field: str, value: Any, info: ValidationInfo) -> Choice:
    return resolve(KINDS[field], value, allow_code=info.context is not None and info.context.allow_code)


def _write_choice(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, **choice.params}


if TYPE_CHECKING:
    Workloads = Methods = Optimizers = Schedules = tuple[Choice, ...]
else:
    Workloads, Methods, Optimizers, Schedules = (
        Annotated[
            tuple[
                Annotated[Choice, PlainValidator(functools.partial(_resolve, field)), PlainSerializer(_write_choice)],
                ...,
            ],
            BeforeValidator(_listed),
            AfterValidator(_distinct),
        ]
        for field in KINDS
    )


class Suite(BaseModel):
    """What to compare: workloads x methods x optimizers x schedules x knobs x seeds."""

    model_config = STRICT

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=100,
        description="the MLflow experiment; letters, digits, _ - .",
    )
    description: str = Field("", max_length=2000, description="one or two sentences: what is compared and why")
    workloads: Workloads = Field(min_length=1, description="data, model, loss and number of steps")
    methods: Methods = Field(min_length=1, description="attention methods under test")
    optimizers: Optimizers = Field(min_length=1)
    schedules: Schedules = Field(
        ("constant",), min_length=1, validate_default=True, description="factor on the learning rate after warmup"
    )
    knobs: KnobGrid
    seeds: Annotated[
        tuple[Annotated[int, Ge(0), Lt(2**32)], ...], BeforeValidator(_seeds), AfterValidator(_distinct)
    ] = Field(min_length=1, description="a count (5 means 0 to 4) or a list of distinct whole numbers")
    probe_every: int = Field(ge=1, description="steps from one measurement of attention to the next")

    if TYPE_CHECKING:  # names, mappings and numbers stand for what the fields hold

        def __init__(self, **fields: Any) -> None: ...

    @property
    def num_trials(self) -> int:
        """Length of `expand()`."""
        return math.prod(self._axes().values())

    def expand(self) -> tuple[Trial, ...]:
        """Every trial, each once, in the order workload, method, optimizer, schedule, other knobs, lr, seed."""
        others = [name for name in KNOB_NAMES if name != "lr"]
        settings = itertools.product(*(getattr(self.knobs, name) for name in others), self.knobs.lr)
        knobs = [Knobs(**dict(zip([*others, "lr"], setting, strict=True))) for setting in settings]
        product = itertools.product(self.workloads, self.methods, self.optimizers, self.schedules, knobs, self.seeds)
        return tuple(
            Trial(
                workload=workload,
                method=method,
                optimizer=optimizer,
                schedule=schedule,
                knobs=setting,
                seed=seed,
                probe_every=self.probe_every,
            )
            for workload, method, optimizer, schedule, setting, seed in product
        )

    @model_validator(mode="after")
    def _check(self) -> Suite:
        problems = [*self._size_problems(), *self._warmup_problems(), *self._idle_knob_problems()]
        if problems:
            reject(*problems)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, data: Any, handler: ModelWrapValidatorHandler[Suite], info: ValidationInfo) -> Suite:
        # Defined last, so that it also sees what `_check` raises.
        try:
            return handler(data)
        except ValidationError as error:
            known = (cls.model_fields, KnobGrid.model_fields, LogGrid.model_fields)
            raise explain(error, known, info.context.document if info.context else None) from None

    def _axes(self) -> dict[tuple[str, ...], int]:
        axes: dict[tuple[str, ...], int] = {(name,): len(getattr(self, name)) for name in (*KINDS, "seeds")}
        return axes | {("knobs", name): len(getattr(self.knobs, name)) for name in KNOB_NAMES}

    def _size_problems(self) -> list[Any]:
        if self.num_trials <= MAX_TRIALS:
            return []
        axes = {loc: length for loc, length in self._axes().items() if length > 1}
        product = " x ".join(f"{length} {loc[-1]}" for loc, length in axes.items())
        message = f"{product} = {self.num_trials:,} trials; a suite must have at most {MAX_TRIALS:,}"
        return [problem(message, loc=max(axes, key=lambda loc: axes[loc]))]

    def _warmup_problems(self) -> list[Any]:
        """A warmup longer than the run never reaches its learning rate."""
        shortest = min(workload.params["num_steps"] for workload in self.workloads)
        return [
            problem(
                f"warmup_steps must be at most num_steps of every workload ({shortest}), got {steps:g}",
                loc=("knobs", "warmup_steps", index),
            )
            for index, steps in enumerate(self.knobs.warmup_steps)
            if steps > shortest
        ]

    def _idle_knob_problems(self) -> list[Any]:
        """Knobs of `Optimizer.knobs` are the optimizer's to read; a value for one that it does not read is refused."""
        problems = []
        for index, choice in enumerate(self.optimizers):
            read = load_class(OPTIMIZERS.get(choice.name, choice.name)).knobs
            for knob in (knob for knob in Optimizer.knobs if knob not in read):
                values = getattr(self.knobs, knob)
                if len(values) > 1 or (values != KnobGrid.model_fields[knob].default and knob != "lr"):
                    place = dotted(("optimizers", index))
                    message = f"{knob} has no effect with optimizer {choice.label!r} ({place}); remove one of them"
                    problems.append(problem(message, loc=("knobs", knob), at_key=True))
        return problems


def load_suite(path: str | Path, *, allow_code: bool = False) -> Suite:
    """The suite in a YAML file. Raises UsageError. allow_code: import `package.module:Class` entries."""
    document = read_document(path)
    return Suite.model_validate(document.data, context=Context(document=document, allow_code=allow_code))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a suite file, for completion and checks in an editor."""
    schema = Suite.model_json_schema()
    for field, kind in KINDS.items():
        schema["properties"][field]["items"] = entry_schema(kind)
    seeds = schema["properties"]["seeds"]
    many = {key: seeds.pop(key) for key in ("type", "items", "minItems")} | {"uniqueItems": True}
    seeds["anyOf"] = [{"type": "integer", "minimum": 1, "maximum": MAX_TRIALS}, many]
    for name, knob in schema["$defs"]["KnobGrid"]["properties"].items():
        one, minimum = knob.pop("items"), knob.pop("minItems")
        del knob["type"]
        if name == "grad_clip":
            one = {"anyOf": [one, {"const": OFF}]}
        many = {"type": "array", "items": one, "minItems": minimum, "uniqueItems": True}
        knob["anyOf"] = [one, many, {"$ref": "#/$defs/LogGrid"}]
        if "default" in knob:
            knob["default"] = OFF if name == "grad_clip" else knob["default"][0]
    schema["$defs"]["LogGrid"] = LogGrid.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
