"""What every attention method keeps to: METHOD_PROPERTIES, by what they say."""

from __future__ import annotations

import math

from bench.lazy import torch
from bench.methods.base import Method
from bench.optimizers.schedules import Constant
from bench.optimizers.sgd import SGD
from bench.testing.basics import METHOD_BASICS
from bench.testing.method_case import MethodCase
from bench.testing.padding import PADDING_PROPERTIES
from bench.testing.paths import PATH_PROPERTIES
from bench.testing.properties import Property, require
from bench.testing.rows import BOUNDS, ROW_PROPERTIES
from bench.testing.variants import ignored_parameters, untried_parameters
from bench.testing.weights import WEIGHT_PROPERTIES
from bench.training.lane import LaneProgram
from bench.workloads.in_context_regression import InContextRegression


def training_of(method: Method) -> list:
    """Parameters and loss after each of three steps of a small model."""
    workload = InContextRegression(num_pairs=12, batch_size=4, dimension=2, depth=2, initial_gain=0.5)
    program = LaneProgram(workload=workload, method=method, optimizer=SGD(), schedule=Constant())
    seed = torch.tensor(0)
    lane = program.start(seed, torch.tensor(1.0, dtype=torch.float64))
    start = {"lr": 0.01, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in start.items()}
    seen = []
    for step in range(3):
        batches = workload.batches(seed[None], torch.tensor([step]))
        batch = {name: tensor[0, 0].double() for name, tensor in batches.items()}
        lane, loss, _ = program.train(lane, batch, knobs, torch.tensor(step))
        require(lane["alive"], f"training of a small model diverged at step {step}, loss {loss.item():.3g}")
        seen.append((lane["params"], loss))
    return seen


def every_parameter_changes_training(case: MethodCase) -> str:
    """For each declared parameter some other value changes three steps of training."""
    ignored = ignored_parameters(case.method, training_of)
    require(not ignored, f"no other value of {', '.join(sorted(ignored))} changes training")
    untried = untried_parameters(case.method)
    return f"not tried: {', '.join(sorted(untried))}" if untried else "all that are declared"


def every_learned_tensor_moves(case: MethodCase) -> str:
    """Tensors of the method itself and of its linear layers: each gets a gradient."""
    seen = training_of(case.method)
    first, last = seen[0][0], seen[2][0]
    still = [name for name, tensor in first.items() if torch.equal(tensor, last[name])]
    require(not still, f"no gradient moves {', '.join(still)}")
    return f"{len(first)} tensors of a small model"


METHOD_PROPERTIES: dict[str, Property] = {
    **METHOD_BASICS,
    **ROW_PROPERTIES,
    **WEIGHT_PROPERTIES,
    **BOUNDS,
    **PATH_PROPERTIES,
    **PADDING_PROPERTIES,
    "every parameter changes training": Property(of="", check=every_parameter_changes_training),
    "every learned tensor moves": Property(of="init_params", check=every_learned_tensor_moves),
}
