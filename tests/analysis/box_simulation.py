"""Boxes whose losses are drawn, for tests of the scores of a box and of what their intervals cover."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import qmc

from analysis.scores.box.board import box_board, score_box
from analysis.scores.box.losses import BoxLosses
from analysis.scores.box.numbers import BOX_SCORES

INITIAL = 4.0


def surface(units_NK: np.ndarray, width: float) -> np.ndarray:
    """Losses over the unit cube, (N, K) -> (N,): a bowl as wide as `width` around 0.5, and a cliff at 0.85 of knob 0.

    The second knob matters a fifth as much, the third hardly.
    """
    weights_K = 0.2 ** np.arange(units_NK.shape[1])
    distance_N = (weights_K * (units_NK - 0.5) ** 2).sum(1) / width**2
    return np.where(units_NK[:, 0] > 0.85, np.inf, 0.4 + (INITIAL - 0.4) * (1 - np.exp(-distance_N)))


def simulate(
    rng: np.random.Generator,
    *,
    design: str = "qmc",
    widths: tuple[float, ...] = (0.5, 0.8),
    num_points: int = 128,
    num_replicates: int = 8,
    num_seeds: int = 3,
    noise: float = 0.1,
    seed_shift: float = 0.02,
) -> BoxLosses:
    """Losses of methods as wide as `widths`, of noise by trial, and of a shift of the bowl by seed.

    Both are shares of the bowl's height and of the range of knob 0.
    """
    each = num_points // num_replicates
    units_NK = rng.random((num_points, 3))
    if design == "qmc":
        units_NK = np.concatenate([qmc.Sobol(3, rng=rng).random(each) for _ in range(num_replicates)])
    shift_S = seed_shift * rng.standard_normal(num_seeds)
    common_NS = noise * rng.standard_normal((num_points, num_seeds))
    losses = np.empty((len(widths), num_points, num_seeds))
    for seed in range(num_seeds):
        moved_NK = units_NK + np.array([shift_S[seed], 0.0, 0.0])
        for method, width in enumerate(widths):
            own_N = noise * rng.standard_normal(num_points)
            losses[method, :, seed] = surface(moved_NK, width) + common_NS[:, seed] + own_N
    initial = np.full((len(widths), num_seeds), INITIAL) + 0.05 * rng.standard_normal(num_seeds)
    return BoxLosses(
        workload="w", optimizer="o", knobs="", methods=tuple(f"m{place}" for place in range(len(widths))),
        seeds=tuple(range(num_seeds)), points=tuple(range(num_points)),
        losses_MNS=np.minimum(losses, initial[:, None]), initial_MS=initial,
        replicates_N=np.repeat(np.arange(num_replicates), each),
        diverged_MNS=np.isinf(losses), num_lost_M=np.zeros(len(widths), dtype=int),
    )  # fmt: skip


def coverage(*, num_boxes: int, seed: int, **box: Any) -> dict[str, float]:
    """How often the 95% interval of each score holds the mean of the score over all boxes, mean over methods."""
    names, found = list(BOX_SCORES), []
    for number in range(num_boxes):
        losses = simulate(np.random.default_rng([seed, number]), **box)
        scored = score_box(losses, {})
        rows = box_board([scored]).sort("method").rows(named=True)
        found.append([[[row[f"{name}{end}"] for end in ("", "_ci_low", "_ci_high")] for row in rows] for name in names])
    values_BKME = np.array(found, dtype=float)
    expected_KM = values_BKME[..., 0].mean(0)
    inside_BKM = (values_BKME[..., 1] <= expected_KM) & (expected_KM <= values_BKME[..., 2])
    return dict(zip(names, inside_BKM.mean((0, 2)).tolist(), strict=True))


# What is simulated: 128 points unless said, 8 replicates, 3 seeds.
SCENARIOS: dict[str, dict[str, Any]] = {
    "qmc": {},
    "qmc, 512 points": {"num_points": 512},
    "random": {"design": "random"},
    "seeds that differ": {"seed_shift": 0.05},
    "hardly any noise": {"noise": 0.02},
}


if __name__ == "__main__":
    for name, scenario in SCENARIOS.items():
        covered = coverage(num_boxes=400, seed=0, **scenario)
        print(name, {score: round(share, 3) for score, share in covered.items()}, flush=True)
