"""Cliffs that wander from seed to seed: when they do, and how far above its value they may lift an expected loss.

At a learning rate near the cliff a further seed may diverge that those at hand did not: one seed in thirty, say, with a
loss ten times as large. No spread over five seeds shows that, but the places of their cliffs do. The cliffs of seeds
are taken to be normal in log10 lr; what they say of its mean and deviation is the fiducial distribution (Student's t
for the mean, chi for the deviation), under which the chance that a seed diverges at a learning rate has the bound of
the noncentral t distribution. Source: Johnson & Welch 1940.

Legend: L learning rates, E those at which every seed has a result, S seeds, P parameters drawn from the fiducial
distribution, on a fixed grid of its quantiles.
"""

from __future__ import annotations

from analysis.curves import LossGrid
from analysis.scores.robustness import best_loss, edge_lr, mean_of_present
from analysis.scores.seeds.intervals import CONFIDENCE, single_seed_scores
from bench.lazy import numpy as np
from bench.lazy import special

_WANDER_DECADES = 0.3
_ROUNDING = 1e-9
_NUM_QUANTILES = 48


def cliff_wanders(grid: LossGrid) -> bool:
    """True where seeds differ in their largest stable lr by more than chance and one grid step explain.

    Standard deviation over seeds above 0.3 decades, range above the widest grid step; over the lrs at which every seed
    has a result and the seeds with a stable one. False with fewer than two of either. Source: this project; how often
    it speaks and what it leaves is simulated in tests/analysis/score_coverage.py.
    """
    return _wanders(*_edge_places(grid))


def unseen_at(grid: LossGrid, row: int) -> float:
    """How far the expected clipped loss at the lr of this row may lie above the mean of the seeds at hand; >= 0.

    97.5% bound of [loss at init x the chance that a seed has its cliff below + loss before its cliff x the rest]; 0
    where `cliff_wanders` is False.
    """
    places_S, lrs_E = _edge_places(grid)
    if not _wanders(places_S, lrs_E):
        return 0.0
    diverged_P = _shares_below(grid.lrs[[row]], _cliffs(places_S, lrs_E))[:, 0]
    initial, before = float(grid.initial_losses.mean()), _before_cliffs(grid, places_S, lrs_E)[row]
    value = float(mean_of_present(np.minimum(grid.losses[row], grid.initial_losses)))
    return _above(diverged_P * initial + (1 - diverged_P) * before, value)


def unseen_at_best(grid: LossGrid) -> float:
    """How far the expected `best_loss` of as many seeds may lie above that of the seeds at hand; >= 0.

    The first of the S cliffs decides which lrs are clipped: 97.5% bound of the best loss below it, over where it lies;
    0 where `cliff_wanders` is False.
    """
    places_S, lrs_E = _edge_places(grid)
    if not _wanders(places_S, lrs_E):
        return 0.0
    below_PL = _shares_below(grid.lrs, _cliffs(places_S, lrs_E))
    beyond_PL = (1 - below_PL) ** len(grid.seeds)  # no seed has its cliff below
    first_PL = -np.diff(beyond_PL, axis=1, append=0.0)  # the first cliff lies between this lr and the next
    best_L = np.minimum.accumulate(_before_cliffs(grid, places_S, lrs_E))
    nothing_P = (1 - beyond_PL[:, 0]) * grid.initial_losses.mean()
    return _above(nothing_P + first_PL @ best_L, float(best_loss(*grid.data)))


def _edge_places(grid: LossGrid) -> tuple[np.ndarray, np.ndarray]:
    """Place of each seed's largest stable lr among those that every seed has, -1 for none (S,); and these lrs (E,)."""
    present_L = ~np.isnan(grid.losses).any(-1)
    lrs_E = grid.lrs[present_L]
    if not len(lrs_E):
        return np.full(len(grid.seeds), -1), lrs_E
    edges_S = single_seed_scores(edge_lr, grid.losses[present_L], grid.initial_losses, lrs_E)
    return np.searchsorted(lrs_E, np.nan_to_num(edges_S), side="right") - 1, lrs_E


def _wanders(places_S: np.ndarray, lrs_E: np.ndarray) -> bool:
    present_S = places_S[places_S >= 0]
    if len(present_S) < 2 or len(lrs_E) < 2:
        return False
    edges, step = np.log10(lrs_E)[present_S], float(np.diff(np.log10(lrs_E)).max())
    return bool(edges.std(ddof=1) > _WANDER_DECADES and np.ptp(edges) > step + _ROUNDING)


def _cliffs(places_S: np.ndarray, lrs_E: np.ndarray) -> np.ndarray:
    """log10 of each cliff: midway from the largest stable lr to the next, at the top of the grid one mean step up."""
    log_lrs_E = np.log10(lrs_E)
    bounds = np.append(log_lrs_E, log_lrs_E[-1] + np.diff(log_lrs_E).mean())
    return ((bounds[:-1] + bounds[1:]) / 2)[places_S[places_S >= 0]]


def _shares_below(lrs_L: np.ndarray, cliffs: np.ndarray) -> np.ndarray:
    """Share of all seeds whose cliff lies below each of these lrs, for each of P parameters: (P, L)."""
    freedom = len(cliffs) - 1
    levels = (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES
    deviations = cliffs.std(ddof=1) * np.sqrt(freedom / special.chdtri(freedom, levels))
    means_P = cliffs.mean() + np.outer(deviations, special.ndtri(levels)).ravel() / np.sqrt(len(cliffs))
    deviations_P = np.repeat(deviations, _NUM_QUANTILES)
    return special.ndtr((np.log10(lrs_L) - means_P[:, None]) / deviations_P[:, None])


def _before_cliffs(grid: LossGrid, places_S: np.ndarray, lrs_E: np.ndarray) -> np.ndarray:
    """Mean clipped loss over the seeds whose largest stable lr is no less, the loss at init if there are none: (L,)."""
    edges_S = np.append(lrs_E, -np.inf)[places_S]  # -1, for none, is the last
    clipped_LS = np.minimum(grid.losses, grid.initial_losses)
    means_L = mean_of_present(np.where(grid.lrs[:, None] <= edges_S, clipped_LS, np.nan))
    return np.where(np.isnan(means_L), grid.initial_losses.mean(), means_L)


def _above(expected_P: np.ndarray, value: float) -> float:
    return max(0.0, float(np.quantile(expected_P, (1 + CONFIDENCE) / 2)) - value)
