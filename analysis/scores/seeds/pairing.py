"""Differences of a score between entries: paired by seed where both have the same seeds, else by Welch's t-test.

Seeds that two entries share only in part do not pair them: the scores that a board shows are of all seeds of each, and
so is their difference.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.curves import LossGrid
from analysis.scores.robustness import Score
from analysis.scores.seeds.intervals import (
    CONFIDENCE,
    half_error,
    half_scores,
    leave_one_out,
    single_seed_scores,
    wider_error,
)
from analysis.scores.seeds.scales import Interval
from bench.lazy import numpy as np
from bench.lazy import special

PAIRED, UNPAIRED = "paired by seed", "unpaired"

_ROUNDING = 1e-12  # of the loss at init, or of a step of the grid


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First minus second: value, standard error and two-sided p-value; p is 1 if it can't be told.

    num_seeds: of the side with fewer. freedom: degrees of freedom, of Student's t where paired, else of Welch and
    Satterthwaite. compared: PAIRED or UNPAIRED.
    """

    value: float
    standard_error: float | None = None
    p_value: float = 1.0
    num_seeds: int
    freedom: float
    compared: str = PAIRED

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95% interval; None with fewer than two seeds on a side."""
        error = self.standard_error
        return None if error is None else error * float(special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2))

    @property
    def interval(self) -> Interval:
        """The value with its 95% interval."""
        return Interval.around(self.value, self.half_width)

    def p_beyond(self, step: float) -> float:
        """p-value of a difference larger than `step`, which the coarseness of a grid alone explains, in [0, 1]."""
        beyond = abs(self.value) - step
        if self.standard_error is None or not beyond > _ROUNDING * step:
            return 1.0
        return two_sided(beyond, self.standard_error, self.freedom)


def two_sided(value: float, error: float, freedom: float) -> float:
    """p-value of Student's t on these degrees of freedom."""
    return 0.0 if error == 0 else 2 * float(special.stdtr(freedom, -abs(value) / error))


def entry_difference(score: Score, first: LossGrid, second: LossGrid) -> Difference:
    """Score of `first` minus that of `second`; `entry_differences` says how they are compared."""
    return entry_differences(score, [first, second])[0]


def entry_differences(score: Score, grids: Sequence[LossGrid], *, jumps: bool = False) -> list[Difference]:
    """First minus second of every pair, in the order of itertools.combinations; each grid is scored once.

    Those with the same seeds are paired, and the same seed deleted from both at a time: sharing a seed means sharing
    weights and data, so what both owe to the seed cancels. Others are compared by Welch's t-test, each side's standard
    error that of its own interval. With fewer than two seeds on a side nothing can be told: p is 1, as it is where the
    difference is mere rounding, and where the score is not a number for one of them or for some choice of seeds. Two
    entries that differ by the same amount for every seed have p 0. `jumps` as in `standard_error`. Source: Welch 1947.
    """
    pairs = itertools.combinations([_scored(score, grid, jumps=jumps) for grid in grids], 2)
    return [_paired(one, two) if one.seeds == two.seeds else _welch(one, two) for one, two in pairs]


def unpaired_difference(score: Score, first: LossGrid, second: LossGrid) -> Difference:
    """Score of `first` minus that of `second` as if their seeds had nothing in common: Welch's t-test."""
    return _welch(_scored(score, first, jumps=False), _scored(score, second, jumps=False))


def corrected(differences: Sequence[Difference]) -> list[float]:
    """p-values of the differences, corrected by Holm for the number of those that can be tested; 1 for the others."""
    can_tell = [one.standard_error is not None or one.p_value < 1 for one in differences]
    tested = iter(holm([one.p_value for one, is_tested in zip(differences, can_tell, strict=True) if is_tested]))
    return [next(tested) if is_tested else 1.0 for is_tested in can_tell]


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number, in the order given, in [0, 1]. Source: Holm 1979, step-down Bonferroni."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors) if len(p_values) else np.empty(0)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """The score of an entry, without each seed in turn, of each alone, and of halves of them, none unless it jumps.

    `scale`: the largest loss at init.
    """

    seeds: tuple[int, ...]
    value: float
    left_out_S: np.ndarray
    alone_S: np.ndarray
    of_half_H: np.ndarray
    scale: float

    @property
    def variance(self) -> float:
        """Variance of the difference, its squared standard error; NaN with one seed."""
        return _error(self.left_out_S, self.alone_S, self.of_half_H) ** 2 if len(self.seeds) > 1 else float("nan")


def _scored(score: Score, grid: LossGrid, *, jumps: bool) -> _Scored:
    data, several = grid.data, len(grid.seeds) > 1
    return _Scored(
        seeds=grid.seeds,
        value=float(score(*data)),
        left_out_S=leave_one_out(score, *data) if several else np.empty(0),
        alone_S=single_seed_scores(score, *data) if several else np.empty(0),
        of_half_H=half_scores(score, *data) if several and jumps else np.empty(0),
        scale=float(np.abs(grid.initial_losses).max()),
    )


def _error(left_out_S: np.ndarray, alone_S: np.ndarray, of_half_H: np.ndarray) -> float:
    """`standard_error` of what was scored without each seed, of each alone, and of halves of them, if any."""
    error = float(wider_error(left_out_S, alone_S))
    return max(error, float(half_error(of_half_H, len(alone_S)))) if len(of_half_H) else error


def _paired(first: _Scored, second: _Scored) -> Difference:
    num_seeds, error = len(first.seeds), float("nan")
    if num_seeds > 1:
        error = _error(
            first.left_out_S - second.left_out_S, first.alone_S - second.alone_S, first.of_half_H - second.of_half_H
        )
    return _tested(first, second, error, num_seeds - 1, PAIRED)


def _welch(first: _Scored, second: _Scored) -> Difference:
    sides = [(one.variance, len(one.seeds) - 1) for one in (first, second)]
    total = sum(variance for variance, _ in sides)
    parts = sum(variance**2 / freedom for variance, freedom in sides if freedom)
    freedom = total**2 / parts if parts else float(sum(freedom for _, freedom in sides))
    return _tested(first, second, float(np.sqrt(total)), freedom, UNPAIRED)


def _tested(first: _Scored, second: _Scored, error: float, freedom: float, compared: str) -> Difference:
    """The difference with this standard error, NaN or infinite where there is none."""
    value, num_seeds = first.value - second.value, min(len(first.seeds), len(second.seeds))
    if not np.isfinite(value + error):
        return Difference(value=value, num_seeds=num_seeds, freedom=freedom, compared=compared)
    is_rounding = abs(value) <= _ROUNDING * max(first.scale, second.scale)
    p_value = 1.0 if is_rounding else two_sided(value, error, freedom)
    return Difference(
        value=value, standard_error=error, p_value=p_value, num_seeds=num_seeds, freedom=freedom, compared=compared
    )
