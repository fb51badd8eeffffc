"""Traces thinned to the curves that MLflow's pages draw; the full traces are artifacts."""

from __future__ import annotations

from bench.lazy import polars

CURVE_POINTS = 32  # buckets of a curve: of 10,000 steps 25 have a step, as the first are narrower than one

# The extreme of a bucket that its last value would hide: spikes, and entropy that collapses for a while.
PEAKS: dict[str, str] = {"loss": "max", "grad_norm": "max", "entropy_mean": "min", "entropy": "min"}
PEAKS |= {"logit_variance": "max"}
BY_LAYER = ("entropy", "logit_variance")  # a curve a layer, `entropy/layer_0`
# Of a trace alone; a point costs 0.1 ms through a server, and 268 bytes.
TRACE_ONLY = ("least_head_entropy", "uniform_entropy", "row_mass", "max_logit")


def curves(traces: polars.DataFrame, num_buckets: int = CURVE_POINTS) -> polars.DataFrame:
    """Thinned curves of many trials: trial_id, quantity, step, value, at rising steps.

    Buckets are even in log(step + 1); each keeps its last finite value, that of the last step too, and its peak where
    PEAKS has one for the quantity, at the step where that was measured. Other quantities are means over layers; those
    BY_LAYER have a third of the buckets.
    """
    columns = polars.col
    is_by_layer = columns("quantity").is_in(BY_LAYER) & (columns("layer") >= 0)
    buckets = polars.when(is_by_layer).then(max(1, num_buckets // 3)).otherwise(num_buckets)
    name = polars.format("{}/layer_{}", "quantity", "layer")
    rows = (
        traces.lazy()
        .filter(~columns("quantity").is_in(TRACE_ONLY))
        .with_columns(columns("value").cast(polars.Float64), of=columns("quantity"), buckets=buckets)
        .with_columns(quantity=polars.when(is_by_layer).then(name).otherwise("quantity"))
        .group_by("trial_id", "of", "quantity", "step")
        .agg(columns("value").mean(), columns("buckets").first())
        .filter(columns("value").is_finite())
        .with_columns(position=(columns("step") + 1).log() / (columns("step").max().over("trial_id") + 2).log())
        .with_columns(bucket=(columns("position") * columns("buckets")).floor())
        .sort("trial_id", "quantity", "step")
    )
    key = ["trial_id", "of", "quantity", "bucket"]
    last = rows.group_by(key, maintain_order=True).agg(columns("step", "value").last())
    parts = [last, *(_peaks(rows, names, side, key) for side, names in _by_side().items())]
    found = polars.concat([part.select("trial_id", "quantity", "step", "value") for part in parts])
    return found.unique().sort("trial_id", "quantity", "step").collect()


def _by_side() -> dict[str, list[str]]:
    return {side: [name for name, its in PEAKS.items() if its == side] for side in ("max", "min")}


def _peaks(rows: polars.LazyFrame, names: list[str], side: str, key: list[str]) -> polars.LazyFrame:
    """The largest or least value of each bucket of these quantities, at its first step."""
    rows = rows.filter(polars.col("of").is_in(names))
    place = polars.col("value").arg_max() if side == "max" else polars.col("value").arg_min()
    return rows.group_by(key, maintain_order=True).agg(polars.col("step", "value").get(place))
