"""95% intervals over few seeds for any score of an (lr x seed) loss matrix.

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

import math

from analysis.curves import LossGrid
from analysis.scores.robustness import Score
from analysis.scores.seeds.scales import Interval
from bench.lazy import numpy as np
from bench.lazy import special

CONFIDENCE = 0.95


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
    return interval_over_seeds(score, *grid.data, jumps=jumps)


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
    estimate, num_seeds = interval(score, grid), len(grid.seeds)
    if estimate.high is None:
        return estimate
    error = (estimate.high - estimate.value) / float(half_width(1.0, num_seeds))
    half = float(half_width(rounding_error(error, step, num_seeds), num_seeds))
    return Interval.around(
        estimate.value, max(half, step * unseen_share(num_seeds) if estimate.value in (0, 1) else 0.0)
    )


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


def wilson_interval(share: float, number: int) -> tuple[float, float]:
    """Wilson's score interval of a share of so many, by the normal quantile. Source: Wilson 1927."""
    squared = float(special.ndtri((1 + CONFIDENCE) / 2)) ** 2 / number
    middle = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _halves(num_seeds: int) -> np.ndarray:
    """Places of half of the seeds, rounded up, (H, M): arcs from every seed at every stride that visits all seeds."""
    strides = [stride for stride in range(1, num_seeds // 2 + 1) if math.gcd(stride, num_seeds) == 1]
    steps_M, starts_S1 = np.arange((num_seeds + 1) // 2), np.arange(num_seeds)[:, None]
    return np.concatenate([(starts_S1 + stride * steps_M) % num_seeds for stride in strides])


def _around(value: float, error: float, num_seeds: int) -> Interval:
    return Interval.around(value, float(half_width(error, num_seeds)) if np.isfinite(error) else None)
