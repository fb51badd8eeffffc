"""The program of a pack's lanes over all of them at once: vmap of what bench.training.lane says of one.

Shapes: L lanes, S distinct seeds, T steps of a chunk, E batches of held-out data, M parts of a batch. A chunk holds the
batches of T steps, (T, S, ...): each lane's are those of its seed. Steps and parts come as tensors of one number, so
that a compiled call serves all of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.probes.base import Probe
from bench.probes.model import IteratedProbe, Model, ModelProbe, stacked
from bench.training.chunk import cast
from bench.training.interventions import lane_plans
from bench.training.lane import Gradients, Lane, LaneProgram
from bench.training.model_view import model_of
from bench.training.pack import Pack
from bench.training.tree import map_tensors, tensors_of
from bench.trial import KNOB_NAMES

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]


def knob_tensors(pack: Pack, dtype: torch.dtype, device: torch.device) -> Batch:
    """The lane knobs by name, (L,) each."""
    return {name: torch.tensor(pack.knob_lanes(name), dtype=dtype, device=device) for name in KNOB_NAMES}


def freeze_non_finite(lanes: Lane, step: int) -> None:
    """Lanes whose params are not finite after the update of this step, the last, have diverged at it; in place.

    After any other update the loss of the next step tells.
    """
    finite = [leaf.isfinite().reshape(len(leaf), -1).all(dim=1) for leaf in tensors_of(lanes["params"])]
    finite_L = torch.stack(finite).all(dim=0)
    lanes["diverged_step"].masked_fill_(lanes["alive"] & ~finite_L, step)
    lanes["alive"].logical_and_(finite_L)


@dataclass(frozen=True, kw_only=True)
class StackedProgram:
    """seed_index_L: which of a chunk's S seeds a lane has. num_parts: M, into which each batch is divided."""

    program: LaneProgram
    seeds_S: Tensor
    seed_index_L: Tensor
    num_parts: int

    @classmethod
    def of(cls, program: LaneProgram, pack: Pack, device: torch.device) -> StackedProgram:
        """The program of a pack's lanes, on a device."""
        seeds = sorted({trial.seed for trial in pack.trials})
        return cls(
            program=program,
            seeds_S=torch.tensor(seeds, device=device),
            seed_index_L=torch.tensor([seeds.index(trial.seed) for trial in pack.trials], device=device),
            num_parts=program.workload.num_micro_batches,
        )

    def only(self, places_C: Tensor) -> StackedProgram:
        """The program of some of these lanes, (C,) by their places."""
        return dataclasses.replace(self, seed_index_L=self.seed_index_L[places_C])

    def start(self, pack: Pack, init_scale_L: Tensor) -> Lane:
        """Lanes before their first step, (L, ...) each, in the dtype of their initial scales."""
        # Of float64: an optimizer's 1 - beta2 is off by 1e-5 of itself in float32.
        constants = {
            name: torch.tensor(values, dtype=torch.float64, device=init_scale_L.device)
            for name, values in pack.constant_lanes().items()
        }
        plans = lane_plans(pack, self.program.interventions, self.program.workload, init_scale_L.device)
        batch = self._first_batch(init_scale_L.dtype) if self.program.workload.adapts else None
        optional = [each or None for each in (constants, plans, batch)]
        start = self._over_lanes(self.program.start, (0, 0, *(None if each is None else 0 for each in optional)))
        lanes = start(self.seeds_S[self.seed_index_L], init_scale_L, *optional)
        # Clones: tensors that do not depend on the lane come out of vmap as views of one value.
        return map_tensors(lanes, lambda t: t.contiguous().clone())

    def _first_batch(self, dtype: torch.dtype) -> Batch:
        """The batches of step 0, (L, ...) each, or the first of their parts."""
        step = torch.zeros(1, dtype=torch.int64, device=self.seeds_S.device)
        return self._part(cast(self.program.workload.batches(self.seeds_S, step), dtype), step, step)

    def train(self, lanes: Lane, chunk: Batch, knobs: Batch, step: Tensor) -> tuple[Lane, Tensor, Tensor]:
        train = self._over_lanes(self.program.train, (0, 0, 0, None))
        return train(lanes, self.batch(chunk, step), knobs, step[0])

    def gradients(self, lanes: Lane, chunk: Batch, step: Tensor, part: Tensor) -> Gradients:
        gradients = self._over_lanes(self.program.gradients, (0, 0, None, None))
        return gradients(lanes, self._part(chunk, step, part), step[0], part[0])

    def update(self, lanes: Lane, gradients: Gradients, knobs: Batch, step: Tensor) -> tuple[Lane, Tensor, Tensor]:
        return self._over_lanes(self.program.update, (0, 0, 0, None))(lanes, gradients, knobs, step[0])

    def observe(self, lanes: Lane, chunk: Batch, step: Tensor, *, probes: tuple[Probe, ...]) -> Any:
        observe = self._over_lanes(functools.partial(self.program.observe, probes=probes), (0, 0, None))
        return observe(lanes, self.batch(chunk, step), step[0])

    def measure(
        self, lanes: Lane, chunk: Batch, fixed: Batch, knobs: Batch, step: Tensor, *, probes: tuple[ModelProbe, ...]
    ) -> Tensor:
        """What probes measure of each model before a step, (L, quantities, layers). fixed: as `fixed_batch` has it."""

        def of_model(model: Model) -> Tensor:
            measured = {name: value for probe in probes for name, value in probe.measure_model(model).items()}
            return stacked(probes, measured, model)

        return self._of_models(of_model, lanes, chunk, fixed, knobs, step)

    def begin(
        self, lanes: Lane, chunk: Batch, fixed: Batch, knobs: Batch, step: Tensor, *, probe: IteratedProbe
    ) -> Batch:
        """What a probe carries from iteration to iteration, (L, ...) each."""
        return self._of_models(probe.begin, lanes, chunk, fixed, knobs, step)

    def iterate(
        self,
        lanes: Lane,
        chunk: Batch,
        fixed: Batch,
        knobs: Batch,
        step: Tensor,
        carried: Batch,
        index: Tensor,
        *,
        probe: IteratedProbe,
    ) -> Batch:
        def of_model(model: Model, own: Batch) -> Batch:
            return probe.iterate(model, own, index[0])

        return self._of_models(of_model, lanes, chunk, fixed, knobs, step, carried)

    def end(
        self,
        lanes: Lane,
        chunk: Batch,
        fixed: Batch,
        knobs: Batch,
        step: Tensor,
        carried: Batch,
        *,
        probe: IteratedProbe,
    ) -> Tensor:
        """As `measure`."""

        def of_model(model: Model, own: Batch) -> Tensor:
            return stacked([probe], probe.end(model, own), model)

        return self._of_models(of_model, lanes, chunk, fixed, knobs, step, carried)

    def loss(self, lanes: Lane, chunk: Batch, step: Tensor, part: Tensor) -> Tensor:
        loss = self._over_lanes(self.program.loss, (0, 0, None, None))
        return loss(lanes, self._part(chunk, step, part), step[0], part[0])

    def evaluate_held_out(self, lanes: Lane, held_out: Batch, batch: Tensor, step: Tensor) -> Any:
        """held_out: (E * M, ...) each; batch: which of them."""
        return self._over_lanes(self.program.evaluate, (0, None, None))(lanes, _one_of(held_out, batch), step[0])

    def generate(self, lanes: Lane, held_out: Batch, batch: Tensor, step: Tensor) -> Tensor:
        """What each model makes of one of the held-out batches, (L, B, ...); arguments as of evaluate_held_out."""
        return self._over_lanes(self.program.generate, (0, None, None))(lanes, _one_of(held_out, batch), step[0])

    def look(self, lanes: Lane, chunk: Batch, step: Tensor) -> Any:
        return self._over_lanes(self.program.look, (0, 0, None))(lanes, self.batch(chunk, step), step[0])

    def batch(self, chunk: Batch, step: Tensor) -> Batch:
        """The batches that the lanes have at a step, (L, ...) each."""
        offset = step % next(iter(chunk.values())).shape[0]
        return {name: t.index_select(0, offset)[0].index_select(0, self.seed_index_L) for name, t in chunk.items()}

    def _of_models(
        self,
        function: Callable[..., Any],
        lanes: Lane,
        chunk: Batch,
        fixed: Batch,
        knobs: Batch,
        step: Tensor,
        *carried: Batch,
    ) -> Any:
        """A function of each lane's model, and of what is carried for it."""
        own_fixed = {name: t.index_select(0, self.seed_index_L) for name, t in fixed.items()}

        def of_lane(lane: Lane, batch: Batch, fixed_batch: Batch, lane_knobs: Batch, at: Tensor, *own: Batch) -> Any:
            return function(model_of(self.program, lane, batch, fixed_batch, lane_knobs, at), *own)

        over = self._over_lanes(of_lane, (0, 0, 0, 0, None, *(0 for _ in carried)))
        return over(lanes, self.batch(chunk, step), own_fixed, knobs, step[0], *carried)

    def _part(self, chunk: Batch, step: Tensor, part: Tensor) -> Batch:
        batch = self.batch(chunk, step)
        if self.num_parts == 1:
            return batch
        return {n: t.unflatten(1, (self.num_parts, -1)).index_select(1, part)[:, 0] for n, t in batch.items()}

    def _over_lanes(self, function: Callable[..., Any], in_dims: tuple[int | None, ...]) -> Callable[..., Any]:
        """vmap over lanes; one lane needs none, and its matrix products are plain ones."""
        if self.seed_index_L.shape[0] > 1:
            return torch.func.vmap(function, in_dims=in_dims)

        def alone(*arguments: Any) -> Any:
            pairs = zip(arguments, in_dims, strict=True)
            own = [argument if dim is None else map_tensors(argument, lambda t: t[0]) for argument, dim in pairs]
            return map_tensors(function(*own), lambda t: t[None])

        return alone


def _one_of(held_out: Batch, batch: Tensor) -> Batch:
    return {name: t.index_select(0, batch)[0] for name, t in held_out.items()}
