"""Steps of an optimizer on made-up tensors of every kind that a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.entry import parameters
from bench.lazy import torch
from bench.optimizers.base import Optimizer, Tensors
from bench.optimizers.schedules import Cosine
from bench.roles import BY_ROLE

if TYPE_CHECKING:
    from torch import Tensor

NUM_STEPS = 25
SHAPES = {
    "layers.*.query.weight": (4, 3),
    "layers.*.key.weight": (2, 5),
    "layers.*.value.weight": (3, 3),
    "layers.*.query.bias": (5,),
    "layers.*.method.gamma_q": (1, 1, 4),
    "layers.*.query.gamma": (),
    "embed.tokens": (6, 2),
    "embed.class_token": (1, 4),
    "readout.weight": (3, 7),
}
NO_MATRICES = ("layers.*.query.bias", "layers.*.method.gamma_q", "layers.*.query.gamma")  # do not decay unless asked
States = dict[str, Tensors]


def constants_of(optimizer: Optimizer) -> list[str]:
    """Names of its own parameters: not those that say which tensors have another rate, or decay."""
    return [key for key in parameters(type(optimizer)) if key not in ("decays", *BY_ROLE)]


def draws(seed: int, dtype: torch.dtype | None = None) -> Tensors:
    """Standard normals of SHAPES, in float64 unless given."""
    generator = torch.Generator().manual_seed(seed)
    dtype = dtype or torch.float64
    return {key: torch.randn(shape, generator=generator, dtype=dtype) for key, shape in SHAPES.items()}


def scalar(value: float) -> Tensor:
    """A number in float64."""
    return torch.tensor(value, dtype=torch.float64)


def knobs_at(factor: Tensor, lr: float, weight_decay: float) -> Tensors:
    """What `update` reads at a factor of the schedule."""
    return {"lr": lr * factor, "lr_factor": factor, "weight_decay": scalar(weight_decay)}


def factor_at(step: int) -> Tensor:
    """A cosine after warmup."""
    return Cosine(final_fraction=0.1).factor(torch.tensor(step), scalar(5.0), NUM_STEPS)


def start(optimizer: Optimizer, params: Tensors) -> States:
    """The state of every tensor before the first step."""
    return {key: optimizer.init(key, p) for key, p in params.items()}


def stepped(
    optimizer: Optimizer, params: Tensors, grads: Tensors, state: States, knobs: Tensors, step: int
) -> tuple[Tensors, States]:
    """Tensors and states after one step."""
    pairs = {
        key: optimizer.update(key, p, grads[key], state[key], optimizer.knobs_of(key, knobs), torch.tensor(step))
        for key, p in params.items()
    }
    return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}


def trained(
    optimizer: Optimizer, seed: int, lr: float, weight_decay: float, num_steps: int = NUM_STEPS
) -> list[Tensors]:
    """Parameters after every step of made-up gradients."""
    params = draws(seed)
    state = start(optimizer, params)
    seen = []
    for step in range(num_steps):
        grads = {key: g + params[key] for key, g in draws(1000 + step).items()}
        params, state = stepped(optimizer, params, grads, state, knobs_at(factor_at(step), lr, weight_decay), step)
        seen.append(params)
    return seen
