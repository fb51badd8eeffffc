"""What a step of one model costs: parameters, and floating-point operations of its matrix products."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.optimizers.base import Tensors
from bench.training.lane import LaneProgram
from bench.training.tree import map_tensors
from bench.trial import Trial

if TYPE_CHECKING:
    from torch import Tensor

MAX_COMPUTED = 2e11  # operations of one example: what takes longer is counted on tensors without values


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """num_parameters: trained numbers of a model. step_flops: of forward and backward pass over the batch of a step.

    Multiplications and additions of matrix products, 2 for each pair, as FlopCounterMode counts them; attention is
    counted dense, as the reference computes it, and neither the optimizer nor what is observed counts.
    """

    num_parameters: int
    step_flops: float


def step_cost(trial: Trial) -> StepCost:
    """The cost of a trial's step: that of a batch of one and of two examples, extended to the whole batch."""
    program, zero = LaneProgram.of(trial, is_reference=True), torch.zeros((), dtype=torch.int64)
    batches = program.workload.batches(zero[None], zero[None])
    batch = {name: tensor[0, 0] for name, tensor in batches.items()}
    num_examples, num_parameters = len(next(iter(batch.values()))), _num_parameters(program)
    is_computed = 6 * num_parameters * program.workload.num_keys < MAX_COMPUTED
    one, two = (
        _flops(program, {name: x[:count] for name, x in batch.items()}, is_computed=is_computed)
        for count in (1, min(2, num_examples))
    )
    return StepCost(num_parameters=num_parameters, step_flops=float(one + (num_examples - 1) * (two - one)))


def _num_parameters(program: LaneProgram) -> int:
    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, device="meta")

    params, _ = program.workload.init(program.method, draw, torch.ones((), device="meta"))
    return sum(p.numel() for p in params.values())


def _flops(program: LaneProgram, batch: Tensors, *, is_computed: bool) -> int:
    """Of the gradients of a batch; counted without any computing unless `is_computed`."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    fake = FakeTensorMode(allow_non_fake_inputs=True)
    start = (batch, torch.zeros((), dtype=torch.int64), torch.ones(()))
    with contextlib.nullcontext() if is_computed else fake:
        batch, zero, one = start if is_computed else map_tensors(start, fake.from_tensor)
        lane = program.start(zero, one)
        with FlopCounterMode(display=False) as counter:
            program.gradients(lane, batch, zero, zero)
    return counter.get_total_flops()
