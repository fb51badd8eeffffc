"""TRACE_COLUMNS, and what a quantity is; TRAINING_QUANTITIES: those that every trial traces."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.held_out import COMPUTED, HELD_OUT

# One row a measured value. A whole-model quantity has layer -1. Values are names of Polars types.
# `step` is the number of updates before the measurement: 0 to num_steps - 1 for what a training step sees; held-out
# quantities have a cadence of their own and come last at num_steps.
TRACE_COLUMNS: dict[str, str] = {"step": "Int32", "quantity": "String", "layer": "Int16", "value": "Float32"}

WHOLE_MODEL = -1

Merge = Literal["mean", "sum", "max", "min"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a trace's `quantity` means. `low` and `high` bound it; `high` may depend on the number of keys.

    merge: how a layer's value follows from those of equal parts of its batch; merge_heads: from those of equal parts
    of its heads, None if likewise. over_layers: of a quantity of the whole model, the per-layer quantity that it sums
    up, and whether as its mean or its standard deviation.
    """

    title: str
    unit: str
    low: float
    high: Callable[[int], float]  # of num_keys
    definition: str
    per_layer: bool = False
    merge: Merge = "mean"
    merge_heads: Merge | None = None
    over_layers: tuple[str, Literal["mean", "std"]] | None = None


def unbounded(num_keys: int) -> float:
    """The `high` of a quantity that may be any number."""
    return math.inf


def at_most_one(num_keys: int) -> float:
    """The `high` of a share."""
    return 1.0


TRAINING_QUANTITIES: dict[str, Quantity] = {
    "loss": Quantity(
        title="Loss",
        unit="workload's",
        low=0.0,
        high=unbounded,
        definition="training loss of the step's batch, before the step's update",
    ),
    "grad_norm": Quantity(
        title="Gradient norm",
        unit="loss per weight",
        low=0.0,
        high=unbounded,
        definition="2-norm of the gradient over all trained tensors, before clipping",
    ),
    **{
        name: Quantity(
            title=measure.title,
            unit=measure.unit,
            low=measure.low,
            high=at_most_one if measure.high == 1 else unbounded,
            definition=measure.definition,
        )
        for name, measure in HELD_OUT.items()
        if name in COMPUTED
    },
}
