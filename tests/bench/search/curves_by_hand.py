"""Searches run on losses that are a function of (value, seed)."""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.search.base import Ask, KnobSearch, Point

INITIAL = 3.0
Loss = Callable[[float, int], float]


def run(
    search: KnobSearch, loss: Loss, lost: Callable[[int], bool] = lambda number: False
) -> tuple[list[Ask], list[Point]]:
    """Rounds and points of a whole search; `lost` says which trial, by its number, is lost. Checks every ask."""
    rounds: list[Ask] = []
    points: list[Point] = []
    while (ask := search.next(points)) is not None:
        asked = {(point.value, point.seed) for point in points}
        assert ask.settings
        assert len(set(ask.settings)) == len(ask.settings)
        assert not asked & set(ask.settings)
        assert all(search.low <= value <= search.high and seed in search.seeds for value, seed in ask.settings)
        rounds.append(ask)
        for value, seed in ask.settings:
            gone = lost(len(points))
            final, initial = (math.nan, math.nan) if gone else (loss(value, seed), INITIAL)
            points.append(Point(value=value, seed=seed, final_loss=final, initial_loss=initial))
        assert len(points) <= search.budget
    return rounds, points


def step(edge: float, onset: float = 0.0) -> Loss:
    """Nothing learned up to `onset`, 0.5 from there to `edge`, diverged beyond."""

    def loss(value: float, seed: int) -> float:
        return math.inf if value > edge else 0.5 if value > onset else INITIAL

    return loss


def smooth(value: float, seed: int) -> float:
    """Learns ever more up to 0.06, where it diverges; later seeds a little earlier."""
    learned = 1 / (1 + (value * 10 ** (0.05 * seed) / 2e-3) ** -2)
    return math.inf if value > 0.06 else INITIAL - 2.7 * learned


def valley(value: float, seed: int) -> float:
    """Least at 0.02, by seed a little apart."""
    depth = (math.log10(value / 0.02)) ** 2
    return math.inf if value > 0.5 else 0.4 + 0.01 * seed + min(depth, 2.0)
