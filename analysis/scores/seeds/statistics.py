"""How the interval of a score comes about, and the differences between several entries.

A Statistic is made of a score, a pure function of a grid: `smooth` for most, `share` and `positive_mean` for means of
such values, `jumping` where it leaps as the best lr moves, `on_grid` and `of_lr` where it is a place on the grid
itself, `share_of_trials` where it is rounded to one learning rate, `spread_of_seeds` for the standard deviation over
seeds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.curves import LossGrid
from analysis.scores.robustness import Score
from analysis.scores.seeds.intervals import interval, rounded_interval
from analysis.scores.seeds.pairing import Difference, entry_differences
from analysis.scores.seeds.scales import Interval
from analysis.scores.seeds.spreads import spread_difference, spread_interval
from bench.lazy import numpy as np


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A score of a grid with its interval, and the differences of several; `step`: how coarse it is, 0 if not.

    Differences are of every pair, in the order of itertools.combinations, paired by seed where seeds are the same.
    """

    estimate: Callable[[LossGrid], Interval]
    differences: Callable[[Sequence[LossGrid]], list[Difference]]
    step: Callable[[LossGrid], float]


def _no_step(grid: LossGrid) -> float:
    return 0.0


def _decades(grid: LossGrid) -> float:
    """Widest distance between neighbouring learning rates in decades; 0 with one."""
    return float(np.diff(np.log10(grid.lrs)).max()) if len(grid.lrs) > 1 else 0.0


def _mean_decades(grid: LossGrid) -> float:
    """Mean distance between neighbouring learning rates in decades; 0 with one."""
    return float(np.diff(np.log10(grid.lrs)).mean()) if len(grid.lrs) > 1 else 0.0


def _one_lr(grid: LossGrid) -> float:
    return 1 / len(grid.lrs)


def smooth(score: Score) -> Statistic:
    """The score of a grid as analysis.scores.seeds.intervals has it."""
    return Statistic(
        estimate=lambda grid: interval(score, grid),
        differences=lambda grids: entry_differences(score, grids),
        step=_no_step,
    )


def share(score: Score) -> Statistic:
    """A mean over seeds of shares."""
    return dataclasses.replace(smooth(score), estimate=lambda grid: interval(score, grid).of_share())


def positive_mean(score: Score) -> Statistic:
    """A mean over seeds of values that are positive and may be skewed, as times are."""
    return dataclasses.replace(smooth(score), estimate=lambda grid: interval(score, grid).of_positive_mean())


def jumping(score: Score) -> Statistic:
    """A score that leaps as the best lr moves by a grid step."""
    return Statistic(
        estimate=lambda grid: interval(score, grid, jumps=True),
        differences=lambda grids: entry_differences(score, grids, jumps=True),
        step=_no_step,
    )


def on_grid(score: Score) -> Statistic:
    """A score of all seeds that is itself a place on the grid, in decades: half a mean step on either side.

    That rounding does not shrink with the number of seeds.
    """

    def estimate(grid: LossGrid) -> Interval:
        estimate, half = interval(score, grid), _mean_decades(grid) / 2
        if estimate.low is None or estimate.high is None:
            return estimate
        return dataclasses.replace(estimate, low=estimate.low - half, high=estimate.high + half)

    return _stepped(score, estimate, _decades)


def share_of_trials(score: Score) -> Statistic:
    """A mean over seeds of shares of their trials: each is rounded to one learning rate of the grid."""
    return _stepped(score, lambda grid: rounded_interval(score, grid, _one_lr(grid)).within((0.0, 1.0)), _one_lr)


def _stepped(score: Score, estimate: Callable[[LossGrid], Interval], step: Callable[[LossGrid], float]) -> Statistic:
    """A score that moves in steps: a difference must pass a whole one, the widest, which one seed's chance may be."""

    def differences(grids: Sequence[LossGrid]) -> list[Difference]:
        steps = [max(step(first), step(second)) for first, second in itertools.combinations(grids, 2)]
        differences = entry_differences(score, grids)
        return [
            dataclasses.replace(one, p_value=one.p_beyond(width)) for one, width in zip(differences, steps, strict=True)
        ]

    return Statistic(estimate=estimate, differences=differences, step=step)


def of_lr(score: Score) -> Statistic:
    """A learning rate: computed in decades, shown as an lr; what lies beyond the grid is for the score's domain."""

    def log_score(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
        return np.log10(score(losses_LS, initial_S, lrs_L))

    in_decades = on_grid(log_score)

    def estimate(grid: LossGrid) -> Interval:
        estimate = in_decades.estimate(grid)
        value = float(score(*grid.data))
        if estimate.low is None or estimate.high is None:
            return Interval(value=value, low=None, high=None)
        return Interval(value=value, low=10.0**estimate.low, high=10.0**estimate.high)

    return dataclasses.replace(in_decades, estimate=estimate)


def spread_of_seeds(_: Score) -> Statistic:
    """The standard deviation over the seeds of a grid of one row, with an interval and a test of its own."""
    return Statistic(
        estimate=lambda grid: spread_interval(grid.losses[0]),
        differences=lambda grids: [spread_difference(*pair) for pair in itertools.combinations(grids, 2)],
        step=_no_step,
    )
