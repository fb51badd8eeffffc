"""Scores of a box: pure functions of losses at its points.

A run, or a point with its mean over seeds, lies within delta if its loss is at most best + delta (loss at init - best):
it keeps all but delta of what the best learns. Legend: M methods, N points, D values of delta, B budgets.
"""

from __future__ import annotations

import functools

from bench.lazy import numpy as np
from bench.lazy import special

DELTA = 0.1  # of the shares that boards show
BUDGET = 32  # draws: what the best of so many is expected to reach is called a method's best
QUANTILES = (0.25, 0.5, 0.75)  # of the box, whose losses boards show


def regret(loss_N: np.ndarray, best: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """What a point loses of what the best one learns, (..., N), (...), (...) -> (..., N), in [0, 1].

    (min(loss, loss at init) - best) / (loss at init - best), and 0 of a loss below `best`. NaN where the loss is
    missing; 1 everywhere where best does not lie below the loss at init.
    """
    learned = (initial - best)[..., None]
    lost_N = np.where(learned > 0, (loss_N - best[..., None]) / np.where(learned > 0, learned, 1.0), 1.0)
    return np.where(np.isnan(loss_N), np.nan, np.clip(lost_N, 0.0, 1.0))


def share_within(regret_N: np.ndarray, deltas_D: np.ndarray) -> np.ndarray:
    """The share of the points within each delta, (..., N), (D,) -> (..., D): the curve of the robust share.

    Over deltas from 0 to 1 its mean is 1 - the mean regret.
    """
    is_there_N = ~np.isnan(regret_N)
    within_DN = (regret_N[..., None, :] <= deltas_D[:, None]) & is_there_N[..., None, :]
    counts = is_there_N.sum(-1)[..., None]
    return np.where(counts > 0, within_DN.sum(-1) / np.maximum(counts, 1), np.nan)


def expected_best(loss_N: np.ndarray, budgets_B: np.ndarray) -> np.ndarray:
    """Expected loss of the best of n independent draws from the box, for each budget n up to N, (..., N) -> (..., B).

    The mean over all subsets of n of the points, which is unbiased for points drawn independently; NaN for n above the
    number of points that are there. Source: Dodge et al. 2019, whose estimator draws with replacement and is biased;
    without replacement as Tang et al. 2020.
    """
    sorted_N = np.nan_to_num(np.sort(loss_N, -1))  # NaN comes last, and has no weight
    counts, budgets = (~np.isnan(loss_N)).sum(-1), tuple(budgets_B.tolist())
    best = np.empty((*loss_N.shape[:-1], len(budgets)))
    for count in np.unique(counts):
        best[counts == count] = sorted_N[counts == count] @ _subset_weights(int(count), loss_N.shape[-1], budgets)
    return best


@functools.lru_cache(maxsize=256)
def _subset_weights(num_there: int, num_points: int, budgets: tuple[int, ...]) -> np.ndarray:
    """The share of subsets of n of `num_there` points of which each is the least, by rank, (N, B); NaN for larger n."""
    rank_N1, budgets_B = np.arange(1, num_points + 1)[:, None], np.array(budgets)
    is_least_NB = rank_N1 <= num_there - budgets_B + 1
    logs_NB = _choose(num_there - rank_N1, budgets_B - 1) - _choose(np.array(num_there), budgets_B)
    return np.where(budgets_B <= num_there, np.where(is_least_NB, np.exp(logs_NB), 0.0), np.nan)


def _choose(total: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Logarithm of the binomial coefficient, of 0 for what can't be chosen."""
    total, chosen = np.maximum(total, 0), np.maximum(chosen, 0)
    left = np.maximum(total - chosen, 0)
    return special.gammaln(total + 1.0) - special.gammaln(chosen + 1.0) - special.gammaln(left + 1.0)


def untuned(loss_MN: np.ndarray, regret_MN: np.ndarray, compared_M: np.ndarray) -> np.ndarray:
    """Mean loss of every method at the settings that suit the others, (M, N), (M, N), (M,) -> (M,).

    They are the 1 in BUDGET of the points with the least mean regret over the methods that are compared, but for the
    method itself: recipes that nobody tuned for it. With one method to compare, its own.
    """
    num_recipes = max(int((~np.isnan(loss_MN)).any(0).sum()) // BUDGET, 1)
    losses = []
    for method, loss_N in enumerate(loss_MN):
        others_M = compared_M & (np.arange(len(loss_MN)) != method)
        asked_MN = regret_MN[others_M if others_M.any() else compared_M]
        mean_N = np.where(np.isnan(loss_N), np.inf, np.nan_to_num(asked_MN, nan=1.0).mean(0))
        losses.append(loss_N[np.argsort(mean_N, kind="stable")[:num_recipes]].mean())
    return np.array(losses)


def overtakes(first_B: np.ndarray, second_B: np.ndarray, budgets_B: np.ndarray) -> int | None:
    """The least budget from which on the first method's expected best stays below the second's; None: never, or always.

    (B,), (B,), (B,), budgets rising.
    """
    not_below = np.flatnonzero(~(first_B < second_B))
    if len(not_below) == 0 or not_below[-1] == len(budgets_B) - 1:
        return None
    return int(budgets_B[not_below[-1] + 1])
