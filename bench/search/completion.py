"""What a partly trained (value x seed) grid of losses may look like in full: draws of the cells that are missing.

Losses are taken as shares z = loss / the seed's loss at init: 1 where nothing is learned. Two parts are drawn and put
together:

- which cells diverge: each seed has an edge (bench.search.censored), inside what it brackets already, from which a
  single trial may stray. A loss of S times the mean loss at init counts as diverged: it clips the mean over the S seeds
  at that value, whatever the other seeds have;
- the shares of the cells that do not, on the scale log(z + 0.02): a Gaussian process over log10 of the knob with three
  terms. What is common to the seeds moves between two trained values the more, the more their shares differ: it may be
  anywhere between them on a slope and hardly anywhere else on a plateau. A seed's own level, its evaluation data for
  one, is the same at all values and counts most where nothing is learned. A seed's deviation is alike at neighbouring
  values and grows with the slope (seeds learn from different values on) and with what is learned; how large it is, is
  itself drawn from its posterior.

The constants were set on the development half of the recorded optimizer matrix (tests.bench.search.replay_matrix, 32
curves): noise, jitter, own level, kinship and reach from how its seeds differ at each value; _STRAY, _BEYOND and
_SOFTENING where the score came near the dense one in 21 of 65 trials; changing one by a third made no difference that
can be told. _PLATEAU and _SLOPE were carried over from an earlier model, set on simulated suites
(tests.analysis.interval_coverage.simulate) and worked out with Table 1 in view. _STRAY is cautious: what diverges there
is foretold best with 0.05, but the score comes nearer with 0.15, because more seeds are checked next to the edge. No
constant was chosen on the held-out half or on Table 1.

Legend: L values of the knob, S seeds, N draws, C = L x S cells, K trained cells, G gaps between neighbouring values.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from bench.search.censored import brackets, edges

_STRAY = 0.15  # decades; logistic scale of where a trial diverges, around its seed's edge
_CEILING = 1.25  # the largest share that is told apart, and the largest drawn
_SOFTENING = 0.02  # added to a share before its logarithm is taken
_PRIOR_LEVEL = float(np.log(0.4 + _SOFTENING))  # of the common curve, before anything is known, and its deviation, 1
_PLATEAU = 0.3  # deviation of the change in a decade between equal shares, where nothing is left to learn
_SLOPE = 0.5  # the same between unequal shares, over their difference: a quarter of it midway
_BEYOND = 0.7  # the same beyond the trained values
_OWN = 0.03  # deviation of a seed's own level, where nothing is learned
_NOISE = 0.25  # deviation of a seed, where everything is learned
_JITTER = 0.08  # decades; deviation of the value from which a seed learns
_KINSHIP = 0.7  # correlation of a seed's deviations at values next to each other
_REACH = 1.2  # decades over which it falls by a factor of e
_STEADYING = 1e-8  # added to variances, so that matrices stay positive definite
_NOISE_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)  # by which noise and jitter may be larger
_FACTOR_SPREAD = 0.5  # deviation of the logarithm of the factor, before anything is known


def draw_losses_NLS(
    log_values_L: np.ndarray, losses_LS: np.ndarray, initial_S: np.ndarray, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the full grid, (L,), (L, S), (S,) -> (N, L, S): NaN cells are drawn, +inf where they diverge."""
    known_LS = ~np.isnan(losses_LS)
    # of one seed, what is a little above its loss at init did not diverge
    diverged_LS = known_LS & (losses_LS >= max(len(initial_S), 2) * initial_S.mean())
    shares_LS = np.where(diverged_LS, np.nan, np.clip(losses_LS / initial_S, 0.0, _CEILING))
    shares_NLS = _draw_shares_NLS(log_values_L, shares_LS, num_draws, rng)
    lows_S, highs_S = brackets(log_values_L, known_LS & ~diverged_LS, diverged_LS)
    posterior = edges(lows_S, highs_S, 10 ** log_values_L[0], 10 ** log_values_L[-1])
    stray_NLS = rng.logistic(scale=_STRAY, size=shares_NLS.shape)
    diverged_NLS = log_values_L[:, None] > posterior.draws_NS(num_draws, rng)[:, None, :] + stray_NLS
    drawn_NLS = np.where(diverged_NLS, np.inf, shares_NLS * initial_S)
    return np.where(known_LS, losses_LS, drawn_NLS)


def _draw_shares_NLS(
    log_values_L: np.ndarray, shares_LS: np.ndarray, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the share of every cell, given those that are trained and did not diverge: (N, L, S)."""
    if np.isnan(shares_LS).all():
        return np.ones((num_draws, *shares_LS.shape))
    levels_LS = np.log(shares_LS + _SOFTENING)
    covariances = _covariances_LL(log_values_L, levels_LS)
    posteriors = [_posterior(levels_LS, *covariances, factor) for factor in _NOISE_FACTORS]
    normal_NC = rng.standard_normal((num_draws, shares_LS.size))
    drawn_N = _drawn_posteriors(posteriors, rng.random(num_draws))
    levels_NC = np.empty_like(normal_NC)
    for number in np.unique(drawn_N):
        of_posterior_N = drawn_N == number
        levels_NC[of_posterior_N] = posteriors[number].levels(normal_NC[of_posterior_N])
    shares_NC = np.clip(np.exp(np.minimum(levels_NC, 1.0)) - _SOFTENING, 0.0, _CEILING)
    return shares_NC.reshape(num_draws, *shares_LS.shape)


@dataclass(frozen=True, kw_only=True)
class _Posterior:
    """Levels of all cells given those trained, for one size of the noise, and the logarithm of how likely that is."""

    mean_C: np.ndarray
    covariance_CC: np.ndarray
    log_weight: float

    def levels(self, normal_NC: np.ndarray) -> np.ndarray:
        """The levels that standard normal numbers stand for, (N, C) -> (N, C)."""
        return self.mean_C + normal_NC @ np.linalg.cholesky(self.covariance_CC).T


def _posterior(
    levels_LS: np.ndarray, common_LL: np.ndarray, own_LL: np.ndarray, noise_LL: np.ndarray, factor: float
) -> _Posterior:
    """The Gaussian process of the module's docstring, its noise `factor` times as large, given the levels trained."""
    trained_C, num_seeds = ~np.isnan(levels_LS).ravel(), levels_LS.shape[1]
    of_seed_LL = own_LL + factor**2 * noise_LL
    prior_CC = np.kron(common_LL, np.ones((num_seeds, num_seeds))) + np.kron(of_seed_LL, np.eye(num_seeds))
    steady_CC = _STEADYING * np.eye(len(prior_CC))
    prior_CC += steady_CC
    gram_KK, prior_KC = prior_CC[np.ix_(trained_C, trained_C)], prior_CC[trained_C]
    deviation_K = levels_LS.ravel()[trained_C] - _PRIOR_LEVEL
    gain_KC = np.linalg.solve(gram_KK, prior_KC)
    surprise = deviation_K @ np.linalg.solve(gram_KK, deviation_K) + np.linalg.slogdet(gram_KK)[1]
    return _Posterior(
        mean_C=_PRIOR_LEVEL + deviation_K @ gain_KC,
        covariance_CC=prior_CC - prior_KC.T @ gain_KC + steady_CC,
        log_weight=-0.5 * (surprise + (np.log(factor) / _FACTOR_SPREAD) ** 2),
    )


def _drawn_posteriors(posteriors: list[_Posterior], rank_N: np.ndarray) -> np.ndarray:
    """Which of the posteriors each rank in [0, 1) falls to, by their weights: (N,) -> (N,)."""
    log_weights = np.array([one.log_weight for one in posteriors])
    weights = np.exp(log_weights - log_weights.max())
    return np.searchsorted(np.cumsum(weights)[:-1] / weights.sum(), rank_N)


def _covariances_LL(log_values_L: np.ndarray, levels_LS: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prior covariances between values: of what seeds have in common, of a seed's own level, of its deviation."""
    is_trained_LS = ~np.isnan(levels_LS)
    counts_L = is_trained_LS.sum(1)
    ends = np.flatnonzero(counts_L)
    means = np.where(is_trained_LS, levels_LS, 0).sum(1)[ends] / counts_L[ends]
    curve_L = np.interp(log_values_L, log_values_L[ends], means)
    moved_L = np.append(0, np.cumsum(_change_G(log_values_L, curve_L, ends)))
    common_LL = np.exp(-np.abs(moved_L[:, None] - moved_L) / 2)

    share_L = _share(curve_L)
    slope_G = np.abs(np.diff(curve_L) / np.diff(log_values_L))
    slope_L = np.maximum(np.append(slope_G, 0), np.append(0, slope_G))
    noise_L = np.hypot(_NOISE * (1 - share_L), _JITTER * slope_L) + 1e-3
    kinship_LL = _KINSHIP * np.exp(-np.abs(log_values_L[:, None] - log_values_L) / _REACH)
    np.fill_diagonal(kinship_LL, 1.0)
    return common_LL, _OWN**2 * np.outer(share_L, share_L), np.outer(noise_L, noise_L) * kinship_LL


def _change_G(log_values_L: np.ndarray, curve_L: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Variance of the change of the common curve over each gap: (L,), (L,), indices of trained values -> (G,)."""
    gaps_G = np.diff(log_values_L)
    left_G = np.maximum(1 - _share((curve_L[1:] + curve_L[:-1]) / 2), 0.05)
    change_G = gaps_G * (_PLATEAU * left_G) ** 2
    change_G[: ends[0]] += _BEYOND**2 * gaps_G[: ends[0]]
    change_G[ends[-1] :] += _BEYOND**2 * gaps_G[ends[-1] :]
    for start, stop in itertools.pairwise(ends):
        fraction_G = gaps_G[start:stop] / (log_values_L[stop] - log_values_L[start])
        change_G[start:stop] += (_SLOPE * (curve_L[stop] - curve_L[start])) ** 2 * fraction_G
    return change_G


def _share(levels: np.ndarray) -> np.ndarray:
    """The share of a level, at most 1."""
    return np.clip(np.exp(levels) - _SOFTENING, 0.0, 1.0)
