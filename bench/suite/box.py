"""The box of a suite: which knobs are drawn together, each with its range and measure, and by which design.

box:
  lr: {log: [1e-4, 1]}                      # uniform in log lr
  weight_decay: {log: [1e-5, 1], zero: 0.1} # a tenth of the box without any
  warmup_steps: {int: [0, 500]}
  grad_clip: {log: [0.1, 10], off: 0.25}    # a quarter of the box without clipping
  optimizer: [adamw, lion]                  # values, each as likely
  beta2: {linear: [0.9, 0.999], when: {optimizer: [adamw]}}
design: {name: qmc, num_points: 512}     # or search: {name: tune_box, budget: 240}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    model_serializer,
    model_validator,
)

from analysis.scores.box.knobs import value_between
from bench.search.designs import DesignName, unit_points
from bench.suite.errors import problem, reject, show, suggest
from bench.suite.knobs import STRICT, SWEPT_NAME, distinct, listed

FORMS = ("log", "linear", "int", "values")
SPECIAL = {"zero": 0.0, "off": math.inf}  # shares of a box, and the value that the knob has there
MAX_COMBINATIONS = 10_000  # of the values of knobs that are no lane knobs, each of which makes a pack of its own
DIGITS = 4  # significant ones of a value, so that no library's rounding of a power decides which trial it is

_Share = Annotated[float, Gt(0), Lt(1)]
_Pair = Annotated[tuple[float, float], BeforeValidator(listed)]


class KnobRange(BaseModel):
    """Where a knob lies in a box: one of log, linear, int (both ends included) or values, each uniform on its scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    log: Annotated[tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]], BeforeValidator(listed)] | None = Field(
        None, description="[low, high], uniform in the logarithm"
    )
    linear: _Pair | None = Field(None, description="[low, high]")
    whole: Annotated[tuple[int, int], BeforeValidator(listed)] | None = Field(
        None, alias="int", description="[low, high], whole numbers, each as likely"
    )
    values: Annotated[tuple[Any, ...], BeforeValidator(listed)] | None = Field(
        None, description="each as likely; a list alone says the same"
    )
    zero: _Share | None = Field(None, description="the share of the box in which the knob is 0")
    off: _Share | None = Field(None, description="of grad_clip, the share of the box without clipping")
    when: dict[str, Annotated[tuple[Any, ...], BeforeValidator(listed)]] = Field(
        {}, description="another knob of the box and the values of it at which this one acts"
    )

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return {"values": value}
        if not isinstance(value, (Mapping, KnobRange)):
            reject(problem(f"a knob of a box must be a range or a list, got {show(value)}; one value stands in knobs"))
        if isinstance(value, Mapping) and (unknown := [key for key in value if key not in _KEYS]):
            hints = ((key, suggest(str(key), _KEYS, existing="known keys")) for key in unknown)
            reject(*(problem(f"unknown key {show(key)}; {hint}", loc=(key,), at_key=True) for key, hint in hints))
        return value

    @model_validator(mode="after")
    def _check(self) -> KnobRange:
        given = [form for form, ends in zip(FORMS, self._ends, strict=True) if ends is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            reject(problem(f"a knob of a box must have one of {', '.join(FORMS)}, got {got}"))
        form, ends = self.form, self.ends
        if form == "values":
            if len(ends) < 2:
                reject(problem("values must be two or more; one value stands in knobs", loc=("values",)))
            distinct(ends)
        elif ends[0] >= ends[1]:
            message = f"{form} must be [low, high], low first, got [{ends[0]!r}, {ends[1]!r}]"
            reject(problem(message, loc=(form,)))
        if self.zero is not None and self.off is not None:
            reject(problem("a knob must be 0 or off in a share of the box, not both", loc=("off",)))
        if form == "values" and self.special is not None:
            reject(problem("a list has its values alone; write 0 or off among them", loc=("zero",)))
        return self

    @model_serializer
    def _write(self) -> Any:
        plain: dict[str, Any] = {self.form: list(self.ends)}
        shares = {name: share for name in SPECIAL if (share := getattr(self, name)) is not None}
        when = {"when": {name: list(values) for name, values in self.when.items()}} if self.when else {}
        return plain | shares | when

    def __hash__(self) -> int:
        return hash((self.form, self.ends, self.zero, self.off, tuple(self.when.items())))

    @property
    def _ends(self) -> tuple[tuple[Any, ...] | None, ...]:
        return self.log, self.linear, self.whole, self.values

    @property
    def form(self) -> str:
        """The one of FORMS that it has."""
        return next(form for form, ends in zip(FORMS, self._ends, strict=True) if ends is not None)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Least and largest value, or all values."""
        return next(ends for ends in self._ends if ends is not None)

    @property
    def special(self) -> tuple[float, float] | None:
        """The share of the box in which the knob is 0 or off, and the value there; None without one."""
        special = [(share, value) for name, value in SPECIAL.items() if (share := getattr(self, name)) is not None]
        return special[0] if special else None

    @property
    def num_values(self) -> float:
        """How many values it can have; infinite for what is no whole number."""
        if self.form == "values":
            return len(self.ends)
        return self.ends[1] - self.ends[0] + 1 + (self.special is not None) if self.form == "int" else math.inf

    def value_at(self, share: float) -> Any:
        """The value below which, by the box's measure, this share in [0, 1) of it lies; of a list, in its order."""
        if self.special is not None:
            least, value = self.special
            if share < least:
                return value
            share = (share - least) / (1 - least)
        if self.form == "values":
            return self.ends[int(share * len(self.ends))]
        low, high = self.ends
        value = value_between(self.form, low, high, share)
        return int(value) if self.form == "int" else min(max(float(f"{value:.{DIGITS}g}"), low), high)


_KEYS = tuple(field.alias or name for name, field in KnobRange.model_fields.items())


class Box(RootModel[dict[str, KnobRange]]):
    """The knobs that are drawn together, by name, each with its range."""

    model_config = ConfigDict(frozen=True)

    def __hash__(self) -> int:
        return hash(tuple(self.root.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """The knobs, in the order of the suite, which is that of the design's axes."""
        return tuple(self.root)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of values of each knob that is a list, 0 of the others."""
        return tuple(len(one.ends) if one.form == "values" else 0 for one in self.root.values())

    @property
    def num_settings(self) -> float:
        """How many settings there are; infinite where a knob is no whole number."""
        return math.prod(one.num_values for one in self.root.values())

    @model_validator(mode="after")
    def _check(self) -> Box:
        if not self.root:
            reject(problem("a box must have a knob"))
        problems = [
            problem(f"unknown key {show(name)}; expected the name of a knob", loc=(name,), at_key=True)
            for name in self.root
            if not SWEPT_NAME.fullmatch(name)
        ]
        problems += [
            problem(f"off is for grad_clip; {name} has none", loc=(name, "off"), at_key=True)
            for name, one in self.root.items()
            if one.off is not None and name != "grad_clip"
        ]
        problems += [wrong for name in self.root for wrong in self._wrong_conditions(name)]
        if problems:
            reject(*problems)
        return self

    def _wrong_conditions(self, name: str) -> list[Any]:
        """What is wrong with when a knob acts: its parent is a list of the box, and the values are of that list."""
        problems = []
        for parent, wanted in self.root[name].when.items():
            every = [other for other, one in self.root.items() if one.form == "values"]
            lists = [other for other in every if not self.root[other].when]
            loc = (name, "when", parent)
            if parent not in lists:
                hint = suggest(parent, lists, existing="lists of the box that act everywhere")
                must = "act everywhere" if parent in every else "be a list of the box"
                message = f"{name} acts for values of {show(parent)}, which must {must}; {hint}"
                problems.append(problem(message, loc=loc, at_key=True))
                continue
            for value in (value for value in wanted if value not in self.root[parent].ends):
                hint = suggest(str(value), map(str, self.root[parent].ends), existing="values there")
                problems.append(problem(f"{parent} is never {show(value)}; {hint}", loc=loc))
            if not wanted:
                problems.append(problem(f"when must name values of {parent}", loc=loc))
            elif len(set(wanted)) < len(wanted):
                problems.append(problem(f"when names a value of {parent} twice; remove one", loc=loc))
        return problems

    def values_at(self, point: tuple[float, ...]) -> dict[str, Any]:
        """The value of each knob at a point of the unit cube; None of one that does not act there."""
        values = {name: one.value_at(share) for (name, one), share in zip(self.root.items(), point, strict=True)}
        acting = {
            name: all(values[parent] in wanted for parent, wanted in one.when.items())
            for name, one in self.root.items()
        }
        return {name: value if acting[name] else None for name, value in values.items()}


class Design(BaseModel):
    """Where the points of a box lie; the same for every method.

    Intervals come from the spread over replicates: scrambles of Sobol's sequence, or groups of independent draws.
    """

    model_config = STRICT

    name: DesignName = Field("qmc", description="qmc: scrambled Sobol points; random: independent draws")
    num_points: Annotated[int, Ge(2)] = Field(description="settings of every method, in all replicates together")
    num_replicates: Annotated[int, Ge(2)] = Field(8, description="scrambles, or independent groups of points")
    seed: Annotated[int, Ge(0), Lt(2**32)] = Field(0, description="of the scrambles, or draws")

    @model_validator(mode="after")
    def _check(self) -> Design:
        each, left = divmod(self.num_points, self.num_replicates)
        if left:
            message = f"num_points must be a multiple of num_replicates ({self.num_replicates}), got {self.num_points}"
            reject(problem(message, loc=("num_points",)))
        if self.name == "qmc" and each & (each - 1):
            message = f"a replicate of qmc must have a power of two points, got {self.num_points} / "
            reject(problem(f"{message}{self.num_replicates} = {each}", loc=("num_points",)))
        return self

    def points(self, num_knobs: int) -> list[tuple[float, ...]]:
        """The points in the unit cube, replicate by replicate."""
        return list(
            map(tuple, unit_points(self.name, num_knobs, self.num_points, self.num_replicates, self.seed).tolist())
        )

    def replicate_of(self, point: int) -> int:
        """The replicate that the point of this number belongs to."""
        return point // (self.num_points // self.num_replicates)
