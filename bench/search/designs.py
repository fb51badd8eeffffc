"""Designs of a box: where its points lie in the unit cube, before any is trained, by Optuna's samplers.

Points are a pure function of the arguments. A design consists of replicates: scrambles of one sequence, or independent
draws, that are as good as repeats of the design, and so say how far it decides what is found.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from bench.lazy import numpy as np
from bench.search.quiet import quiet_optuna

if TYPE_CHECKING:
    import optuna

DesignName = Literal["qmc", "random"]


def _qmc(seed: int) -> optuna.samplers.BaseSampler:
    """Sobol's sequence, scrambled after Owen 1998 by Matousek's linear matrix scramble and a digital shift."""
    import optuna

    return optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)


def _random(seed: int) -> optuna.samplers.BaseSampler:
    """Independent uniform draws."""
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


_SAMPLERS: dict[DesignName, Callable[[int], optuna.samplers.BaseSampler]] = {"qmc": _qmc, "random": _random}


@functools.lru_cache(maxsize=8)
def unit_points(name: DesignName, num_knobs: int, num_points: int, num_replicates: int, seed: int) -> np.ndarray:
    """Points in [0, 1)^K, (N, K), read-only: those of the first replicate, then of the next.

    `num_replicates` divides `num_points`. The points of a replicate are the first of a sequence: more points add to
    them, and change none.
    """
    each, left = divmod(num_points, num_replicates)
    assert left == 0, (num_points, num_replicates)
    seeds = np.random.SeedSequence(seed).generate_state(num_replicates)
    points_NK = np.concatenate([_replicate(_SAMPLERS[name], num_knobs, each, int(one)) for one in seeds])
    points_NK.setflags(write=False)
    return points_NK


def _replicate(
    sampler: Callable[[int], optuna.samplers.BaseSampler], num_knobs: int, num_points: int, seed: int
) -> np.ndarray:
    """The first points that a sampler asks for."""
    import optuna

    space: dict[str, optuna.distributions.BaseDistribution] = {
        f"knob_{place:03d}": optuna.distributions.FloatDistribution(0.0, 1.0) for place in range(num_knobs)
    }
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=sampler(seed))
        asked = [study.ask(space).params for _ in range(num_points + 1)]
    # A study without trials knows no space: QMCSampler leaves its first trial to a random sampler, and begins after it.
    return np.array([[one[name] for name in space] for one in asked[1:]])
