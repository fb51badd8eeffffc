"""TRACE_COLUMNS and QUANTITIES: every traced quantity with its unit, range and definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.held_out import HELD_OUT

# One row a measured value. A whole-model quantity has layer -1. Values are names of Polars types.
# `step` is the number of updates before the measurement: 0 to num_steps - 1 for what a training step sees; held-out
# quantities have a cadence of their own and come last at num_steps.
TRACE_COLUMNS: dict[str, str] = {"step": "Int32", "quantity": "String", "layer": "Int16", "value": "Float32"}

WHOLE_MODEL = -1


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a trace's `quantity` means. `low` and `high` bound it; `high` may depend on the number of keys."""

    title: str
    unit: str
    low: float
    high: Callable[[int], float]  # of num_keys
    definition: str
    per_layer: bool = False


def _unbounded(num_keys: int) -> float:
    return math.inf


def _one(num_keys: int) -> float:
    return 1.0


QUANTITIES: dict[str, Quantity] = {
    "loss": Quantity(
        title="Loss",
        unit="workload's",
        low=0.0,
        high=_unbounded,
        definition="training loss of the step's batch, before the step's update",
    ),
    "grad_norm": Quantity(
        title="Gradient norm",
        unit="loss per weight",
        low=0.0,
        high=_unbounded,
        definition="2-norm of the gradient over all trained tensors, before clipping",
    ),
    **{
        name: Quantity(
            title=measure.title,
            unit=measure.unit,
            low=measure.low,
            high=_one if measure.high == 1 else _unbounded,
            definition=measure.definition,
        )
        for name, measure in HELD_OUT.items()
    },
    "entropy": Quantity(
        title="Attention entropy",
        unit="nats",
        low=0.0,
        high=math.log,
        definition="H = mean over rows of -sum_j P_ij log P_ij (Zhai et al. 2023), batch and heads averaged; of a "
        "method whose rows do not sum to 1, the entropy of the row divided by its sum",
        per_layer=True,
    ),
    "entropy_mean": Quantity(
        title="Attention entropy, mean over layers",
        unit="nats",
        low=0.0,
        high=math.log,
        definition="mean of `entropy` over layers",
    ),
    "entropy_std": Quantity(
        title="Attention entropy, standard deviation over layers",
        unit="nats",
        low=0.0,
        high=math.log,
        definition="population standard deviation of `entropy` over layers",
    ),
    "frobenius_norm": Quantity(
        title="||P||_F",
        unit="1",
        low=0.0,
        high=float,
        definition="Frobenius norm of the attention matrix, batch and heads averaged; where rows sum to 1 and all keys "
        "are allowed, 1 if every row is uniform and sqrt N if every row is one-hot (Hong & Lee 2025, Prop. 5.3)",
        per_layer=True,
    ),
    "row_mass": Quantity(
        title="Row mass",
        unit="1",
        low=0.0,
        high=float,
        definition="mean over rows of sum_j P_ij: 1 for every method whose rows sum to 1",
        per_layer=True,
    ),
    "logit_variance": Quantity(
        title="Attention logit variance",
        unit="1",
        low=0.0,
        high=_unbounded,
        definition="population variance of a row of logits Z over the allowed keys, mean over rows, batch and heads "
        "(Hong & Lee 2025, Def. 5.2)",
        per_layer=True,
    ),
    "max_logit": Quantity(
        title="Largest attention logit",
        unit="1",
        low=-math.inf,
        high=_unbounded,
        definition="largest logit Z over allowed keys, rows, batch and heads",
        per_layer=True,
    ),
}
