"""Results to maps: losses of one method over two knobs, and what is read off them.

A map belongs to one (workload, method, optimizer, knobs); `knobs` names what varies beside the two, as in
analysis/curves.py. Legend: X and Y values of the two knobs, S seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from analysis.curves import ENTRY, matrices, one_a_point, require_columns
from analysis.knobs import knob_values, other_knobs
from analysis.once import once_a_frame
from analysis.scores.robustness import is_chance, keeps_half, mean_of_present
from analysis.scores.seeds.intervals import interval_over_seeds
from analysis.scores.seeds.scales import Interval
from analysis.spelling import with_one_spelling
from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.lazy import polars as pl
from bench.outcome import RESULT_COLUMNS

# (losses_XYS, initial_XYS) -> number
MapScore = Callable[["np.ndarray", "np.ndarray"], "np.ndarray | float"]


@dataclass(frozen=True, kw_only=True)
class KnobMap:
    """Final losses of one method over two knobs, and what went missing.

    x_values (X,) and y_values (Y,) ascending; losses (X, Y, S), +inf where the seed diverged and NaN where the trial is
    missing or lost; initial_losses (X, Y, S), each seed's loss before any update. As lr can't change it, it is averaged
    over lr where lr is one of the two; NaN where no trial tells it. Only values and seeds with a result are kept.
    """

    x_values: np.ndarray
    y_values: np.ndarray
    seeds: tuple[int, ...]
    losses: np.ndarray
    initial_losses: np.ndarray
    num_lost: int
    num_unclipped: int  # trials at values of a knob that were left out, for a loss at init there is not finite
    is_complete: bool  # every pair of values of the entry has a result for every seed of the entry

    @property
    def num_trials(self) -> int:
        return int((~np.isnan(self.losses)).sum())

    @property
    def transposed(self) -> KnobMap:
        """The map with its knobs in the other order."""
        losses_YXS, initial_YXS = (
            np.ascontiguousarray(of_XYS.swapaxes(0, 1)) for of_XYS in (self.losses, self.initial_losses)
        )
        return dataclasses.replace(
            self, x_values=self.y_values, y_values=self.x_values, losses=losses_YXS, initial_losses=initial_YXS
        )


@once_a_frame
def knob_maps(results: pl.DataFrame, x: str, y: str | None = None) -> dict[tuple[str, ...], KnobMap]:
    """The KnobMap of every entry that has a result, by its ENTRY key, keys ascending; of one knob if `y` is None.

    `results` has RESULT_COLUMNS, and the loss that was chosen (analysis.losses). Trials without a value of a knob are
    left out, as are values of the knobs at which the loss at init of some trial is not finite. Raises UsageError as
    `curves` and `knob_values` do.
    """
    require_columns(results, tuple(name for name in RESULT_COLUMNS if name != "settings"), "the results frame")
    if x == y:
        raise UsageError(f"a map needs two knobs, got {x!r} twice")
    if x == "lr" and y is not None:
        return {key: one_map.transposed for key, one_map in knob_maps(results, y, x).items()}
    (results,) = with_one_spelling(results)
    named = results.with_columns(
        _x=knob_values(results, x),
        _y=pl.lit(0.0) if y is None else knob_values(results, y),
        knobs=other_knobs(results, (x, y)),
    ).drop_nulls(["_x", "_y"])
    points = one_a_point(named, [*ENTRY, "_x", "_y", "seed"])
    beside_lr = [column for column, knob in (("_x", x), ("_y", y)) if knob != "lr"]
    mean_initial = pl.col("initial_loss").filter(pl.col("final_loss").is_not_null()).mean()
    is_clipped = pl.col("initial_loss").is_finite().fill_null(False) | pl.col("final_loss").is_null()
    points = points.with_columns(
        initial_loss=mean_initial.over(*ENTRY, *beside_lr, "seed"),
        is_clipped=is_clipped.all().over(*ENTRY, *beside_lr),
    )
    maps = {}
    for key, group in points.group_by(ENTRY, maintain_order=True):
        clipped = group.filter(pl.col("final_loss").is_not_null(), "is_clipped")
        if clipped.height:
            num_unclipped = int((~group["is_clipped"]).sum())
            maps[tuple(str(part) for part in key)] = _knob_map(group.filter("is_clipped"), clipped, num_unclipped)
    return dict(sorted(maps.items()))


def clipped_map(losses_XYS: np.ndarray, initial_XYS: np.ndarray) -> np.ndarray:
    """min(mean over seeds of the loss, mean over seeds of the loss at init there): (X, Y, S) twice -> (X, Y).

    As robustness.clipped_curve; each cell is clipped at its own loss at init, which a knob such as the initial
    scale changes.
    """
    return np.minimum(mean_of_present(losses_XYS), mean_of_present(initial_XYS))


def least_mean(losses_XYS: np.ndarray, initial_XYS: np.ndarray) -> float:
    """The least mean final loss of a cell, which may lie above the loss at init: (X, Y, S) twice -> number.

    As robustness.best_loss: the least loss at init if a seed diverged in every cell.
    """
    map_XY = mean_of_present(losses_XYS)
    least = float(np.nanmin(map_XY))
    return float(np.nanmin(clipped_map(losses_XYS, initial_XYS))) if np.isinf(least) else least


def stable_cells(losses_XYS: np.ndarray, initial_XYS: np.ndarray) -> np.ndarray:
    """True where a cell is stable: (X, Y, S) twice -> bool (X, Y).

    As robustness.stable_lrs: no seed diverged, and `clipped_map` keeps at least half of what it learns at its least,
    from the loss at init of the cell where that is. A map at chance has no stable cell.
    """
    map_XY = clipped_map(losses_XYS, initial_XYS)
    best = np.unravel_index(np.nanargmin(map_XY), map_XY.shape)
    least, initial = map_XY[best], mean_of_present(initial_XYS)[best]
    return keeps_half(map_XY, least, initial) & ~is_chance(least, initial) & ~np.any(np.isinf(losses_XYS), -1)


def map_interval(score: MapScore, knob_map: KnobMap) -> Interval:
    """The score of a map with its interval over seeds, by the method of analysis/scores/seeds/intervals.py."""

    def of_seeds(losses_XYS: np.ndarray, initial_XYS: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.asarray(score(losses_XYS, initial_XYS))

    return interval_over_seeds(of_seeds, knob_map.losses, knob_map.initial_losses, knob_map.x_values)


def _knob_map(group: pl.DataFrame, clipped: pl.DataFrame, num_unclipped: int) -> KnobMap:
    axes = {name: clipped[name].unique().sort().to_numpy() for name in ("_x", "_y", "seed")}
    losses = matrices(axes, clipped, ("final_loss", "initial_loss"))
    return KnobMap(
        x_values=axes["_x"],
        y_values=axes["_y"],
        seeds=tuple(axes["seed"].tolist()),
        losses=losses["final_loss"],
        initial_losses=losses["initial_loss"],
        num_lost=group.height - clipped.height,
        num_unclipped=num_unclipped,
        is_complete=clipped.height == group["_x"].n_unique() * group["_y"].n_unique() * group["seed"].n_unique(),
    )
