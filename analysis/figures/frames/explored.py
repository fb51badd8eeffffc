"""What the explore page draws: every trial's traces, thinned to a page's size. Computes; draws nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.figures.frames.aggregate import UNIFORM_ENTROPY
from analysis.figures.frames.diverged_map import diverged_map
from analysis.text import lr_text
from bench.outcome import RESULT_OUTCOMES
from bench.trace import WHOLE_MODEL

MAX_VALUES = 80_000  # of a page; 6 letters each
MOST_STEPS, LEAST_STEPS = 48, 8

# Which quantities come first where not all fit; the extreme that a thinned step keeps, else the last value.
ORDER = ("loss", "grad_norm", "entropy", "val_loss", "logit_variance", "frobenius_norm", "val_accuracy")
EXTREMES = {"loss": "max", "grad_norm": "max", "logit_variance": "max", "max_logit": "max", "entropy": "min"}
_LEFT_OUT = ("entropy_mean", "entropy_std", UNIFORM_ENTROPY)  # follow from others


@dataclass(frozen=True, kw_only=True)
class Explored:
    """Traces of the trials of one workload, optimizer and setting of the other knobs.

    series: trial (a number), quantity, layer (-1: mean over layers, or of the whole model) and values
    at `steps`, as many as the trial has, null where nothing is measured; three significant digits. cells: a row a
    trial: method, lr, lr_text, seed, state and step of `diverged_map`, end (final loss clipped at the loss at init).
    left_out: quantities of layers that did not fit.
    """

    steps: list[int]
    series: list[dict[str, Any]]
    cells: pl.DataFrame
    left_out: list[str]

    @property
    def layered(self) -> list[str]:
        """The quantities that have layers."""
        return list(dict.fromkeys(one["quantity"] for one in self.series if one["layer"] >= 0))


def explored(results: pl.DataFrame, traces: Iterable[pl.DataFrame], *, max_values: int = MAX_VALUES) -> Explored | None:
    """None where no trial left a trace. results: of one entry of `parts`. traces: trial_id, TRACE_COLUMNS, in lots.

    Where not all of it fits into max_values, there are fewer steps, and then no layers of the last of ORDER.
    """
    cells = _cells(results)
    known = cells.select("trial_id", "trial")
    wanted = [lot.filter(pl.col("trial_id").is_in(known["trial_id"])) for lot in traces]
    rows = pl.concat([_finite(lot) for lot in wanted]) if wanted else pl.DataFrame()
    if rows.is_empty():
        return None
    counts = rows.select("trial_id", "quantity", "layer").unique().group_by("quantity", "layer").len()
    kept, left_out = _chosen(counts, max_values)
    num_series = sum(number for _, _, number in kept)
    num_steps = max(LEAST_STEPS, min(MOST_STEPS, max_values // num_series))
    rows = rows.join(pl.DataFrame(kept, schema=["quantity", "layer", "len"], orient="row"), on=["quantity", "layer"])
    bucket = (pl.col("step") + 1).log() / (pl.col("step").max() + 2).log() * num_steps
    rows = rows.with_columns(bucket=bucket.floor().cast(pl.Int32)).sort("trial_id", "quantity", "layer", "step")
    steps = rows.group_by("bucket").agg(pl.col("step").max()).sort("step").with_row_index("place")
    thinned = _thinned(rows).join(steps.select("bucket", "place"), on="bucket")
    points = thinned.group_by("trial_id", "quantity", "layer", maintain_order=True).agg("place", "value")
    numbers = dict(known.iter_rows())
    series = [
        {"trial": numbers[trial_id], "quantity": quantity, "layer": layer, "values": _values(places, values)}
        for trial_id, quantity, layer, places, values in points.iter_rows()
    ]
    return Explored(steps=steps["step"].to_list(), series=series, cells=cells.drop("trial_id"), left_out=left_out)


def _cells(results: pl.DataFrame) -> pl.DataFrame:
    """A row a trial with a result, numbered."""
    ended = results.filter(pl.col("outcome").is_in(RESULT_OUTCOMES))
    ends = ended.select("trial_id", "method", "lr", "seed", end=pl.min_horizontal("final_loss", "initial_loss"))
    states = diverged_map(results).select("method", "lr", "seed", "state", "step")
    texts = {lr: lr_text(lr) for lr in ends["lr"].unique()}
    return (
        ends.join(states, on=["method", "lr", "seed"], how="left")
        .sort("method", "lr", "seed")
        .with_columns(lr_text=pl.col("lr").replace_strict(texts, return_dtype=pl.String), end=pl.col("end").round(4))
        .with_row_index("trial")
    )


def _finite(lot: pl.DataFrame) -> pl.DataFrame:
    """The finite values, and of what has layers the mean over them, as layer -1."""
    rows = lot.filter(pl.col("value").is_finite() & ~pl.col("quantity").is_in(_LEFT_OUT))
    means = rows.filter(pl.col("layer") >= 0).group_by("trial_id", "step", "quantity").agg(pl.col("value").mean())
    means = means.with_columns(layer=pl.lit(WHOLE_MODEL, pl.Int16)).select(rows.columns)
    return pl.concat([rows, means])


def in_order(quantity: str) -> tuple[int, str]:
    """What quantities are sorted by: their place in ORDER, then their name."""
    return (ORDER.index(quantity) if quantity in ORDER else len(ORDER), quantity)


def _chosen(counts: pl.DataFrame, max_values: int) -> tuple[list[tuple[str, int, int]], list[str]]:
    """(quantity, layer, number of trials) of what fits, means before layers; the quantities whose layers do not."""
    by_count = sorted(counts.iter_rows(), key=lambda one: (one[1] >= 0, in_order(one[0]), one[1]))
    kept, total = list[tuple[str, int, int]](), 0
    for one in by_count:
        if one[1] < 0 or (total + one[2]) * LEAST_STEPS * 2 <= max_values:
            kept.append(one)
            total += one[2]
    return kept, list(dict.fromkeys(one[0] for one in by_count if one not in kept))


def _thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """One value a bucket: its extreme where EXTREMES has one, else its last."""
    value = pl.col("value").last()
    for name, side in EXTREMES.items():
        extreme = pl.col("value").max() if side == "max" else pl.col("value").min()
        value = pl.when(pl.col("quantity").first() == name).then(extreme).otherwise(value)
    grouped = rows.group_by("trial_id", "quantity", "layer", "bucket", maintain_order=True)
    return grouped.agg(value.cast(pl.Float64).round_sig_figs(3))


def _values(places: list[int], values: list[float]) -> list[float | None]:
    filled: list[float | None] = [None] * (max(places) + 1)
    for place, value in zip(places, values, strict=True):
        filled[place] = value
    return filled
