"""What trained models generate of held-out data, and what is measured of it, once."""

from __future__ import annotations

from bench.lazy import torch
from bench.training.lane import Lane
from bench.training.lanes import Batch, StackedProgram
from bench.training.tree import tensors_of


def generated_measures(
    stacked: StackedProgram,
    lanes: Lane,
    held_out: Batch,
    batch: torch.Tensor,
    step: torch.Tensor,
    *,
    names: tuple[str, ...],
) -> torch.Tensor:
    """The workload's `generated_measures` of these names of every lane, (L, measures) in float64 on the CPU.

    batch: a counter, overwritten with the number of each held-out batch in turn.
    """
    workload, made = stacked.program.workload, []
    with torch.no_grad():
        for number in range(len(tensors_of(held_out)[0])):
            batch.fill_(number)
            made.append(stacked.generate(lanes, held_out, batch, step).cpu())
    by_lane = [workload.generated_measures(of_lane_EB) for of_lane_EB in torch.stack(made, dim=1)]
    return torch.tensor([[measured[name] for name in names] for measured in by_lane], dtype=torch.float64)
