"""What a step of one model costs: parameters, and floating-point operations of its matrix products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import Method
from bench.optimizers.base import Tensors
from bench.training.lane import LaneProgram
from bench.training.tree import map_tensors
from bench.trial import Trial
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

MAX_COMPUTED = 2e11  # operations of one example: what takes longer is counted on tensors without values
MAX_DRAWN = 2**20  # weights of a model that is made to be counted


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """num_parameters: trained numbers of a model. step_flops: of forward and backward pass over the batch of a step.

    Multiplications and additions of matrix products, 2 for each pair, as FlopCounterMode counts them; attention is
    counted dense, as the reference computes it, and neither the optimizer nor what is observed counts.
    """

    num_parameters: int
    step_flops: float


def step_cost(trial: Trial) -> StepCost:
    """The cost of a trial's step: that of a batch of one and of two examples, extended to the whole batch.

    Where examples are compared with each other that of three as well: their pairs grow as the square.
    """
    program, zero = LaneProgram.of(trial, is_reference=True), torch.zeros((), dtype=torch.int64)
    batches = program.workload.batches(zero[None], zero[None])
    batch = {name: tensor[0, 0] for name, tensor in batches.items()}
    num_examples, size = len(next(iter(batch.values()))), num_parameters(program.workload, program.method)
    is_computed = 6 * size * program.workload.num_keys < MAX_COMPUTED
    counts = (1, 2, 3) if program.workload.couples_examples else (1, 2)
    one, *more = (
        _flops(program, {name: x[: min(count, num_examples)] for name, x in batch.items()}, is_computed=is_computed)
        for count in counts
    )
    steps = num_examples - 1  # Newton's formula for a polynomial of which the first values are known
    whole = one + steps * (more[0] - one)
    if len(more) > 1:
        whole += steps * (steps - 1) // 2 * (more[1] - 2 * more[0] + one)
    return StepCost(num_parameters=size, step_flops=float(whole))


def num_parameters(workload: Workload, method: Method) -> int:
    """Trained numbers of a model; of a large one nothing is allocated."""
    try:
        return _count(workload, method, device="cpu")
    except _LargeError:
        return _count(workload, method, device="meta")  # which imports Dynamo: seconds


def _count(workload: Workload, method: Method, *, device: str) -> int:
    num_drawn = 0

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        nonlocal num_drawn
        num_drawn += math.prod(shape)
        if device == "cpu" and num_drawn > MAX_DRAWN:
            raise _LargeError
        return torch.zeros(shape, device=device)

    params, _ = workload.init(method, draw, torch.ones((), device=device))
    return sum(p.numel() for p in params.values())


class _LargeError(Exception):
    """More weights than are worth being made to be counted."""


def _flops(program: LaneProgram, batch: Tensors, *, is_computed: bool) -> int:
    """Floating-point operations of the gradients of a batch; counted without any computing unless `is_computed`."""
    start = (batch, torch.zeros((), dtype=torch.int64), torch.ones(()))
    if is_computed:
        return _counted(program, *start)
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        return _counted(program, *map_tensors(start, fake.from_tensor))


def _counted(program: LaneProgram, batch: Tensors, zero: Tensor, one: Tensor) -> int:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):
        """What FlopCounterMode counts, which imports Dynamo: 2 to 4 s of every run."""

        flops = 0

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            count = flop_registry.get(func._overloadpacket)
            self.flops += count(*args, **(kwargs or {}), out_val=out) if count else 0
            return out

    lane = program.start(zero, one)
    with Counter() as counter:
        program.gradients(lane, batch, zero, zero)
    return counter.flops
