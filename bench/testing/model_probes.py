"""What every probe of the model keeps to: MODEL_PROBE_PROPERTIES, by what they say.

Tried on lanes of in-context regression of two layers with learned gains, after two steps of Adam. Shapes: L lanes.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.qk_layernorm import QKLayerNormFree
from bench.optimizers.adam import Adam
from bench.optimizers.schedules import Constant
from bench.probes.base import measured_by
from bench.probes.model import Model, ModelProbe, stacked
from bench.testing.basics import probe_basics
from bench.testing.probes import quantities_are_declared_whole
from bench.testing.properties import Property, require, require_close
from bench.testing.properties import stacked as stacked_trees
from bench.testing.workload_steps import batch_at
from bench.training.lane import LaneProgram
from bench.training.lanes import Batch
from bench.training.model_view import model_of
from bench.training.tree import map_tensors
from bench.workloads.in_context_regression import InContextRegression

if TYPE_CHECKING:
    from torch import Tensor

WORKLOAD = InContextRegression(depth=2, num_pairs=5, dimension=2, batch_size=4, num_steps=10)
NUM_LANES, NUM_STEPS = 2, 2


def measures_what_is_declared_within_bounds(probe: ModelProbe) -> str:
    """A scalar for each quantity of the whole model, one value a layer for the others; NaN for what there is not."""
    lanes = _lanes()
    model = _model(lanes, 0)
    measured, declared = probe.measure_model(model), measured_by([probe])
    for name, quantity in declared.items():
        value = measured[name]
        shapes = ((), (WORKLOAD.num_layers,)) if quantity.per_layer else ((),)
        require(value.shape in shapes, f"{name} has shape {tuple(value.shape)}, required {shapes[-1]}")
        high = quantity.high(WORKLOAD.num_keys)
        is_within = ((value >= quantity.low) & (value <= high)) | value.isnan()
        require(bool(is_within.all()), f"{name} is {value.tolist()}, not in [{quantity.low}, {high}]")
    known = [name for name, value in measured.items() if not value.isnan().all()]
    require(bool(known), "measures nothing of a model with gains, trained by Adam")
    return f"{len(known)} of {len(measured)} quantities"


def lanes_equal_a_loop(probe: ModelProbe) -> str:
    """To rounding: a probe is batched over the lanes of a pack."""
    lanes = _lanes()

    def of(lane: Batch) -> Tensor:
        model = _model_of(lane)
        return stacked([probe], probe.measure_model(model), model)

    alone = [_nan_as_zero(of(map_tensors(lanes, lambda t, at=at: t[at]))) for at in range(NUM_LANES)]
    together = _nan_as_zero(torch.func.vmap(of)(lanes))
    return require_close(together, torch.stack(alone), "lanes together and one by one", rtol=1e-6, atol=1e-9)


MODEL_PROBE_PROPERTIES: dict[str, Property] = {
    **probe_basics("measure_model", lambda probe: probe.measure_model(_model(_lanes(), 0))),
    "quantities are declared whole": Property(of="quantities", check=quantities_are_declared_whole, is_sampled=True),
    "what is declared is measured, within bounds": Property(
        of="measure_model", check=measures_what_is_declared_within_bounds, is_sampled=True
    ),
    "lanes equal a loop": Property(of="measure_model", check=lanes_equal_a_loop),
}


@functools.cache
def _program() -> LaneProgram:
    return LaneProgram(workload=WORKLOAD, method=QKLayerNormFree(), optimizer=Adam(), schedule=Constant())


def _knobs() -> Batch:
    start = {"lr": 0.05, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in start.items()}


@functools.cache
def _lanes() -> Batch:
    """Lanes of one seed each after NUM_STEPS steps, (L, ...) each."""
    program, lanes = _program(), []
    for seed in range(NUM_LANES):
        lane = program.start(torch.tensor(seed), torch.tensor(1.0, dtype=torch.float64))
        for step in range(NUM_STEPS):
            lane, _, _ = program.train(lane, batch_at(WORKLOAD, step), _knobs(), torch.tensor(step))
        lanes.append(lane)
    return stacked_trees(lanes)


def _model(lanes: Batch, at: int) -> Model:
    return _model_of(map_tensors(lanes, lambda t: t[at]))


def _model_of(lane: Batch) -> Model:
    step = torch.tensor(NUM_STEPS)
    now, fixed = batch_at(WORKLOAD, NUM_STEPS), batch_at(WORKLOAD, 0)
    return model_of(_program(), lane, now, fixed, _knobs(), step)  # pyright: ignore[reportArgumentType]


def _nan_as_zero(values: Tensor) -> Tensor:
    return values.nan_to_num(nan=0.0)
