"""The data of a pack: those of some steps at a time, for all its seeds, and what is held out.

Shapes: S distinct seeds, T steps of a chunk, E batches of held-out data, M parts of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.training.tree import copy_tensors, map_tensors
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 16 * 2**20  # generated at a time
MAX_STEPS = 64  # between two looks at the clock


class Chunk:
    """Batches of `num_steps` steps, each of `tensors` (T, S, ...): written in place when another chunk is filled in."""

    def __init__(self, workload: Workload, seeds_S: Tensor, dtype: torch.dtype, *, num_steps: int) -> None:
        """num_steps: of the whole training."""
        self._workload, self._seeds_S, self._dtype = workload, seeds_S, dtype
        of_one_step = sum(tensor.numel() * tensor.element_size() for tensor in self._batches(0, 1).values())
        self.num_steps = max(1, min(MAX_STEPS, num_steps, MAX_BYTES // of_one_step))
        self.tensors = self._batches(0, self.num_steps)
        self._first_step = 0

    def fill(self, step: int) -> None:
        """Hold the chunk that a step lies in."""
        first_step = step // self.num_steps * self.num_steps
        if first_step != self._first_step:
            copy_tensors(self.tensors, self._batches(first_step, self.num_steps))
            self._first_step = first_step

    def end(self, step: int) -> int:
        """The first step after the chunk that a step lies in."""
        return (step // self.num_steps + 1) * self.num_steps

    def _batches(self, first_step: int, num_steps: int) -> dict[str, Tensor]:
        steps_T = torch.arange(first_step, first_step + num_steps, device=self._seeds_S.device)
        return cast(self._workload.batches(self._seeds_S, steps_T), self._dtype)


def held_out_parts(workload: Workload, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Held-out data, (E * M, ...) each: evaluations need no more memory than training, whose batches have M parts."""
    held_out = cast(workload.held_out(device), dtype)
    return {n: t.unflatten(1, (workload.num_micro_batches, -1)).flatten(0, 1) for n, t in held_out.items()}


def cast(batch: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """A batch whose floating tensors have a dtype."""
    return map_tensors(batch, lambda t: t.to(dtype) if t.is_floating_point() else t)
