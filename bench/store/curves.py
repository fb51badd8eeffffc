"""Traces thinned to the curves that MLflow's pages draw; the full traces are artifacts."""

from __future__ import annotations

from bench.lazy import polars
from bench.trace import WHOLE_MODEL

CURVE_POINTS = 32  # buckets of a curve: of 10,000 steps 25 have a step, as the first are narrower than one

# The extreme of a bucket, which its last value may hide (spikes, collapses that pass), is a curve of its own, such as
# `loss_max`: all trials have their points at the same steps, so that a mean over them is one at every step.
PEAKS: dict[str, str] = {"loss": "max", "grad_norm": "max", "entropy_mean": "min"}
BY_LAYER: dict[str, str] = {"entropy": "min", "logit_variance": "max"}  # a curve of extremes a layer
# Of a trace alone; a point costs 0.1 ms through a server, and 268 bytes.
TRACE_ONLY = ("least_head_entropy", "uniform_entropy", "row_mass", "max_logit")


def curves(traces: polars.DataFrame, num_buckets: int = CURVE_POINTS) -> polars.DataFrame:
    """Thinned curves of many trials: trial_id, quantity, step, value, at rising steps.

    Buckets are even in log(step + 1). Each has a point at its last step with a finite value: that value, under the
    quantity's name, a mean over layers; its extreme, as PEAKS says, under names such as `loss_max`; of BY_LAYER the
    extreme of each layer alone, `entropy_min/layer_0`, with a third of the buckets.
    """
    columns = polars.col
    is_by_layer = columns("quantity").is_in(BY_LAYER.keys()) & (columns("layer") >= 0)
    layer = polars.when(is_by_layer).then("layer").otherwise(WHOLE_MODEL)
    buckets = polars.when(columns("layer") >= 0).then(max(1, num_buckets // 3)).otherwise(num_buckets)
    rows = (
        traces.lazy()
        .filter(~columns("quantity").is_in(TRACE_ONLY))
        .with_columns(columns("value").cast(polars.Float64), layer=layer)
        .group_by("trial_id", "quantity", "layer", "step")
        .agg(columns("value").mean())
        .filter(columns("value").is_finite())
        .with_columns(position=(columns("step") + 1).log() / (columns("step").max().over("trial_id") + 2).log())
        .with_columns(bucket=(columns("position") * buckets).floor())
        .sort("trial_id", "quantity", "layer", "step")
        .group_by("trial_id", "quantity", "layer", "bucket", maintain_order=True)
        .agg(
            columns("step").last(), last=columns("value").last(), max=columns("value").max(), min=columns("value").min()
        )
    )
    parts = [rows.filter(columns("layer") < 0).select("trial_id", "quantity", "step", value="last")]
    for name, side in (PEAKS | BY_LAYER).items():
        ending = polars.format("/layer_{}", "layer") if name in BY_LAYER else polars.lit("")
        peaks = rows.filter(quantity=name).with_columns(quantity=polars.lit(f"{name}_{side}") + ending)
        parts.append(peaks.select("trial_id", "quantity", "step", value=side))
    return polars.concat(parts).sort("trial_id", "quantity", "step").collect()
