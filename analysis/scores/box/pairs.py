"""Which knobs of a box act together: the interaction of every pair, and what is kept in each cell of their ranges.

The interaction of two knobs is the share of the variance of the loss over the box that both explain beyond what each
explains alone: two-way analysis of variance over NUM_PARTS parts of each range, less what noise and the other knobs
are expected to add (omega squared). Intervals are of the jackknife over replicates, of the mean loss over seeds.
Source: Hays 1963, omega squared. Legend: M methods, N points, K knobs, P pairs.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import polars as pl

from analysis.curves import ENTRY
from analysis.scores.box.board import ScoredBox, estimates
from analysis.scores.box.importance import left_out
from analysis.scores.box.knobs import BoxKnob, places_in
from analysis.scores.box.numbers import best_losses
from analysis.scores.box.shares import DELTA, regret
from analysis.scores.robustness import mean_of_present
from bench.lazy import numpy as np

NUM_PARTS = 4  # of a knob that is a number, each as much of the box

INTERACTION_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys((*ENTRY, "first", "second"), pl.String),
    **dict.fromkeys(("interaction", "ci_low", "ci_high"), pl.Float64),
}
CELL_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys((*ENTRY, "first", "second"), pl.String),
    **dict.fromkeys(("first_place", "second_place"), pl.Int64),  # of the parts, in the order of their axes
    **dict.fromkeys(("first_part", "second_part"), pl.String),
    "share": pl.Float64,  # of the runs there within DELTA of the method's best
    "num_points": pl.Int64,
}


def interactions(boxes: Sequence[ScoredBox], units: pl.DataFrame, knobs: Sequence[BoxKnob]) -> pl.DataFrame:
    """INTERACTION_COLUMNS of every method and pair of knobs. `units`: one row a point, in the order of the boxes."""
    units_NK, rows = units.select(knob.name for knob in knobs).to_numpy(), []

    def evaluate(inside_NK: np.ndarray, losses_N: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        return pair_interactions(inside_NK, losses_N, knobs)

    pairs = list(itertools.combinations([knob.name for knob in knobs], 2))
    for box in boxes if pairs else ():
        loss_MN, losses = mean_of_present(box.losses.losses_MNS), box.losses
        for m, method in enumerate(losses.methods):
            frame = left_out(evaluate, units_NK, loss_MN[m], losses.replicates_N, [len(one.choices) for one in knobs])
            place = losses.group | {"method": method}
            for (first, second), one in zip(pairs, estimates(frame), strict=True):
                share = dataclasses.replace(one, value=max(one.value, 0.0)).interval.within((0.0, 1.0))
                rows.append({**place, "first": first, "second": second, **share.columns("interaction", "ci")})
    return pl.DataFrame(rows, schema=INTERACTION_COLUMNS)


def strongest(frame: pl.DataFrame) -> pl.DataFrame:
    """`first` and `second` of the pairs of a frame of `interactions`, by their mean over methods, the largest first."""
    means = frame.group_by("first", "second", maintain_order=True).agg(pl.col("interaction").mean())
    return means.sort("interaction", descending=True, maintain_order=True).select("first", "second")


def pair_interactions(units_NK: np.ndarray, losses_N: np.ndarray, knobs: Sequence[BoxKnob]) -> np.ndarray:
    """The interaction of every pair, (N, K), (N,) -> (P,); below 0 by chance, 0 of all where no loss differs."""
    places = [places_in(knob.parts(NUM_PARTS), unit_N) for unit_N, knob in zip(units_NK.T, knobs, strict=True)]
    return np.array([_interaction(first, second, losses_N) for first, second in itertools.combinations(places, 2)])


def cells(box: ScoredBox, units: pl.DataFrame, first: BoxKnob, second: BoxKnob) -> pl.DataFrame:
    """CELL_COLUMNS of a pair of knobs, every method."""
    losses, loss_MSN = box.losses, box.losses.losses_MNS.swapaxes(1, 2)
    regret_MSN = regret(loss_MSN, best_losses(loss_MSN), losses.initial_MS)
    within_MSN = np.where(np.isnan(loss_MSN), np.nan, regret_MSN <= DELTA)
    places = [places_in(one.parts(NUM_PARTS), units[one.name].to_numpy()) for one in (first, second)]
    rows = []
    for (x, x_part), (y, y_part) in itertools.product(
        enumerate(first.parts(NUM_PARTS)), enumerate(second.parts(NUM_PARTS))
    ):
        inside_N = (places[0] == x) & (places[1] == y)
        for m, method in enumerate(losses.methods):
            runs = within_MSN[m][:, inside_N]
            num_points = int((~np.isnan(runs)).any(0).sum())
            rows.append(
                losses.group
                | {"method": method, "first": first.name, "second": second.name}
                | {"first_place": x, "second_place": y, "first_part": x_part.text, "second_part": y_part.text}
                | {"share": float(np.nanmean(runs)) if num_points else None, "num_points": num_points}
            )
    return pl.DataFrame(rows, schema=CELL_COLUMNS)


def _interaction(first_N: np.ndarray, second_N: np.ndarray, losses_N: np.ndarray) -> float:
    total = float(((losses_N - losses_N.mean()) ** 2).sum())
    taken, cell_N = np.unique(first_N * (second_N.max() + 1) + second_N, return_inverse=True)
    freedom = len(losses_N) - len(taken)
    if total <= 0 or freedom <= 0:
        return 0.0
    means = np.bincount(cell_N, losses_N) / np.bincount(cell_N)
    within = float(((losses_N - means[cell_N]) ** 2).sum())
    columns = [of_N[:, None] == np.unique(of_N) for of_N in (first_N, second_N)]
    design = np.concatenate(columns, 1).astype(float)
    fitted, _, rank, _ = np.linalg.lstsq(design, losses_N, rcond=None)
    additive = float(((losses_N - design @ fitted) ** 2).sum())
    noise = within / freedom
    return (additive - within - (len(taken) - rank) * noise) / (total + noise)
