"""The losses of a box: of every method at the same points of the box, with the same seeds.

A trial counts as the lesser of its final loss and its seed's loss at init, and as that if it diverged. Where a knob of
the box, such as init_scale, moves the loss at init, that of a seed is its median over the points. Legend: M methods,
N points, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analysis.curves import ENTRY, groups_of, require_columns
from bench.lazy import numpy as np
from bench.outcome import RESULT_OUTCOMES, Outcome

# Where each trial stands: its point, and the labels of its entries; "" of what the box draws.
PLACE_COLUMNS: dict[str, type[pl.DataType]] = {
    "trial_id": pl.String,
    "point": pl.Int64,
    **dict.fromkeys(ENTRY, pl.String),
}


@dataclass(frozen=True, kw_only=True)
class BoxLosses:
    """The losses of the methods that are compared on one workload, under one optimizer and knobs unless drawn.

    losses_MNS: at most the loss at init, NaN where a trial is missing or lost. initial_MS: losses at init.
    replicates_N: which replicate of the design each point is of. diverged_MNS: which trials diverged.
    num_lost_M: trials that crashed, ran out of memory or timed out.
    """

    workload: str
    optimizer: str
    knobs: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    points: tuple[int, ...]
    losses_MNS: np.ndarray
    initial_MS: np.ndarray
    replicates_N: np.ndarray
    diverged_MNS: np.ndarray
    num_lost_M: np.ndarray

    @property
    def group(self) -> dict[str, str]:
        """The columns that say what is compared apart: workload, optimizer and knobs."""
        return {"workload": self.workload, "optimizer": self.optimizer, "knobs": self.knobs}

    @property
    def is_complete_M(self) -> np.ndarray:
        """Whether a method has a result at every point with every seed."""
        return np.asarray(~np.isnan(self.losses_MNS).any((1, 2)))


def box_losses(results: pl.DataFrame, places: pl.DataFrame, points: pl.DataFrame) -> list[BoxLosses]:
    """The losses of each workload, optimizer and knobs that are compared apart, of methods that have a result.

    results: RESULT_COLUMNS, with the scored loss in initial_loss and final_loss. places: PLACE_COLUMNS. points: one row
    each, with `point` and `replicate`.
    """
    require_columns(places, tuple(PLACE_COLUMNS), "the frame of places")
    drawn = results.select("trial_id", "seed", "outcome", "initial_loss", "final_loss")
    rows = places.join(drawn, on="trial_id", maintain_order="left")
    groups = groups_of(rows, "workload", "optimizer", "knobs")
    return [one for key, group in groups if (one := _losses(key, group, points)) is not None]


def _losses(key: tuple[str, ...], rows: pl.DataFrame, points: pl.DataFrame) -> BoxLosses | None:
    has_diverged = (pl.col("outcome") == Outcome.DIVERGED.value) | pl.col("final_loss").is_nan()
    is_result = pl.col("outcome").is_in(RESULT_OUTCOMES)
    is_scored = is_result & pl.col("initial_loss").is_finite() & (pl.col("final_loss").is_not_null() | has_diverged)
    scored = rows.filter(is_scored.fill_null(False)).with_columns(
        loss=pl.when(has_diverged).then(float("inf")).otherwise("final_loss"), diverged=has_diverged
    )
    if scored.is_empty():
        return None
    methods = tuple(scored["method"].unique(maintain_order=True))
    seeds = tuple(scored["seed"].unique().sort())
    numbers = tuple(points["point"])
    shape = len(methods), len(numbers), len(seeds)
    places = tuple(
        scored[name].replace_strict({value: index for index, value in enumerate(values)}).to_numpy()
        for name, values in (("method", methods), ("point", numbers), ("seed", seeds))
    )
    losses_MNS, initial_MNS, diverged_MNS = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    losses_MNS[places] = scored["loss"].to_numpy()
    initial_MNS[places] = scored["initial_loss"].to_numpy()
    diverged_MNS[places] = scored["diverged"].to_numpy()
    initial_MS = _medians(initial_MNS)
    lost = rows.filter(~is_result)["method"]
    return BoxLosses(
        workload=key[0], optimizer=key[1], knobs=key[2], methods=methods, seeds=seeds, points=numbers,
        losses_MNS=np.minimum(losses_MNS, initial_MS[:, None]), initial_MS=initial_MS,
        replicates_N=points["replicate"].to_numpy(), diverged_MNS=diverged_MNS,
        num_lost_M=np.array([(lost == method).sum() for method in methods]),
    )  # fmt: skip


def _medians(initial_MNS: np.ndarray) -> np.ndarray:
    """Median over points, (M, N, S) -> (M, S); of a seed without any result that over all seeds."""
    is_there_MS = np.asarray(~np.isnan(initial_MNS).all(1))
    of_all_M = np.nanmedian(initial_MNS, (1, 2))
    filled_MNS = np.where(is_there_MS[:, None], initial_MNS, of_all_M[:, None, None])
    return np.nanmedian(filled_MNS, 1)
