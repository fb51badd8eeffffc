"""The program of a pack's lanes over all of them at once: vmap of what bench.training.lane says of one.

Shapes: L lanes, S distinct seeds, T steps of a chunk, E batches of held-out data, M parts of a batch. A chunk holds the
batches of T steps, (T, S, ...): each lane's are those of its seed. Steps and parts come as tensors of one number, so
that a compiled call serves all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.probes.base import Probe
from bench.training.lane import LaneProgram
from bench.training.tree import map_tensors

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class StackedProgram:
    """seed_index_L: which of a chunk's S seeds a lane has. num_parts: M, into which each batch is divided."""

    program: LaneProgram
    seed_index_L: Tensor
    num_parts: int

    def start(self, seeds_L: Tensor, init_scale_L: Tensor, constants: dict[str, Tensor]) -> dict[str, Any]:
        """Lanes, (L, ...) each; constants: those of the optimizer in which lanes differ, (L,) each."""
        return self._over_lanes(self.program.start, (0, 0, 0 if constants else None))(seeds_L, init_scale_L, constants)

    def train(self, lanes: dict, chunk: Batch, knobs: dict, step: Tensor) -> Any:
        train = self._over_lanes(self.program.train, (0, 0, 0, None))
        return train(lanes, self.batch(chunk, step), knobs, step[0])

    def gradients(self, lanes: dict, chunk: Batch, step: Tensor, part: Tensor) -> Any:
        gradients = self._over_lanes(self.program.gradients, (0, 0, None, None))
        return gradients(lanes, self._part(chunk, step, part), step[0], part[0])

    def update(self, lanes: dict, seen: dict, knobs: dict, step: Tensor) -> Any:
        return self._over_lanes(self.program.update, (0, 0, 0, None))(lanes, seen, knobs, step[0])

    def observe(self, lanes: dict, chunk: Batch, step: Tensor, *, probes: tuple[Probe, ...]) -> Any:
        observe = self._over_lanes(functools.partial(self.program.observe, probes=probes), (0, 0, None))
        return observe(lanes, self.batch(chunk, step), step[0])

    def evaluate(self, lanes: dict, chunk: Batch, step: Tensor, part: Tensor) -> Any:
        return self._over_lanes(self.program.evaluate, (0, 0, None))(lanes, self._part(chunk, step, part), step[0])

    def evaluate_held_out(self, lanes: dict, held_out: Batch, batch: Tensor, step: Tensor) -> Any:
        """held_out: (E * M, ...) each; batch: which of them."""
        one_batch = {name: t.index_select(0, batch)[0] for name, t in held_out.items()}
        return self._over_lanes(self.program.evaluate, (0, None, None))(lanes, one_batch, step[0])

    def look(self, lanes: dict, chunk: Batch, step: Tensor) -> Any:
        return self._over_lanes(self.program.look, (0, 0, None))(lanes, self.batch(chunk, step), step[0])

    def batch(self, chunk: Batch, step: Tensor) -> Batch:
        """Of each lane the batch of a step, (L, ...) each."""
        offset = step % next(iter(chunk.values())).shape[0]
        return {name: t.index_select(0, offset)[0].index_select(0, self.seed_index_L) for name, t in chunk.items()}

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
