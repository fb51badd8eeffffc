"""Where seeds have their edges, from what each seed alone brackets: an interval-censored logistic distribution.

Each seed has one edge on log10 of the knob, known to lie between two tested values. Edges of seeds are logistic with an
unknown location (their median) and scale. The posterior under the right Haar prior (flat in location and log scale) is
summed on a grid: for edges known exactly such intervals cover as stated whatever location and scale are, even with
three seeds (Severini et al. 2002), where profile likelihood covers too little; open brackets need no special case.

Legend: S seeds, M locations, C scales, N draws, X any other axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Logistic scales in decades: narrower than any bracket worth asking for, up to two decades (5% to 95%) and more.
_SCALES_C = np.geomspace(0.01, 0.6, 28)
_STEP = 0.02  # decades between locations
_REACH = 1.0  # decades beyond the range of the knob in which the location may lie


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Posterior of the edges: location and scale in log10 of the knob, with the brackets that it came from."""

    lows_S: np.ndarray
    highs_S: np.ndarray
    locations_M: np.ndarray
    weights_MC: np.ndarray  # sum to 1

    def location(self, probability: float) -> float:
        """Quantile of the location, that is, of the median edge over seeds."""
        upper_M = np.cumsum(self.weights_MC.sum(1))
        return float(np.interp(probability, upper_M - self.weights_MC.sum(1) / 2, self.locations_M))

    @property
    def scale(self) -> float:
        """Posterior median of the logistic scale, in decades."""
        return float(_SCALES_C[np.searchsorted(np.cumsum(self.weights_MC.sum(0)), 0.5)])

    def halving_S(self) -> np.ndarray:
        """Where each seed's edge lies below with probability 1/2, inside its bracket, at the likeliest parameters."""
        location = self.location(0.5)
        lower_S, upper_S = (_logistic((ends - location) / self.scale) for ends in (self.lows_S, self.highs_S))
        middle_S = np.clip((lower_S + upper_S) / 2, 1e-9, 1 - 1e-9)
        return np.clip(location + self.scale * np.log(middle_S / (1 - middle_S)), self.lows_S, self.highs_S)

    def draws_NS(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of every seed's edge, each inside its bracket: (N, S)."""
        cells_N = rng.choice(self.weights_MC.size, num_draws, p=self.weights_MC.ravel())
        location_N1 = self.locations_M[cells_N // len(_SCALES_C)][:, None]
        scale_N1 = _SCALES_C[cells_N % len(_SCALES_C)][:, None]
        lower_NS, upper_NS = (_logistic((ends[None] - location_N1) / scale_N1) for ends in (self.lows_S, self.highs_S))
        rank_NS = np.clip(lower_NS + rng.random(lower_NS.shape) * (upper_NS - lower_NS), 1e-9, 1 - 1e-9)
        edges_NS = location_N1 + scale_N1 * np.log(rank_NS / (1 - rank_NS))
        return np.clip(edges_NS, self.lows_S, self.highs_S)


def edges(lows_S: np.ndarray, highs_S: np.ndarray, low: float, high: float) -> Edges:
    """The posterior for brackets in log10 of the knob (-inf, inf where open), for a knob searched in [low, high]."""
    start, stop = np.log10(low) - _REACH, np.log10(high) + _REACH
    locations_M = np.linspace(start, stop, int(np.ceil((stop - start) / _STEP)) + 1)
    closed_S = np.isfinite(lows_S) | np.isfinite(highs_S)
    log_weights_MC = np.zeros((len(locations_M), len(_SCALES_C)))
    for lower, upper in zip(lows_S[closed_S], highs_S[closed_S], strict=True):
        below_MC, above_MC = ((end - locations_M[:, None]) / _SCALES_C for end in (lower, upper))
        # on the side of the distribution where the difference keeps its digits
        flip_MC = below_MC > 0
        from_MC, to_MC = np.where(flip_MC, -above_MC, below_MC), np.where(flip_MC, -below_MC, above_MC)
        log_weights_MC += np.log(np.maximum(_logistic(to_MC) - _logistic(from_MC), 1e-300))
    weights_MC = np.exp(log_weights_MC - log_weights_MC.max())
    return Edges(lows_S=lows_S, highs_S=highs_S, locations_M=locations_M, weights_MC=weights_MC / weights_MC.sum())


def brackets(log_values_L: np.ndarray, holds_LS: np.ndarray, fails_LS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each seed's edge lies: between its last value that holds and its first that fails; (S,), (S,).

    What neither holds nor fails is ignored. Where a seed fails and holds again further up, the bracket spans all of the
    mixed zone, so that its edge is in the same zone whichever of the values are tested.
    """
    lows_S, highs_S = np.full(holds_LS.shape[1], -np.inf), np.full(holds_LS.shape[1], np.inf)
    for seed in range(holds_LS.shape[1]):
        held, failed = np.flatnonzero(holds_LS[:, seed]), np.flatnonzero(fails_LS[:, seed])
        held_before = held[held < failed[0]] if len(failed) else held
        failed_after = failed[failed > held[-1]] if len(held) else failed
        if len(held_before):
            lows_S[seed] = log_values_L[held_before[-1]]
        if len(failed_after):
            highs_S[seed] = log_values_L[failed_after[0]]
    return lows_S, highs_S


def _logistic(z_X: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) where z may be infinite, with full relative precision in the lower tail."""
    shrunk_X = np.exp(-np.abs(z_X))
    return np.where(z_X < 0, shrunk_X, 1.0) / (1 + shrunk_X)
