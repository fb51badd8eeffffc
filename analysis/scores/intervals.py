"""95% intervals over few seeds for any score of an (lr x seed) loss matrix, and paired differences between methods.

The standard error is the wider of two, with Student's t on S - 1 degrees of freedom, centred on the score:

- the delete-one-seed jackknife (Efron & Stein 1981: conservative in expectation for any statistic);
- the spread of the scores of single seeds, over sqrt(S) (an honest t when the score is a mean over seeds).

Each fails where the other holds: the jackknife collapses when the seed that sets the cliff of a seed-averaged curve
has a near twin; the single seeds' spread is too small when noise enters through the best loss. A score that leaps with
the best lr takes the spread over halves of the seeds for a third. Percentile and BCa bootstraps of five seeds cover
0.60 to 0.86 (`python -m tests.analysis.interval_coverage` prints the table).

What is covered is the score's expectation over repeats with the same number of seeds. `lr_sensitivity` of
seed-averaged curves grows with the number of seeds where the cliff wanders from seed to seed (one diverged seed clips
an lr); with ten seeds and a cliff that wanders over several grid points even this interval covers about 0.9, while
`lr_sensitivity_seedwise` has no such trouble. Everything here is a closed form of the data: no random numbers.

Legend: L learning rates, S seeds, X any batch axes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.curves import LossGrid
from analysis.scores.robustness import Score
from analysis.scores.scales import Interval

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First minus second, paired by seed: value, standard error and two-sided p-value; p is 1 if it can't be told."""

    value: float
    standard_error: float | None
    p_value: float
    num_seeds: int

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95% interval; None with fewer than two shared seeds."""
        return None if self.standard_error is None else float(half_width(self.standard_error, self.num_seeds))

    @property
    def interval(self) -> Interval:
        """The value with its 95% interval."""
        return Interval.around(self.value, self.half_width)

    def p_of(self, value: float) -> float:
        """Two-sided p-value of this value with the standard error of the difference, which must have one."""
        assert self.standard_error is not None
        return two_sided(value, self.standard_error, self.num_seeds)


def standard_error(
    score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray, *, jumps: bool = False
) -> np.ndarray:
    """Standard error of `score` over seeds, (X..., L, S), (X..., S), (L,) -> (X...). Needs S >= 2.

    `jumps`: the score leaps as the best lr moves by a grid step, which leaving out one seed of many seldom shows; then
    it is no less than that of the scores of half of the seeds (`half_error`).
    """
    left_out = leave_one_out(score, losses_XLS, initial_XS, lrs_L)
    alone = single_seed_scores(score, losses_XLS, initial_XS, lrs_L)
    error = wider_error(left_out, alone)
    if not jumps:
        return error
    return np.maximum(error, half_error(half_scores(score, losses_XLS, initial_XS, lrs_L), losses_XLS.shape[-1]))


def wider_error(left_out_XS: np.ndarray, alone_XS: np.ndarray) -> np.ndarray:
    """The wider of the jackknife's and the single seeds' standard error: (X..., S), (X..., S) -> (X...)."""
    num_seeds = left_out_XS.shape[-1]
    jackknife = left_out_XS.std(-1) * np.sqrt(num_seeds - 1)
    return np.maximum(jackknife, alone_XS.std(-1, ddof=1) / np.sqrt(num_seeds))


def leave_one_out(score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The score without each seed in turn: (X..., S)."""
    num_seeds = losses_XLS.shape[-1]
    kept_SM = [np.delete(np.arange(num_seeds), seed) for seed in range(num_seeds)]
    return _subset_scores(score, losses_XLS, initial_XS, lrs_L, np.stack(kept_SM))


def single_seed_scores(score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The score of each seed alone: (X..., S)."""
    return _subset_scores(score, losses_XLS, initial_XS, lrs_L, np.arange(losses_XLS.shape[-1])[:, None])


def half_scores(score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The score of half of the seeds, for H halves in which each seed is as often: (X..., H)."""
    return _subset_scores(score, losses_XLS, initial_XS, lrs_L, _halves(losses_XLS.shape[-1]))


def _subset_scores(
    score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray, seeds_KM: np.ndarray
) -> np.ndarray:
    """The score of each of K subsets of M seeds, (X..., K): at once, unless each cell of a map has its loss at init."""
    if initial_XS.ndim == losses_XLS.ndim:
        return np.stack([score(losses_XLS[..., seeds], initial_XS[..., seeds], lrs_L) for seeds in seeds_KM], -1)
    return score(np.moveaxis(losses_XLS[..., seeds_KM], -2, -3), initial_XS[..., seeds_KM], lrs_L)


def half_error(scores_XH: np.ndarray, num_seeds: int) -> np.ndarray:
    """Standard error of a score by its spread over halves of the seeds, (X..., H) -> (X...).

    The delete-d jackknife, which holds for scores that are not smooth, too. Source: Shao & Wu 1989.
    """
    num_kept = (num_seeds + 1) // 2
    return scores_XH.std(-1) * np.sqrt(num_kept / (num_seeds - num_kept))


def half_width(error: np.ndarray | float, num_seeds: int) -> np.ndarray:
    """Half the width of the interval of a score with this standard error."""
    return np.asarray(error) * special.stdtrit(num_seeds - 1, (1 + CONFIDENCE) / 2)


def interval(score: Score, grid: LossGrid, *, jumps: bool = False) -> Interval:
    """The score of an entry with its interval; the low end is not cut at zero."""
    return interval_over_seeds(score, grid.losses, grid.initial_losses, grid.lrs, jumps=jumps)


def interval_over_seeds(
    score: Score, losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray, *, jumps: bool = False
) -> Interval:
    """The score of any arrays whose last axis is seeds, with its interval; `jumps` as in `standard_error`.

    The ends are None with fewer than two seeds, and where the score is not a number for some choice of them.
    """
    value, num_seeds = float(score(losses_LS, initial_S, lrs_L)), losses_LS.shape[-1]
    error = float(standard_error(score, losses_LS, initial_S, lrs_L, jumps=jumps)) if num_seeds > 1 else np.nan
    return _around(value, error, num_seeds)


def rounded_interval(score: Score, grid: LossGrid, step: float) -> Interval:
    """`interval` of a mean over seeds of values that move in steps, with the `rounding_error` of each.

    Of a share of 0 or 1 the other end lies at least a step times `unseen_share` of the seeds away: one in which the
    next step would be passed may not have been among them.
    """
    found, num_seeds = interval(score, grid), len(grid.seeds)
    if found.high is None:
        return found
    error = (found.high - found.value) / float(half_width(1.0, num_seeds))
    half = float(half_width(rounding_error(error, step, num_seeds), num_seeds))
    return Interval.around(found.value, max(half, step * unseen_share(num_seeds) if found.value in (0, 1) else 0.0))


def unseen_share(num_outcomes: int) -> float:
    """The share that may be true where none of so many independent outcomes was it: a 97.5% bound.

    Source: Clopper & Pearson 1934, at 0 of n.
    """
    return 1 - ((1 - CONFIDENCE) / 2) ** (1 / num_outcomes)


def rounding_error(error: np.ndarray | float, step: float, num_seeds: int) -> np.ndarray:
    """Standard error of a mean over seeds of values that a grid rounds to multiples of `step`.

    To the variance over seeds it adds that of the rounding, step^2 / 12 a seed: few seeds often agree on a multiple by
    chance, which is no certainty. Source: this project, with the variance of Sheppard's correction.
    """
    return np.hypot(error, step / np.sqrt(12 * num_seeds))


def mean_interval(values_S: np.ndarray) -> Interval:
    """Mean over seeds with its interval, (S,) -> Interval: Student's t, which both errors above reduce to."""
    value, num_seeds = float(values_S.mean()), len(values_S)
    if num_seeds < 2:
        return Interval(value=value, low=None, high=None)
    return _around(value, float(values_S.std(ddof=1)) / np.sqrt(num_seeds), num_seeds)


def two_sided(value: float, error: float, num_seeds: int) -> float:
    """p-value of Student's t on num_seeds - 1 degrees of freedom."""
    return 0.0 if error == 0 else 2 * float(special.stdtr(num_seeds - 1, -abs(value) / error))


def p_beyond(found: Difference, step: float) -> float:
    """p-value of a difference larger than `step`, which the coarseness of a grid alone explains, in [0, 1]."""
    beyond = abs(found.value) - step
    if found.standard_error is None or not beyond > 1e-12 * step:
        return 1.0
    return found.p_of(beyond)


def paired_difference(score: Score, first: LossGrid, second: LossGrid) -> Difference:
    """Score of `first` minus that of `second` on the seeds they share, deleting the same seed from both at a time.

    Sharing a seed means sharing weights and data, so what both owe to the seed cancels. With fewer than two shared
    seeds nothing can be told: p is 1, as it is where the difference is mere rounding. Two entries
    that differ by the same amount for every seed have p 0. Where the score is not a number for one of them, or for some
    choice of seeds, there is no standard error and p is 1.
    """
    return paired_differences(score, [first, second])[0]


def paired_differences(score: Score, grids: Sequence[LossGrid], *, jumps: bool = False) -> list[Difference]:
    """`paired_difference` of every pair, in the order of itertools.combinations; each grid is scored once.

    `jumps` as in `standard_error`.
    """

    @functools.cache
    def scored(place: int, seeds: tuple[int, ...]) -> _Scored:
        grid = grids[place] if len(seeds) < 2 else grids[place].of_seeds(seeds)
        return _scored(score, grid, jumps=jumps)

    found = []
    for first, second in itertools.combinations(range(len(grids)), 2):
        seeds = tuple(sorted(set(grids[first].seeds) & set(grids[second].seeds)))
        kept = seeds if len(seeds) > 1 else ()
        found.append(_difference(scored(first, kept), scored(second, kept), len(seeds)))
    return found


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number, in the order given, in [0, 1]. Source: Holm 1979, step-down Bonferroni."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors) if len(p_values) else np.empty(0)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def _halves(num_seeds: int) -> np.ndarray:
    """Places of half of the seeds, rounded up, (H, M): arcs from every seed at every stride that visits all seeds."""
    strides = [stride for stride in range(1, num_seeds // 2 + 1) if math.gcd(stride, num_seeds) == 1]
    steps_M, starts_S1 = np.arange((num_seeds + 1) // 2), np.arange(num_seeds)[:, None]
    return np.concatenate([(starts_S1 + stride * steps_M) % num_seeds for stride in strides])


def _around(value: float, error: float, num_seeds: int) -> Interval:
    return Interval.around(value, float(half_width(error, num_seeds)) if np.isfinite(error) else None)


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """The score of some seeds, without each in turn, of each alone, and of halves of them, none unless it jumps.

    `scale`: their largest initial loss.
    """

    value: float
    left_out_S: np.ndarray
    alone_S: np.ndarray
    of_half_H: np.ndarray
    scale: float


def _scored(score: Score, grid: LossGrid, *, jumps: bool) -> _Scored:
    data = (grid.losses, grid.initial_losses, grid.lrs)
    several = len(grid.seeds) > 1
    return _Scored(
        value=float(score(*data)),
        left_out_S=leave_one_out(score, *data) if several else np.empty(0),
        alone_S=single_seed_scores(score, *data) if several else np.empty(0),
        of_half_H=half_scores(score, *data) if several and jumps else np.empty(0),
        scale=float(np.abs(grid.initial_losses).max()),
    )


def _difference(first: _Scored, second: _Scored, num_seeds: int) -> Difference:
    value = first.value - second.value
    if num_seeds < 2:
        return Difference(value=value, standard_error=None, p_value=1.0, num_seeds=num_seeds)
    error = float(wider_error(first.left_out_S - second.left_out_S, first.alone_S - second.alone_S))
    if len(first.of_half_H):
        error = max(error, float(half_error(first.of_half_H - second.of_half_H, num_seeds)))
    if not np.isfinite(value + error):
        return Difference(value=value, standard_error=None, p_value=1.0, num_seeds=num_seeds)
    is_rounding = abs(value) <= 1e-12 * max(first.scale, second.scale)
    p_value = 1.0 if is_rounding else two_sided(value, error, num_seeds)
    return Difference(value=value, standard_error=error, p_value=p_value, num_seeds=num_seeds)
