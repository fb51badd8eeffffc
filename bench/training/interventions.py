"""Interventions in a pack: each lane's own as tensors, so that a trial and its untouched twin are lanes of one program.

Shapes: L lanes, A layers of attention, H heads. A lane's are in its buffers, by names that start with PREFIX; what a
layer's attention reads of them is in the layer's state, by names that start with IN_STATE.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.entry import build, load_class
from bench.interventions import INTERVENTIONS
from bench.interventions.base import Intervention, OnAttention, OnUpdates
from bench.lazy import torch
from bench.methods import METHODS
from bench.methods.base import Method, State
from bench.models.attention import METHOD
from bench.optimizers.layers import Layer, is_stacked
from bench.randomness import normal
from bench.training.pack import Pack

if TYPE_CHECKING:
    from torch import Tensor

    from bench.workloads.base import Workload

Tensors = dict[str, "Tensor"]
PREFIX = "interventions."
IN_STATE = "intervention."
NEVER = 2**62  # a step that no run has


def kinds_of(pack: Pack) -> tuple[Intervention, ...]:
    """One intervention of each class and variant that the pack's lanes have, in one order."""
    by_kind = {_kind(one): one for one in _by_lane(pack) if one is not None}
    return tuple(by_kind[kind] for kind in sorted(by_kind))


def lane_plans(pack: Pack, kinds: Sequence[Intervention], workload: Workload, device: torch.device) -> Tensors:
    """When, where and how strongly each kind acts on each lane, (L, ...) each; on a lane of another, never."""
    by_lane, plans = _by_lane(pack), {}
    heads = workload.attention[0]
    for index, kind in enumerate(kinds):
        own = [one if one is not None and _kind(one) == _kind(kind) else None for one in by_lane]
        columns: dict[str, list[Any]] = {
            "from_step": [NEVER if one is None else one.from_step for one in own],
            "end_step": [0 if one is None else _end(one) for one in own],
            "strength": [float(getattr(one, one.strength)) if one and one.strength else 1.0 for one in own],
            "on_AH": [_places(one, workload.num_layers, heads.num_heads) for one in own],
        }
        plans |= {f"{PREFIX}{index}.{name}": torch.tensor(column, device=device) for name, column in columns.items()}
    return plans


def in_layers(kinds: Sequence[Intervention], buffers: Tensors, step: Tensor, layers: Sequence[Layer]) -> Tensors:
    """Of one lane at a step: the strength of each kind on each head, (H,), in the state of every layer."""
    plans = {}
    for index, kind in enumerate(kinds):
        if isinstance(kind, OnAttention):
            on_AH = _plan(buffers, index, "on_AH") & _acts(buffers, index, step)
            strength = _plan(buffers, index, "strength")
            strength_AH = torch.where(on_AH, strength, torch.full_like(strength, kind.neutral))
            for place, layer in enumerate(layers):
                plans[f"{layer.prefix}{METHOD}{IN_STATE}{index}"] = strength_AH[place]
    return plans


def intervened(method: Method, kinds: tuple[Intervention, ...]) -> Method:
    """The method with what `kinds` do to logits and weights; the method itself where none does anything to them."""
    acting = tuple((index, kind) for index, kind in enumerate(kinds) if isinstance(kind, OnAttention))
    if not acting:
        return method
    values = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return _intervened_class(type(method), acting)(**values)


@functools.cache
def _intervened_class(base: type[Method], acting: tuple[tuple[int, OnAttention], ...]) -> type[Method]:
    """A subclass with logits and weights of its own, so that no fast path of the base's stands for them."""
    others = {kind: load_class(METHODS[kind.rows_of])() for _, kind in acting if kind.rows_of}

    class Intervened(base):
        def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
            z_BHQK = super().logits(q_BHQD, k_BHKD, mask_B1QK, state)
            for index, kind in acting:
                z_BHQK = kind.logits(z_BHQK, _of_tokens(mask_B1QK, state), _of_state(state, index, z_BHQK))
            return z_BHQK

        def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
            p_BHQK = super().weights(q_BHQD, k_BHKD, mask_B1QK, state)
            for index, kind in acting:
                strength_H11 = _of_state(state, index, p_BHQK)
                if kind in others:
                    other_BHQK = others[kind].weights(q_BHQD, k_BHKD, mask_B1QK, state)
                    p_BHQK = torch.where(strength_H11 > 0, other_BHQK, p_BHQK)
                p_BHQK = kind.weights(p_BHQK, mask_B1QK, strength_H11)
            return p_BHQK

    Intervened.__name__ = base.__name__
    return Intervened


def intervened_lr(kinds: Sequence[Intervention], buffers: Tensors, lr: Tensor, step: Tensor) -> Tensor:
    """One lane's learning rate at a step."""
    for index, kind in _on_updates(kinds):
        lr = kind.lr(lr, _acts(buffers, index, step), _plan(buffers, index, "strength"))
    return lr


def intervened_batch(kinds: Sequence[Intervention], buffers: Tensors, batch: Tensors, step: Tensor) -> Tensors:
    """One lane's batch at a step, or a part of it, as gradients are taken of it."""
    for index, kind in _on_updates(kinds):
        if type(kind).batch is not OnUpdates.batch:
            batch = kind.batch(batch, _acts(buffers, index, step), _plan(buffers, index, "strength"))
    return batch


def intervened_grads(
    kinds: Sequence[Intervention], buffers: Tensors, seed: Tensor, grads: Tensors, step: Tensor
) -> Tensors:
    """One lane's gradients at a step, by the names of parameters."""
    for index, kind in _on_updates(kinds):
        if type(kind).grads is not OnUpdates.grads:
            acts, strength = _acts(buffers, index, step), _plan(buffers, index, "strength")
            grads = {
                name: kind.grads(name, grad, _noise(seed, name, step, grad), acts, strength)
                for name, grad in grads.items()
            }
    return grads


def intervened_params(
    kinds: Sequence[Intervention],
    buffers: Tensors,
    before: Tensors,
    after: Tensors,
    layers: Sequence[Layer],
    step: Tensor,
) -> Tensors:
    """One lane's stacked parameters after an update, those that are frozen as they were before it."""
    for index, kind in _on_updates(kinds):
        if type(kind).kept is not OnUpdates.kept:
            on_A = _plan(buffers, index, "on_AH")[:, 0] & _acts(buffers, index, step)
            after = {name: _kept(kind, name, before[name], new, on_A, layers) for name, new in after.items()}
    return after


def _kept(kind: OnUpdates, name: str, before: Tensor, after: Tensor, on_A: Tensor, layers: Sequence[Layer]) -> Tensor:
    if not is_stacked(name):
        return after
    places = [place for place, layer in enumerate(layers) if name.startswith(layer.stacked_prefix)]
    own = name.removeprefix(layers[places[0]].stacked_prefix)
    kept = torch.func.vmap(functools.partial(kind.kept, own))(before, after)
    on_layers = on_A[places[0] : places[-1] + 1].reshape(-1, *[1] * (after.ndim - 1))
    return torch.where(on_layers, kept, after)


def _by_lane(pack: Pack) -> list[Intervention | None]:
    choices = [trial.intervention for trial in pack.trials]
    return [None if choice is None else build(INTERVENTIONS, choice) for choice in choices]


def _kind(intervention: Intervention) -> tuple[str, str, str]:
    cls = type(intervention)
    return cls.__module__, cls.__qualname__, intervention.variant


def _end(intervention: Intervention) -> int:
    """The first step at which it acts no longer."""
    return NEVER if intervention.for_steps is None else intervention.from_step + intervention.for_steps


def _places(intervention: Intervention | None, num_layers: int, num_heads: int) -> list[list[bool]]:
    """Whether an intervention acts on each layer and head."""
    layers, heads = intervention.where if intervention is not None else ((), ())
    return [
        [(layers is None or a in layers) and (heads is None or h in heads) for h in range(num_heads)]
        for a in range(num_layers)
    ]


def _on_updates(kinds: Sequence[Intervention]) -> list[tuple[int, OnUpdates]]:
    return [(index, kind) for index, kind in enumerate(kinds) if isinstance(kind, OnUpdates)]


def _acts(buffers: Tensors, index: int, step: Tensor) -> Tensor:
    return (step >= _plan(buffers, index, "from_step")) & (step < _plan(buffers, index, "end_step"))


def _plan(buffers: Tensors, index: int, name: str) -> Tensor:
    return buffers[f"{PREFIX}{index}.{name}"]


def _of_state(state: State, index: int, like: Tensor) -> Tensor:
    return state[f"{IN_STATE}{index}"].to(like)[:, None, None]


def _of_tokens(mask_B1QK: Tensor, state: State) -> Tensor:
    """The mask without rows of padding, which no largest logit and no mean entropy counts."""
    return mask_B1QK & state["valid_rows"] if "valid_rows" in state else mask_B1QK


def _noise(seed: Tensor, name: str, step: Tensor, grad: Tensor) -> Tensor:
    return normal(seed, f"{PREFIX}{name}", step, tuple(grad.shape)).to(grad)
