"""Steps of a workload's model under softmax and SGD, on its own data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Cosine
from bench.optimizers.sgd import SGD
from bench.probes import build_probes
from bench.testing.properties import require
from bench.training.lane import Lane, LaneProgram
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]


def program_of(workload: Workload) -> LaneProgram:
    """The workload under softmax, SGD and a cosine."""
    return LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Cosine())


def started(workload: Workload, dtype: torch.dtype | None = None) -> Lane:
    """A lane of seed 0 before its first step, in float64 unless given."""
    one = torch.tensor(1.0, dtype=dtype or torch.float64)
    return program_of(workload).start(torch.tensor(0), one)


def batch_at(workload: Workload, step: int, dtype: torch.dtype | None = None) -> Batch:
    """The batch of seed 0 at a step, in float64 unless given."""
    batches = workload.batches(torch.tensor([0]), torch.tensor([step]))
    return _cast({name: tensor[0, 0] for name, tensor in batches.items()}, dtype)


def held_out_of(workload: Workload, dtype: torch.dtype | None = None) -> list[Batch]:
    """All batches of held-out data, in float64 unless given."""
    held_out = _cast(workload.held_out(torch.device("cpu")), dtype)
    num_batches = {len(tensor) for tensor in held_out.values()} or {0}
    require(len(num_batches) == 1, f"tensors of held-out data have {num_batches} batches, required as many each")
    return [{name: tensor[e] for name, tensor in held_out.items()} for e in range(num_batches.pop())]


def training_of(workload: Workload) -> list:
    """What three steps see and leave behind, then measures on held-out data, and what is generated of them where that
    is measured; in float32, which autocast acts on."""
    program, lane = program_of(workload), started(workload, torch.float32)
    start = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf}
    knobs = {name: torch.tensor(value) for name, value in start.items()}
    seen: list[Any] = [workload.eval_every]
    for step in range(3):
        batch, now = batch_at(workload, step, torch.float32), torch.tensor(step)
        observed = program.observe(lane, batch, now, probes=build_probes(None))
        lane, loss, _ = program.train(lane, batch, knobs, now)
        require(lane["alive"], f"diverged at step {step} of training with SGD at 0.1, loss {loss.item():.3g}")
        seen.append((lane["params"], loss, observed))
    held_out, now = held_out_of(workload, torch.float32), torch.tensor(3)
    generated = [program.generate(lane, batch, now) for batch in held_out if workload.at_end]
    return [*seen, *(program.evaluate(lane, batch, now) for batch in held_out), generated]


def _cast(batch: Batch, dtype: torch.dtype | None) -> Batch:
    kind = dtype or torch.float64
    return {name: t.to(kind) if t.is_floating_point() else t for name, t in batch.items()}
