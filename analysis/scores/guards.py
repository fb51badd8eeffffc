"""Guards: what makes a score misleading, as flags on the rows that show it; FLAGS of flags.py states each rule."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from analysis.curves import Entries, LossGrid
from analysis.scores.flags import flag_text
from analysis.scores.knob_maps import KnobMap, clipped_map
from analysis.scores.lr_shift import reference_shifts
from analysis.scores.robustness import (
    SENSITIVITIES,
    SENSITIVITY_CURVES,
    best_loss,
    best_lr,
    is_at_chance,
    is_chance,
    mean_of_present,
    stable_lrs,
)
from analysis.scores.seeds.separation import comparable_entries, is_separated, neighbours
from analysis.scores.seeds.wandering import cliff_wanders
from bench.lazy import numpy as np

_INIT_SHARE = 0.05
_CLIFF_SHARE = 0.25
_LITTLE_SHARE = 0.5
_FEW_SEEDS = 3


def cliff_share(grid: LossGrid, score: str) -> float:
    """Share of the score that one grid step of its cliff is worth, in [0, L]; 0 without a cliff or a score.

    The rise from a stable lr to an unstable one next above it, the largest if there are several, over the number of
    learning rates and the score: by that the score would change if the cliff lay one grid step further on.
    """
    curve_L = SENSITIVITY_CURVES[score](grid.losses, grid.initial_losses)
    present_L = ~np.isnan(curve_L)
    curve_L, stable_L = curve_L[present_L], stable_lrs(grid.losses, grid.initial_losses)[present_L]
    rises = np.diff(curve_L)[stable_L[:-1] & ~stable_L[1:]]
    value = float(curve_L.mean() - curve_L.min())
    return float(rises.max() / len(curve_L) / value) if len(rises) and value > 0 else 0.0


def board_flags(entries: Entries, score: str, usual_lrs: tuple[float, ...]) -> dict[tuple[str, ...], str]:
    """The flags of every entry of a workload, as text; `usual_lrs` is the grid that most of them have."""
    learned = comparable_entries(entries)
    little = _learned_little(learned)
    shifted = {key for key, (_, is_shifted) in reference_shifts(learned).items() if is_shifted}
    usual_seeds = Counter(grid.seeds for grid in learned.values() if len(grid.seeds) > 1).most_common(1)
    score_of = SENSITIVITIES[score]
    several = {key: grid for key, grid in learned.items() if len(grid.seeds) > 1}
    of_single_seeds = [pair for pair in neighbours(learned, score_of) if pair.first not in several]
    pairs = [*neighbours(several, score_of), *of_single_seeds]  # one of a single seed has no rank: it is nobody's next
    unseparated = {pair.first for pair in pairs if not is_separated(pair)}
    texts = {}
    for key, grid in entries.items():
        raised = _grid_flags(grid, score, usual_lrs)
        raised |= {"learned_little"} if key in little else set()
        raised |= {"lr_shifted"} if key in shifted else set()
        raised |= {"needs_seeds"} if key in unseparated else set()
        is_compared = key in learned and len(grid.seeds) > 1
        raised |= {"unpaired"} if is_compared and grid.seeds != usual_seeds[0][0] else set()
        texts[key] = flag_text(raised)
    return texts


def knob_flags(one_map: KnobMap, usual_values: Sequence[float], places: Sequence[int] | None = None) -> set[str]:
    """The flags of a score over the first knob of a map, the second being lr or nothing.

    `usual_values` are those of most entries of the workload; `places` says at which values of the knob the best lr
    counts (all if None).
    """
    map_XY = clipped_map(one_map.losses, one_map.initial_losses)
    initial_X = np.fmin.reduce(mean_of_present(one_map.initial_losses), axis=1)
    x, y = np.unravel_index(np.nanargmin(map_XY), map_XY.shape)
    border_values = [
        value for value in (one_map.x_values[0], one_map.x_values[-1]) if value != 0 and math.isfinite(value)
    ]
    lr_places = range(len(one_map.x_values)) if places is None else places
    best_lrs = [int(np.nanargmin(map_XY[place])) for place in lr_places if not np.isnan(map_XY[place]).all()]
    at_chance = bool(is_chance(map_XY[x, y], mean_of_present(one_map.initial_losses)[x, y]))
    raised = {
        "at_chance": at_chance,
        "best_at_border": not at_chance and one_map.x_values[x] in border_values,
        "lr_at_border": not at_chance
        and len(one_map.y_values) > 1
        and not {0, len(one_map.y_values) - 1}.isdisjoint(best_lrs),
        "init_varies": float(np.ptp(initial_X)) > _INIT_SHARE * float(np.abs(initial_X).max()),
        "few_seeds": len(one_map.seeds) < _FEW_SEEDS,
        "incomplete": not one_map.is_complete,
        "lost_trials": one_map.num_lost > 0,
        "no_init_loss": one_map.num_unclipped > 0,
        "other_grid": tuple(one_map.x_values) != tuple(usual_values),
    }
    return {word for word, is_raised in raised.items() if is_raised}


def _learned_little(entries: Entries) -> set[tuple[str, ...]]:
    """The entries that learned less than half of what the best of their optimizer and knobs learned."""
    learned = {key: float(grid.initial_losses.mean() - best_loss(*grid.data)) for key, grid in entries.items()}
    most: dict[tuple[str, ...], float] = {}
    for key, amount in learned.items():
        most[key[2:]] = max(amount, most.get(key[2:], amount))
    return {key for key, amount in learned.items() if amount < _LITTLE_SHARE * most[key[2:]]}


def _grid_flags(grid: LossGrid, score: str, usual_lrs: tuple[float, ...]) -> set[str]:
    at_chance = bool(is_at_chance(*grid.data))
    best = float(best_lr(*grid.data))
    raised = {
        "at_chance": at_chance,
        "best_at_border": not at_chance and len(grid.lrs) > 1 and best in (grid.lrs[0], grid.lrs[-1]),
        "cliff_wanders": not at_chance and cliff_wanders(grid),
        "coarse_cliff": not at_chance and cliff_share(grid, score) > _CLIFF_SHARE,
        "few_seeds": len(grid.seeds) < _FEW_SEEDS,
        "incomplete": not grid.is_complete,
        "lost_trials": grid.num_lost > 0,
        "one_lr": len(grid.lrs) == 1,
        "other_grid": len(grid.lrs) > 1 and tuple(grid.lrs) != usual_lrs,
    }
    return {word for word, is_raised in raised.items() if is_raised}
