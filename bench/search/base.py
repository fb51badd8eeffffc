"""What an adaptive search is: pure decisions about the knobs of one method, from what came back so far.

A search never trains. `next` says which settings to train in the next round, `replay` finds where a search stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

from annotated_types import Ge, Gt

if TYPE_CHECKING:
    from analysis.curves import LossGrid

Value = TypeVar("Value")  # what a search moves: a number where that is one knob, a point of the unit cube of a box
Setting = tuple[float, int]  # (value of the knob, seed): one trial


@dataclass(frozen=True, kw_only=True)
class Point(Generic[Value]):
    """What came back for one setting. Losses in the unit of the workload's loss."""

    value: Value
    seed: int
    final_loss: float  # +inf if diverged, NaN if the trial was lost, what it was when it was pruned
    initial_loss: float  # before any update; NaN if the trial was lost
    pruned_step: int | None = None  # the last step of one that a rule pruned
    rung_losses: Mapping[int, float] = field(default_factory=dict, hash=False)  # what a rule that prunes saw of it

    @property
    def is_lost(self) -> bool:
        return math.isnan(self.final_loss)

    @property
    def is_whole(self) -> bool:
        """Whether it came back and was trained to its last step."""
        return math.isfinite(self.final_loss) and self.pruned_step is None


@dataclass(frozen=True, kw_only=True)
class Ask(Generic[Value]):
    """One round: the settings to train next, distinct and never asked before, and why, in one sentence."""

    settings: tuple[tuple[Value, int], ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a finished search reports, in `unit`; an end of the 95% interval that can't be told is 0, inf or NaN."""

    value: float  # NaN if there is none
    low: float
    high: float
    unit: str
    num_trials: int  # asked for, lost ones included
    note: str  # why the search stopped


@dataclass(frozen=True, kw_only=True)
class Search(Generic[Value]):
    """A search for one method: subclass it, declare parameters as fields, override two methods.

    Both take the points of all earlier rounds in any order, lost trials included, and are functions of them alone.
    Raises ValueError for parameters that do not fit together.
    """

    budget: Annotated[int, Ge(1)] = 40  # most trials
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"a search needs a budget of at least 1 trial, got {self.budget}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a search needs one or more seeds that differ, got {self.seeds}")

    def next(self, points: Sequence[Point[Value]]) -> Ask[Value] | None:
        """The next round, or None when the search is done."""
        raise NotImplementedError

    def answer(self, points: Sequence[Point[Value]]) -> Answer:
        """What the search found; asked before it is done, what it knows so far."""
        raise NotImplementedError

    def num_left(self, points: Sequence[Point[Value]]) -> int:
        """Trials left of the budget."""
        return self.budget - len(points)


@dataclass(frozen=True, kw_only=True)
class KnobSearch(Search[float]):
    """A search over one positive knob in [low, high]."""

    low: Annotated[float, Gt(0)] = 1e-5
    high: Annotated[float, Gt(0)] = 10.0
    grid: tuple[float, ...] = ()  # the only values that may be asked; () is any value of three significant digits

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"a search needs 0 < low < high, got low {self.low} and high {self.high}")
        super().__post_init__()
        outside = [value for value in self.grid if not self.low <= value <= self.high]
        if outside or len(set(self.grid)) < len(self.grid):
            raise ValueError(f"grid must be values in [{self.low}, {self.high}] that differ, got {self.grid}")

    def allowed(self, value: float) -> float:
        """The value that may be asked nearest to this one on a log scale; the smaller one if two are."""
        if self.grid:
            return min(sorted(self.grid), key=lambda point: abs(math.log(point / value)))
        return min(max(float(f"{value:.3g}"), self.low), self.high)

    def place(self, value: float, asked: Collection[float], above: float, below: float) -> float | None:
        """The value that may be asked nearest to `value`, strictly between `above` and `below`, and not in `asked`.

        Off a grid, where `value` is taken, the first free one of a few that divide the range evenly. None if all are.
        """
        inner, outer = max(above, self.low), min(below, self.high)
        if self.grid:
            targets = sorted(self.grid, key=lambda point: (abs(math.log(point / value)), point))
        else:
            fractions = [part / 8 for part in (4, 2, 6, 1, 3, 5, 7, 0, 8)]
            targets = [value, *(inner * (outer / inner) ** fraction for fraction in fractions)]
        for target in targets:
            nearest = self.allowed(target)
            if above < nearest < below and nearest not in asked:
                return nearest
        return None

    def decade_values(self, num_per_decade: float) -> tuple[float, ...]:
        """Values that may be asked from low to high, evenly spaced in log, at least `num_per_decade` a decade."""
        low, high = (min(self.grid), max(self.grid)) if self.grid else (self.low, self.high)
        num_gaps = max(math.ceil(math.log10(high / low) * num_per_decade - 1e-9), 1)
        spaced = [low * (high / low) ** (gap / num_gaps) for gap in range(num_gaps + 1)]
        return tuple(dict.fromkeys(self.allowed(value) for value in spaced))


def _trusted(points: Sequence[Point[Value]], ask: Ask[Value]) -> Collection[tuple[Value, int]]:
    """Every known answer counts."""
    return ()


def replay(
    search: Search[Value],
    known: Mapping[tuple[Value, int], Point[Value]],
    *,
    stale: Callable[[Sequence[Point[Value]], Ask[Value]], Collection[tuple[Value, int]]] = _trusted,
) -> tuple[list[Ask[Value]], list[Point[Value]], tuple[tuple[Value, int], ...]]:
    """Runs a search from its start on known answers: its rounds, the points of the complete ones, what is missing.

    Stops at the first round that `known` does not answer in full: that round is the last of the rounds given, and its
    settings that are not known are missing. Nothing is missing if the search is done. stale: of the points of earlier
    rounds and a round that is known in full, the settings whose answers don't count.
    """
    rounds: list[Ask[Value]] = []
    points: list[Point[Value]] = []
    while (ask := search.next(points)) is not None:
        rounds.append(ask)
        missing = tuple(setting for setting in ask.settings if setting not in known)
        if missing := missing or tuple(stale(points, ask)):
            return rounds, points, missing
        points.extend(known[setting] for setting in ask.settings)
    return rounds, points, ()


def by_setting(points: Iterable[Point[Value]]) -> dict[tuple[Value, int], Point[Value]]:
    """The points under their settings, sorted: the order that they are looked at in."""
    return {(p.value, p.seed): p for p in sorted(points, key=lambda p: (p.value, p.seed))}


def loss_grid(points: Sequence[Point[float]]) -> LossGrid | None:
    """The points that are not lost as the matrix that scores take; None if there is none."""
    import numpy as np

    from analysis.curves import LossGrid

    present = [point for point in by_setting(points).values() if not point.is_lost]
    if not present:
        return None
    values, seeds = sorted({point.value for point in present}), sorted({point.seed for point in present})
    losses_LS = np.full((len(values), len(seeds)), np.nan)
    initial_LS = losses_LS.copy()
    for point in present:
        losses_LS[values.index(point.value), seeds.index(point.seed)] = point.final_loss
        initial_LS[values.index(point.value), seeds.index(point.seed)] = point.initial_loss
    return LossGrid(
        lrs=np.array(values),
        seeds=tuple(seeds),
        losses=losses_LS,
        initial_losses=np.nanmean(initial_LS, 0),
        num_lost=len(points) - len(present),
        is_complete=len(present) == len(values) * len(seeds),
    )


def show(value: float) -> str:
    """A value of the knob for people: 0.003, 3e-06."""
    return f"{value:.3g}"
