"""95% intervals over few seeds for any score of an (lr x seed) loss matrix, and paired differences between methods.

The standard error is the wider of two, with Student's t on S - 1 degrees of freedom, centred on the score:

- the delete-one-seed jackknife (Efron & Stein 1981: conservative in expectation for any statistic);
- the spread of the scores of single seeds, over sqrt(S) (an honest t when the score is a mean over seeds).

Each fails where the other holds: the jackknife collapses when the seed that sets the cliff of a seed-averaged curve
has a near twin; the single seeds' spread is too small when noise enters through the best loss. Percentile and BCa
bootstraps of five seeds cover 0.60 to 0.86 (`python -m tests.analysis.interval_coverage` prints the table).

What is covered is the score's expectation over repeats with the same number of seeds. `lr_sensitivity` of
seed-averaged curves grows with the number of seeds where the cliff wanders from seed to seed (one diverged seed clips
an lr); with ten seeds and a cliff that wanders over several grid points even this interval covers about 0.9, while
`lr_sensitivity_seedwise` has no such trouble. Everything here is a closed form of the data: no random numbers.

Legend: L learning rates, S seeds, X any batch axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.curves import LossGrid
from analysis.scores import Score

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score with its two-sided interval; `low` and `high` are None with fewer than two seeds."""

    value: float
    low: float | None
    high: float | None


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


def standard_error(score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Standard error of `score` over seeds, (X..., L, S), (X..., S), (L,) -> (X...). Needs S >= 2."""
    left_out = leave_one_out(score, losses_XLS, initial_XS, lrs_L)
    alone = single_seed_scores(score, losses_XLS, initial_XS, lrs_L)
    return wider_error(left_out, alone)


def wider_error(left_out_XS: np.ndarray, alone_XS: np.ndarray) -> np.ndarray:
    """The wider of the jackknife's and the single seeds' standard error: (X..., S), (X..., S) -> (X...)."""
    num_seeds = left_out_XS.shape[-1]
    jackknife = left_out_XS.std(-1) * np.sqrt(num_seeds - 1)
    return np.maximum(jackknife, alone_XS.std(-1, ddof=1) / np.sqrt(num_seeds))


def leave_one_out(score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The score without each seed in turn: (X..., S)."""
    num_seeds = losses_XLS.shape[-1]
    kept = [np.delete(np.arange(num_seeds), seed) for seed in range(num_seeds)]
    return np.stack([score(losses_XLS[..., seeds], initial_XS[..., seeds], lrs_L) for seeds in kept], -1)


def single_seed_scores(score: Score, losses_XLS: np.ndarray, initial_XS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The score of each seed alone: (X..., S)."""
    seeds = np.arange(losses_XLS.shape[-1])
    return np.stack([score(losses_XLS[..., [seed]], initial_XS[..., [seed]], lrs_L) for seed in seeds], -1)


def half_width(error: np.ndarray | float, num_seeds: int) -> np.ndarray:
    """Half the width of the interval of a score with this standard error."""
    return np.asarray(error) * stats.t.ppf((1 + CONFIDENCE) / 2, num_seeds - 1)


def interval(score: Score, grid: LossGrid) -> Interval:
    """The score of an entry with its interval; the low end is not cut at zero."""
    return interval_over_seeds(score, grid.losses, grid.initial_losses, grid.lrs)


def interval_over_seeds(score: Score, losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> Interval:
    """The score of any arrays whose last axis is seeds, with its interval.

    The ends are None with fewer than two seeds, and where the score is not a number for some choice of them.
    """
    value, num_seeds = float(score(losses_LS, initial_S, lrs_L)), losses_LS.shape[-1]
    error = float(standard_error(score, losses_LS, initial_S, lrs_L)) if num_seeds > 1 else np.nan
    if not np.isfinite(error):
        return Interval(value=value, low=None, high=None)
    half = float(half_width(error, num_seeds))
    return Interval(value=value, low=value - half, high=value + half)


def mean_interval(values_S: np.ndarray) -> Interval:
    """Mean over seeds with its interval, (S,) -> Interval: Student's t, which both errors above reduce to."""
    value, num_seeds = float(values_S.mean()), len(values_S)
    if num_seeds < 2:
        return Interval(value=value, low=None, high=None)
    half = float(half_width(float(values_S.std(ddof=1)) / np.sqrt(num_seeds), num_seeds))
    return Interval(value=value, low=value - half, high=value + half)


def paired_difference(score: Score, first: LossGrid, second: LossGrid) -> Difference:
    """Score of `first` minus that of `second` on the seeds they share, deleting the same seed from both at a time.

    Sharing a seed means sharing weights and data, so what both owe to the seed cancels. With fewer than two shared
    seeds nothing can be told: p is 1, as it is where the difference is mere rounding. Two entries
    that differ by the same amount for every seed have p 0.
    """
    seeds = tuple(sorted(set(first.seeds) & set(second.seeds)))
    if len(seeds) < 2:
        value = float(score(first.losses, first.initial_losses, first.lrs))
        value -= float(score(second.losses, second.initial_losses, second.lrs))
        return Difference(value=value, standard_error=None, p_value=1.0, num_seeds=len(seeds))
    one, two = first.of_seeds(seeds), second.of_seeds(seeds)
    value, left_out_S, alone_S = (
        of(score, one.losses, one.initial_losses, one.lrs) - of(score, two.losses, two.initial_losses, two.lrs)
        for of in (_of_all_seeds, leave_one_out, single_seed_scores)
    )
    error = float(wider_error(left_out_S, alone_S))
    rounding = 1e-12 * float(np.abs(np.concatenate([one.initial_losses, two.initial_losses])).max())
    p_value = 1.0 if abs(float(value)) <= rounding else _two_sided(float(value), error, len(seeds))
    return Difference(value=float(value), standard_error=error, p_value=p_value, num_seeds=len(seeds))


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number, in the order given, in [0, 1]. Source: Holm 1979, step-down Bonferroni."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors) if len(p_values) else np.empty(0)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def _of_all_seeds(score: Score, losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    return score(losses_LS, initial_S, lrs_L)


def _two_sided(value: float, error: float, num_seeds: int) -> float:
    return 0.0 if error == 0 else float(2 * stats.t.sf(abs(value) / error, num_seeds - 1))
