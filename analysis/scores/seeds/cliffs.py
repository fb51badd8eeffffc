"""Cliffs: where those of further seeds may lie, what scores that makes possible, and when they wander.

At a learning rate near the cliff a further seed may diverge that those at hand did not: one seed in thirty, say, with a
loss ten times as large. No spread over five seeds shows that, but the places of their cliffs do. The cliffs of seeds
are taken to be normal in log10 lr; what they say of its mean and deviation is the fiducial distribution (Student's t
for the mean, chi for the deviation), under which the chance that a seed diverges at a learning rate has the bound of
the noncentral t distribution. Source: Johnson & Welch 1940. A cliff is seen to one step of the grid, so that rounding's
variance, step^2 / 12, is added to that of the cliffs and, as many seeds don't make the grid finer, to that of their
mean.

Under each of these distributions a score has an expectation; the ends given here are those of the central 95%. What
they cover, beside what the spread over seeds does alone, is simulated in tests/analysis/score_coverage.py.

Legend: L learning rates, E those at which every seed has a result, S seeds, P parameters drawn from the fiducial
distribution, on a fixed grid of its quantiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.curves import LossGrid
from analysis.scores.robustness import edge_lr, lr_sensitivity, mean_of_present
from analysis.scores.seeds.intervals import CONFIDENCE, single_seed_scores
from bench.lazy import numpy as np
from bench.lazy import special

Ends = tuple[float, float]

_WANDER_DECADES = 0.3
_ROUNDING = 1e-9
_NUM_QUANTILES = 48


@dataclass(frozen=True, kw_only=True)
class Cliffs:
    """What the seeds at hand say of cliffs, and of losses before them.

    below_PL: share of all seeds whose cliff lies below each lr. before_L: mean clipped loss over the seeds that have
    their cliff above, the loss at init if there are none.
    """

    below_PL: np.ndarray
    before_L: np.ndarray
    initial: float
    num_seeds: int

    @property
    def first_PL(self) -> np.ndarray:
        """Chance that the first cliff of as many seeds lies between this lr and the next."""
        return -np.diff((1 - self.below_PL) ** self.num_seeds, axis=1, append=0.0)

    @property
    def none_P(self) -> np.ndarray:
        """Chance that it lies below all lrs."""
        return 1 - (1 - self.below_PL[:, 0]) ** self.num_seeds


def cliff_wanders(grid: LossGrid) -> bool:
    """True where seeds differ in their largest stable lr by more than chance and one grid step explain.

    Standard deviation over seeds above 0.3 decades, range above the widest grid step; over the lrs at which every seed
    has a result and the seeds with a stable one. False with fewer than two of either. Source: this project; how often
    it speaks and what it leaves is simulated in tests/analysis/score_coverage.py.
    """
    return _wanders(*_edge_places(grid))


def loss_ends(grid: LossGrid, row: int) -> Ends | None:
    """Ends of the expected clipped loss at the lr of this row; None where the seeds show no cliff.

    Loss at init x the chance that a seed has its cliff below + loss before its cliff x the rest.
    """

    def expected(cliffs: Cliffs) -> np.ndarray:
        below_P = cliffs.below_PL[:, row]
        return below_P * cliffs.initial + (1 - below_P) * cliffs.before_L[row]

    return _ends(grid, expected)


def best_loss_ends(grid: LossGrid) -> Ends | None:
    """Ends of the expected `best_loss` of as many seeds; None where the seeds show no cliff.

    The first of the S cliffs decides which lrs are clipped.
    """
    return _ends(grid, lambda of: of.none_P * of.initial + of.first_PL @ np.minimum.accumulate(of.before_L))


def sensitivity_ends(grid: LossGrid) -> Ends | None:
    """Ends of the expected `lr_sensitivity` of as many seeds; None where the seeds show no cliff.

    All lrs above the first of the S cliffs count as the loss at init.
    """

    def expected(cliffs: Cliffs) -> np.ndarray:
        is_before_LL = np.tri(len(grid.lrs), dtype=bool)
        losses_LL1 = np.where(is_before_LL, cliffs.before_L, np.inf)[..., None]
        return cliffs.first_PL @ lr_sensitivity(losses_LL1, np.full((len(grid.lrs), 1), cliffs.initial), grid.lrs)

    return _ends(grid, expected)


def seedwise_sensitivity_ends(grid: LossGrid) -> Ends | None:
    """Ends of the expected `lr_sensitivity_seedwise`; None where the seeds show no cliff.

    Of the curve of expected losses of one seed, clipped at the loss at init.
    """

    def expected(cliffs: Cliffs) -> np.ndarray:
        curve_PL = cliffs.below_PL * cliffs.initial + (1 - cliffs.below_PL) * cliffs.before_L
        return lr_sensitivity(curve_PL[..., None], np.full((len(curve_PL), 1), cliffs.initial), grid.lrs)

    return _ends(grid, expected)


# Of each of SENSITIVITIES.
SENSITIVITY_ENDS: dict[str, Callable[[LossGrid], Ends | None]] = {
    "lr_sensitivity": sensitivity_ends,
    "lr_sensitivity_seedwise": seedwise_sensitivity_ends,
}


def _ends(grid: LossGrid, expected: Callable[[Cliffs], np.ndarray]) -> Ends | None:
    """Of an expectation under each parameter; None where no seed diverged and cliffs do not wander."""
    places_S, lrs_E = _edge_places(grid)
    if not (np.isinf(grid.losses).any() or _wanders(places_S, lrs_E)):
        return None
    if (places_S >= 0).sum() < 2 or len(lrs_E) < 2:
        return None
    cliffs = Cliffs(
        below_PL=_shares_below(grid.lrs, *_cliffs(places_S, lrs_E)),
        before_L=_before_cliffs(grid, places_S, lrs_E),
        initial=float(grid.initial_losses.mean()),
        num_seeds=len(grid.seeds),
    )
    low, high = np.quantile(expected(cliffs), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return low, high


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


def _cliffs(places_S: np.ndarray, lrs_E: np.ndarray) -> tuple[np.ndarray, float]:
    """log10 of each cliff: midway from the largest stable lr to the next, at the top of the grid one mean step up.

    With them the standard deviation of their rounding.
    """
    log_lrs_E = np.log10(lrs_E)
    step = float(np.diff(log_lrs_E).mean())
    bounds = np.append(log_lrs_E, log_lrs_E[-1] + step)
    return ((bounds[:-1] + bounds[1:]) / 2)[places_S[places_S >= 0]], step / 12**0.5


def _shares_below(lrs_L: np.ndarray, cliffs: np.ndarray, rounding: float) -> np.ndarray:
    """Share of all seeds whose cliff lies below each of these lrs, for each of P parameters: (P, L)."""
    freedom = len(cliffs) - 1
    levels = (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES
    deviations = cliffs.std(ddof=1) * np.sqrt(freedom / special.chdtri(freedom, levels))
    errors = np.hypot(deviations / np.sqrt(len(cliffs)), rounding)
    means_P = cliffs.mean() + np.outer(errors, special.ndtri(levels)).ravel()
    deviations_P = np.repeat(np.hypot(deviations, rounding), _NUM_QUANTILES)
    return special.ndtr((np.log10(lrs_L) - means_P[:, None]) / deviations_P[:, None])


def _before_cliffs(grid: LossGrid, places_S: np.ndarray, lrs_E: np.ndarray) -> np.ndarray:
    """Mean clipped loss over the seeds whose largest stable lr is no less, the loss at init if there are none: (L,)."""
    edges_S = np.append(lrs_E, -np.inf)[places_S]  # -1, for none, is the last
    clipped_LS = np.minimum(grid.losses, grid.initial_losses)
    means_L = mean_of_present(np.where(grid.lrs[:, None] <= edges_S, clipped_LS, np.nan))
    return np.where(np.isnan(means_L), grid.initial_losses.mean(), means_L)
