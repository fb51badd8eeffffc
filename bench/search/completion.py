"""What a partly trained (value x seed) grid of losses may look like in full: draws of the cells that are missing.

Losses are taken as shares z = loss / the seed's loss at init, in [0, 1]: 1 where nothing is learned. Two parts are
drawn and put together:

- which cells diverge: each seed has an edge (bench.search.censored), inside what it brackets already, from which a
  single trial may stray a little;
- the shares of the cells that do not: a Gaussian process over log10 of the knob, common to the seeds, plus noise of
  each cell. Between two trained values the process runs on a clock that is the faster the more their shares differ: it
  may be anywhere between them on a slope and hardly anywhere else on a plateau. Noise grows with the slope (seeds
  learn from different values on) and is relative to both what is learned and what is left to learn; values that
  several seeds were trained at scale it.

The parts were worked out on the recorded study that the tests replay, so its figures are not those of unseen data. The
constants were set on 60 simulated suites (tests.analysis.interval_coverage.simulate), before replicates scaled the
noise, where roughly halving or doubling one did no better. Replicates were added for the recorded language models (root
mean square error 0.046 without, 0.017 with them); on simulated suites they make no difference that can be told.

Legend: L values of the knob, S seeds, N draws, K trained cells, G gaps between neighbouring values (L - 1).
"""

from __future__ import annotations

import itertools

import numpy as np

from bench.search.censored import brackets, edges

_PRIOR_SD = 0.5  # of the share, before anything is known
_PLATEAU_CLOCK = 0.005  # a decade, where z is 0.2 or 0.8: sd 0.025 midway between equal shares a decade apart
_SLOPE_CLOCK = 0.5  # times the squared difference: sd of a quarter of the difference midway between unequal shares
_NOISE = 0.2  # sd of a cell's share, over z (1 - z)
_JITTER = 0.15  # decades; sd of the value from which a seed learns
_PRIOR_REPLICATES = 2.0  # degrees of freedom that the noise above counts for, against that of replicates
_STRAY = 0.05  # decades; logistic scale of where a trial diverges, around its seed's edge


def draw_losses_NLS(
    log_values_L: np.ndarray, losses_LS: np.ndarray, initial_S: np.ndarray, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the full grid, (L,), (L, S), (S,) -> (N, L, S): NaN cells are drawn, +inf where they diverge."""
    known_LS = ~np.isnan(losses_LS)
    shares_LS = np.where(np.isinf(losses_LS), np.nan, np.minimum(losses_LS / initial_S, 1.0))
    shares_NLS = _draw_shares_NLS(log_values_L, shares_LS, num_draws, rng)
    lows_S, highs_S = brackets(log_values_L, np.isfinite(losses_LS), np.isinf(losses_LS))
    found = edges(lows_S, highs_S, 10 ** log_values_L[0], 10 ** log_values_L[-1])
    stray_NLS = rng.logistic(scale=_STRAY, size=shares_NLS.shape)
    diverged_NLS = log_values_L[:, None] > found.draws_NS(num_draws, rng)[:, None, :] + stray_NLS
    drawn_NLS = np.where(diverged_NLS, np.inf, shares_NLS * initial_S)
    return np.where(known_LS, losses_LS, drawn_NLS)


def _draw_shares_NLS(
    log_values_L: np.ndarray, shares_LS: np.ndarray, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the share of every cell, given those that are trained and did not diverge: (N, L, S)."""
    num_values, num_seeds = shares_LS.shape
    is_trained_LS = ~np.isnan(shares_LS)
    counts_L = is_trained_LS.sum(1)
    ends = np.flatnonzero(counts_L)
    if not len(ends):
        return np.ones((num_draws, num_values, num_seeds))
    means = np.where(is_trained_LS, shares_LS, 0).sum(1)[ends] / counts_L[ends]
    curve_L = np.interp(log_values_L, log_values_L[ends], means)
    clock_L = np.append(0, np.cumsum(_clock_G(log_values_L, curve_L, ends)))
    prior_LL = _PRIOR_SD**2 * np.exp(-np.abs(clock_L[:, None] - clock_L))
    noise_L = _noise_L(log_values_L, curve_L)
    noise_L = noise_L * _replicate_scale(shares_LS, noise_L)

    value_K, seed_K = np.nonzero(is_trained_LS)
    gram_KK = prior_LL[np.ix_(value_K, value_K)] + np.diag(noise_L[value_K] ** 2)
    gain_LK = np.linalg.solve(gram_KK, prior_LL[value_K]).T
    mean_L = _PRIOR_SD + gain_LK @ (shares_LS[value_K, seed_K] - _PRIOR_SD)
    covariance_LL = prior_LL - gain_LK @ prior_LL[value_K] + 1e-9 * np.eye(num_values)
    common_NL = mean_L + rng.standard_normal((num_draws, num_values)) @ np.linalg.cholesky(covariance_LL).T
    noise_NLS = noise_L[:, None] * rng.standard_normal((num_draws, num_values, num_seeds))
    return np.clip(common_NL[..., None] + noise_NLS, 0.0, 1.0)


def _clock_G(log_values_L: np.ndarray, curve_L: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How far the clock runs in each gap: (L,), (L,), indices of trained values -> (G,).

    Beyond the trained values it runs as on a slope that loses all in a decade.
    """
    gaps_G, middle_G = np.diff(log_values_L), (curve_L[1:] + curve_L[:-1]) / 2
    clock_G = _PLATEAU_CLOCK * gaps_G * np.maximum(middle_G * (1 - middle_G) / 0.16, 0.05) ** 2
    clock_G[: ends[0]] += _SLOPE_CLOCK * gaps_G[: ends[0]]
    clock_G[ends[-1] :] += _SLOPE_CLOCK * gaps_G[ends[-1] :]
    for start, stop in itertools.pairwise(ends):
        fraction_G = gaps_G[start:stop] / (log_values_L[stop] - log_values_L[start])
        clock_G[start:stop] += _SLOPE_CLOCK * (curve_L[stop] - curve_L[start]) ** 2 * fraction_G
    return clock_G


def _noise_L(log_values_L: np.ndarray, curve_L: np.ndarray) -> np.ndarray:
    """Standard deviation of a cell's share around what is common to the seeds: (L,), (L,) -> (L,)."""
    slope_G = np.abs(np.diff(curve_L) / np.diff(log_values_L))
    slope_L = np.maximum(np.append(slope_G, 0), np.append(0, slope_G))
    return np.hypot(_NOISE * curve_L * (1 - curve_L), _JITTER * slope_L) + 1e-3


def _replicate_scale(shares_LS: np.ndarray, noise_L: np.ndarray) -> float:
    """How much larger the noise is than expected, from values that several seeds were trained at; at most 1.5."""
    is_trained_LS = ~np.isnan(shares_LS)
    counts_L1 = is_trained_LS.sum(1, keepdims=True)
    mean_L1 = np.where(is_trained_LS, shares_LS, 0).sum(1, keepdims=True) / np.maximum(counts_L1, 1)
    squares = float((np.where(is_trained_LS, (shares_LS - mean_L1) / noise_L[:, None], 0) ** 2).sum())
    freedom = float(np.maximum(counts_L1 - 1, 0).sum())
    return min(float(np.sqrt((_PRIOR_REPLICATES + squares) / (_PRIOR_REPLICATES + freedom))), 1.5)
