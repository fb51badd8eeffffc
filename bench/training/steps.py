"""Steps: updates of all lanes of a pack, by the fused program where it can be had, else by compiled calls.

Shapes: L lanes of a pack, C of them that are computed, S distinct seeds, T steps of a chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.training.calls import Call, Calls
from bench.training.chunk import MAX_STEPS, Chunk
from bench.training.compile import new_pool
from bench.training.fused.trainer import FusedError, FusedTrainer, fused_trainer, knows
from bench.training.history import History
from bench.training.inductor import Inductor
from bench.training.lane import LaneProgram
from bench.training.lanes import Batch
from bench.training.living import Living

if TYPE_CHECKING:
    from torch import Tensor


class Steps:
    """Trains the lanes of `living` in place and writes into `history`; `data` are those of the steps at hand.

    counters: as Calls has them; `step` is that of the coming step. held_out: what evaluations read.
    """

    def __init__(
        self,
        program: LaneProgram,
        living: Living,
        history: History,
        counters: Batch,
        held_out: Batch,
        inductor: Inductor,
        *,
        dtype: torch.dtype,
        num_steps: int,
        may_be_fused: bool,
    ) -> None:
        self._program, self._living, self._history = program, living, history
        self._counters, self._held_out, self._inductor = counters, held_out, inductor
        self._device, self._dtype, self._num_steps = counters["step"].device, dtype, num_steps
        self._may_be_fused = may_be_fused and knows(program, self._device, dtype)
        self._fused: FusedTrainer | None = None
        # The fused program makes its own data: here are those of the steps that are observed.
        self.data = self._chunk_of(1 if self._may_be_fused else num_steps)
        self.fixed = {name: tensor[0].clone() for name, tensor in self.data.tensors.items()}  # the batches of step 0

    @property
    def is_fused(self) -> bool:
        """Whether the program of bench.training.fused computes the steps; decided by `compile`."""
        return self._fused is not None

    def compile(self) -> Calls:
        """Make what updates the lanes that are computed now, `once` where they are not fused; calls for all else."""
        if self._may_be_fused:
            self._fuse()
        calls = self.calls()
        if not self.is_fused:
            self.once: Call = calls.step()
        return calls

    def train(self, first_step: int, num_steps: int) -> None:
        """So many steps by the fused program, from the first on."""
        assert self._fused is not None
        lanes, knobs, places_C = self._living.lanes, self._living.knobs, self._living.places_C
        self._fused.train(lanes, knobs, self._history.tensors, places_C, first_step=first_step, num_steps=num_steps)
        self._counters["step"].fill_(first_step + num_steps)

    def initial_loss(self, calls: Calls, *, num_batches: int) -> Tensor:
        """Mean loss, (L,), of lanes as they are over the batches of the first steps."""
        if self._fused is None:
            return calls.initial_loss(self.data.fill, num_batches=num_batches)
        loss_TC = self._fused.losses(self._living.lanes, self._living.knobs, num_steps=num_batches)
        return self._living.placed(loss_TC.double().mean(dim=0))

    def end_of_round(self, step: int) -> int:
        """The step before which the clock is read again."""
        return (step // MAX_STEPS + 1) * MAX_STEPS if self.is_fused else self.data.end(step)

    def calls(self) -> Calls:
        """Calls of the lanes that are computed now."""
        return Calls(
            device=self._device,
            living=self._living,
            history=self._history,
            chunk=self.data.tensors,
            fixed=self.fixed,
            held_out=self._held_out,
            counters=self._counters,
            inductor=self._inductor,
            pool=new_pool(self._device),
            num_steps=self._num_steps,
            num_parts=self._program.workload.num_micro_batches,
        )

    def _fuse(self) -> None:
        """Have the fused program train; where it can't be had, go on without it and say so."""
        try:
            self._fused = fused_trainer(self._program, self._device, self._dtype)
        except FusedError as error:
            self._inductor.gave_up("training steps", by="the fused program", error=error)
            self._may_be_fused = False
            self.data = self._chunk_of(self._num_steps)

    def _chunk_of(self, num_steps: int) -> Chunk:
        return Chunk(self._program.workload, self._living.stacked.seeds_S, self._dtype, num_steps=num_steps)
