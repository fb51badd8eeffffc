"""How two entries are compared: paired by seed where they have the same seeds, else unpaired, by Welch's t-test.

Seeds that two entries share only in part do not pair them: the scores that a board shows are of all seeds of each, and
so is their difference.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.curves import LossGrid
from analysis.scores.intervals import CONFIDENCE, Difference, holm, paired_differences, standard_error
from analysis.scores.robustness import Score

PAIRED, UNPAIRED = "paired by seed", "unpaired"

_ROUNDING = 1e-12  # of the loss at init


@dataclass(frozen=True, kw_only=True)
class UnpairedDifference(Difference):
    """First minus second where their seeds are not the same; num_seeds is that of the side with fewer.

    `freedom`: degrees of freedom of Welch and Satterthwaite.
    """

    freedom: float

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95% interval; None with fewer than two seeds on a side."""
        error = self.standard_error
        return None if error is None else error * float(special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2))

    def p_of(self, value: float) -> float:
        """Two-sided p-value of this value with the standard error of the difference, which must have one."""
        error = self.standard_error
        return float(2 * special.stdtr(self.freedom, -abs(value) / error)) if error else 0.0


def how_compared(found: Difference) -> str:
    """PAIRED or UNPAIRED, in words."""
    return UNPAIRED if isinstance(found, UnpairedDifference) else PAIRED


def entry_difference(score: Score, first: LossGrid, second: LossGrid) -> Difference:
    """Score of `first` minus that of `second`; `entry_differences` says how they are compared."""
    return entry_differences(score, [first, second])[0]


def entry_differences(score: Score, grids: Sequence[LossGrid], *, jumps: bool = False) -> list[Difference]:
    """First minus second of every pair, in the order of itertools.combinations; each grid is scored once.

    Entries with the same seeds are paired by seed (`paired_differences`), others compared as `unpaired_difference`
    does. `jumps` as in `standard_error`.
    """
    by_seeds: dict[tuple[int, ...], list[int]] = {}
    for place, grid in enumerate(grids):
        by_seeds.setdefault(grid.seeds, []).append(place)
    found: dict[tuple[int, int], Difference] = {}
    for places in by_seeds.values():
        paired = paired_differences(score, [grids[place] for place in places], jumps=jumps)
        found |= zip(itertools.combinations(places, 2), paired, strict=True)
    side = functools.cache(lambda place: _side(score, grids[place], jumps=jumps))
    pairs = itertools.combinations(range(len(grids)), 2)
    return [found[pair] if pair in found else _welch(side(pair[0]), side(pair[1])) for pair in pairs]


def unpaired_difference(score: Score, first: LossGrid, second: LossGrid) -> UnpairedDifference:
    """Score of `first` minus that of `second` as if their seeds had nothing in common: Welch's t-test.

    Each side's standard error is that of its own interval (the wider of the jackknife's and the single seeds'). With
    fewer than two seeds on a side nothing can be told: p is 1, as it is where the difference is mere rounding. Source:
    Welch 1947.
    """
    return _welch(_side(score, first, jumps=False), _side(score, second, jumps=False))


def corrected(found: Sequence[Difference]) -> list[float]:
    """p-values of the differences, corrected by Holm for the number of those that can be tested; 1 for the others."""
    can_tell = [one.standard_error is not None or one.p_value < 1 for one in found]
    tested = iter(holm([one.p_value for one, is_tested in zip(found, can_tell, strict=True) if is_tested]))
    return [next(tested) if is_tested else 1.0 for is_tested in can_tell]


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The score of one entry; `variance` is that of its standard error, NaN with one seed; `scale`: loss at init."""

    value: float
    variance: float
    num_seeds: int
    scale: float


def _side(score: Score, grid: LossGrid, *, jumps: bool) -> _Side:
    data, num_seeds = (grid.losses, grid.initial_losses, grid.lrs), len(grid.seeds)
    return _Side(
        value=float(score(*data)),
        variance=float(standard_error(score, *data, jumps=jumps)) ** 2 if num_seeds > 1 else float("nan"),
        num_seeds=num_seeds,
        scale=float(np.abs(grid.initial_losses).max()),
    )


def _welch(first: _Side, second: _Side) -> UnpairedDifference:
    value, num_seeds = first.value - second.value, min(first.num_seeds, second.num_seeds)
    total = first.variance + second.variance
    if not np.isfinite(value + total):
        return UnpairedDifference(value=value, standard_error=None, p_value=1.0, num_seeds=num_seeds, freedom=0.0)
    freedoms = first.num_seeds - 1, second.num_seeds - 1
    parts = first.variance**2 / freedoms[0] + second.variance**2 / freedoms[1]
    found = UnpairedDifference(
        value=value,
        standard_error=float(np.sqrt(total)),
        p_value=1.0,
        num_seeds=num_seeds,
        freedom=total**2 / parts if parts else float(sum(freedoms)),
    )
    if abs(value) <= _ROUNDING * max(first.scale, second.scale):
        return found
    return dataclasses.replace(found, p_value=found.p_of(value))
