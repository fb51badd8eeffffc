"""Stochastic gradient descent, plain and with momentum; weight decay is added to the gradient (coupled)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt

from bench.lazy import torch
from bench.optimizers.base import Optimizer, Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """p - lr (g + weight_decay p). Source: torch.optim.SGD."""

    source = "Robbins & Monro 1951, as torch.optim.SGD"

    def update(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        lr, decay = knobs["lr"], knobs["weight_decay"]
        return {name: p - lr * (grads[name] + decay * p) for name, p in params.items()}, state


@dataclass(frozen=True, kw_only=True)
class SGDMomentum(Optimizer):
    """b = momentum b + g + weight_decay p; p - lr b. Source: torch.optim.SGD with dampening 0."""

    source = "Polyak 1964, as torch.optim.SGD(momentum)"

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9

    def init(self, params: Tensors) -> dict[str, Tensors]:
        return {"momentum": {name: torch.zeros_like(p) for name, p in params.items()}}

    def update(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        lr, decay = knobs["lr"], knobs["weight_decay"]
        buffer = {n: self.momentum * b + grads[n] + decay * params[n] for n, b in state["momentum"].items()}
        return {name: p - lr * buffer[name] for name, p in params.items()}, {"momentum": buffer}
