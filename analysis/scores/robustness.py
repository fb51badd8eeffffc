"""Scores of robustness: the executable definitions.

Each score is a pure function (losses_LS, initial_S, lrs_L) -> number, batched over any leading axes of the first two:
losses_LS final losses, +inf where a seed diverged, NaN where a trial is missing; initial_S losses before any update;
lrs_L ascending learning rates. Legend: L learning rates, S seeds.

What missing trials do: a learning rate is averaged over the seeds that it has and left out if it has none.
What one learning rate does: scores of how losses vary over learning rates are NaN, as nothing varies.
What divergence does: a diverged seed counts as +inf and is clipped to the initial loss, as each score says; so does a
mean that overflows.
"""

from __future__ import annotations

from collections.abc import Callable

from analysis.stuck import STUCK_SHARE
from bench.lazy import numpy as np

Score = Callable[["np.ndarray", "np.ndarray", "np.ndarray"], "np.ndarray"]

_CHANCE_SHARE = STUCK_SHARE
# Wortsman et al. 2023 take the sensitivity over three decades of lr, [3e-4, 3e-1].
WINDOW_DECADES = 1.5
_ROUNDING = 1e-9


def clipped_curve(losses_LS: np.ndarray, initial_S: np.ndarray) -> np.ndarray:
    """min(mean over seeds of loss(lr), mean over seeds of the loss at init): (..., L, S), (..., S) -> (..., L).

    One diverged seed makes the mean +inf, so the whole learning rate counts as the initial loss.
    """
    return np.minimum(mean_of_present(losses_LS), initial_S.mean(-1)[..., None])


def seedwise_clipped_curve(losses_LS: np.ndarray, initial_S: np.ndarray) -> np.ndarray:
    """Mean over seeds of min(loss(lr), the seed's own loss at init): (..., L, S), (..., S) -> (..., L).

    A diverged seed counts as its own initial loss, and the other seeds keep theirs.
    """
    return mean_of_present(np.minimum(losses_LS, initial_S[..., None, :]))


def lr_sensitivity(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Mean over lr of [min(loss(lr), loss at init) - best loss], in units of loss, >= 0; lower is more robust.

    loss(lr) and the loss at init are means over seeds; the best loss is the method's own, the least of the clipped
    curve. One diverged seed clips its learning rate. Source: Hong & Lee 2025, App. C.3, after Wortsman et al. 2023.
    """
    return _mean_above_least(clipped_curve(losses_LS, initial_S))


def lr_sensitivity_seedwise(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """`lr_sensitivity` with each seed clipped at its own initial loss before seeds are averaged; >= 0.

    Departs from Hong & Lee 2025, App. C.3 in that order alone. A learning rate at which one seed of five diverges loses
    a fifth, not everything; so its expectation depends far less on the number of seeds, and its interval is the more
    dependable one (analysis/scores/seeds/intervals.py).
    """
    return _mean_above_least(seedwise_clipped_curve(losses_LS, initial_S))


def lr_sensitivity_windowed(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """`lr_sensitivity` over the lrs within 1.5 decades of the method's own best lr alone; >= 0; lower is more robust.

    A method whose optimum lies elsewhere, because it changes what an lr means, is not punished for where the grid ends
    and not rewarded for a flat stretch far from its optimum. Three decades are the width of the range of Wortsman et
    al. 2023, whose caveat is that it must move with the optimum. Where the grid ends inside the window, the mean is
    over what there is (`window_share`). Source: this project, after Wortsman et al. 2023 and Hong & Lee 2025, App. C.3.
    """
    curve_L = clipped_curve(losses_LS, initial_S)
    distance_L = np.abs(np.log10(lrs_L) - np.log10(lrs_L[np.nanargmin(curve_L, -1)])[..., None])
    inside_L = distance_L <= WINDOW_DECADES + _ROUNDING
    return np.where(inside_L.sum(-1) > 1, _mean_above_least(np.where(inside_L, curve_L, np.nan)), np.nan)[()]


def _mean_above_least(curve_L: np.ndarray) -> np.ndarray:
    """Mean of a curve above its least, (..., L) -> (...); NaN of a single learning rate."""
    if curve_L.shape[-1] < 2:
        return np.full(curve_L.shape[:-1], np.nan)[()]
    return np.nanmean(curve_L - np.nanmin(curve_L, -1, keepdims=True), -1)  # in this order never below 0 by rounding


def window_share(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """How much of the window of `lr_sensitivity_windowed` the grid spans, by width in decades, in [0, 1]."""
    best = np.log10(best_lr(losses_LS, initial_S, lrs_L))
    low = np.maximum(best - WINDOW_DECADES, np.log10(lrs_L[0]))
    high = np.minimum(best + WINDOW_DECADES, np.log10(lrs_L[-1]))
    return (high - low) / (2 * WINDOW_DECADES)


def best_loss(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The least mean final loss of an lr, which may lie above the loss at init; that if a seed diverged at every lr."""
    least = np.nanmin(mean_of_present(losses_LS), -1)
    return np.where(np.isinf(least), initial_S.mean(-1), least)[()]


def best_lr(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The lr of `best_loss`; the smallest of them if several tie, or a seed diverged at every lr."""
    return lrs_L[np.nanargmin(mean_of_present(losses_LS), -1)]


def is_chance(best: np.ndarray | float, initial: np.ndarray | float) -> np.ndarray:
    """True where a best loss is within 5% of the loss at init: hardly anything was learned."""
    return np.asarray(initial - best < _CHANCE_SHARE * np.abs(initial))


def is_at_chance(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """`is_chance` of the best loss against the mean loss at init: (..., L, S), (..., S) -> bool (...)."""
    return is_chance(best_loss(losses_LS, initial_S, lrs_L), initial_S.mean(-1))


def stable_lrs(losses_LS: np.ndarray, initial_S: np.ndarray) -> np.ndarray:
    """True where the lr is stable: (..., L, S), (..., S) -> bool (..., L).

    Stable: no seed diverged, and `clipped_curve` keeps at least half of what it learns at its least, so that the best
    lr is stable itself. A method that learns nothing has no stable lr.
    """
    curve_L = clipped_curve(losses_LS, initial_S)
    kept_L = keeps_half(curve_L, np.nanmin(curve_L, -1)[..., None], initial_S.mean(-1)[..., None])
    return kept_L & ~np.any(np.isinf(losses_LS), -1)


def keeps_half(loss: np.ndarray, best: np.ndarray | float, initial: np.ndarray | float) -> np.ndarray:
    """True where a loss lies below the loss at init by half of what the best one does at least, to rounding.

    Nowhere if the best one learns nothing.
    """
    learned = np.asarray(initial - best)
    return (initial - loss >= (0.5 - _ROUNDING) * learned) & (learned > 0)


def stable_decades(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Width in log10 lr of the longest run of neighbouring `stable_lrs`; >= 0; higher is more robust.

    Between a stable and an unstable neighbour the edge is put midway, its expected place if nothing more is known. At
    the grid's border nothing is added: there the width is a lower bound. Source: this project.
    """
    stable_XL, present_XL = stable_lrs(losses_LS, initial_S), ~np.all(np.isnan(losses_LS), -1)
    log_lrs_L = np.log10(lrs_L)
    shape = present_XL.shape[:-1]
    if len(lrs_L) < 2:
        return np.full(shape, np.nan)[()]
    widest, running = np.zeros(shape), np.zeros(shape)
    previous, was_stable = np.full(shape, np.nan), np.zeros(shape, bool)
    for column, log_lr in enumerate(log_lrs_L):
        present, stable = present_XL[..., column], stable_XL[..., column]
        half_gap = np.where(present & ~np.isnan(previous), (log_lr - previous) / 2, 0.0)
        running = running + half_gap * was_stable
        widest = np.maximum(widest, running)
        running = np.where(present, np.where(stable, running + half_gap, 0.0), running)
        widest = np.maximum(widest, running)
        previous, was_stable = np.where(present, log_lr, previous), np.where(present, stable, was_stable)
    return widest


def edge_lr(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """The largest of `stable_lrs`, NaN if there is none; higher is more robust.

    The edge itself lies between this lr and the next of the grid. Where this is the largest lr of the grid, the edge is
    censored: nothing above was tried, and the value is a lower bound. Source: this project, by `stable_lrs`.
    """
    largest = np.max(np.where(stable_lrs(losses_LS, initial_S), lrs_L, -np.inf), -1)
    return np.where(np.isinf(largest), np.nan, largest)


def diverged_share(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Share of the trials with a result that diverged, in [0, 1]."""
    return np.isinf(losses_LS).sum((-2, -1)) / (~np.isnan(losses_LS)).sum((-2, -1))


def mean_over_trials(values_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Mean of the values over all trials that have one, (..., L, S) -> (...): of 0 and 1, the share of the ones."""
    return np.nanmean(values_LS, axis=(-2, -1))


def seed_mean(values_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Mean over seeds of each seed's mean over the lrs at which it has a value, (..., L, S) -> (...)."""
    return mean_of_present(np.swapaxes(values_LS, -1, -2)).mean(-1)


def seed_spread(values_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Standard deviation over seeds of the values of the first row, (..., L, S) -> (...). Needs S >= 2."""
    return values_LS[..., 0, :].std(-1, ddof=1)


def mean_of_present(values_LS: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN, (..., S) -> (...); NaN where nothing is left; +inf where any is +inf."""
    present = ~np.isnan(values_LS)
    counts = present.sum(-1)
    with np.errstate(over="ignore"):  # a sum beyond the largest number is clipped as +inf is
        totals = np.where(present, values_LS, 0.0).sum(-1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


# What a leaderboard can be ordered by, lower is more robust.
SENSITIVITIES: dict[str, Score] = {
    "lr_sensitivity": lr_sensitivity,
    "lr_sensitivity_seedwise": lr_sensitivity_seedwise,
}

# The curve over lr that each of SENSITIVITIES is the mean height of, above its least.
SENSITIVITY_CURVES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "lr_sensitivity": clipped_curve,
    "lr_sensitivity_seedwise": seedwise_clipped_curve,
}
