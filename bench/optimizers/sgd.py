"""Stochastic gradient descent, plain and with momentum; weight decay is added to the gradient (coupled)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt

from bench.lazy import torch
from bench.optimizers.base import Tensors
from bench.optimizers.decay import Decaying

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SGD(Decaying):
    """p - lr (g + weight_decay p). Source: torch.optim.SGD."""

    source = "Robbins & Monro 1951, as torch.optim.SGD"
    sources = ("robbins1951stochastic",)

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        return p - knobs["lr"] * self.with_decay(name, p, grad, knobs), state

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """2/lr - weight_decay. Source: Cohen et al. 2021, Sec. 2."""
        return 2 / knobs["lr"] - knobs["weight_decay"]

    def preconditioner(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> Tensor:
        return torch.ones_like(p)


@dataclass(frozen=True, kw_only=True)
class SGDMomentum(SGD):
    """b = momentum b + g + weight_decay p; p - lr b. Source: torch.optim.SGD with dampening 0."""

    source = "Polyak 1964, as torch.optim.SGD(momentum)"
    sources = ("polyak1964some",)

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9

    def init(self, name: str, p: Tensor) -> Tensors:
        return {"momentum": torch.zeros_like(p)}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        momentum = self.momentum * state["momentum"] + self.with_decay(name, p, grad, knobs)
        return p - knobs["lr"] * momentum, {"momentum": momentum}

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """2 (1 + b)/lr - weight_decay. Source: Cohen et al. 2021, App. B."""
        return 2 * (1 + self.momentum) / knobs["lr"] - knobs["weight_decay"]


@dataclass(frozen=True, kw_only=True)
class SGDNesterov(SGDMomentum):
    """b = momentum b + d with d = g + weight_decay p; p - lr (d + momentum b). Source: torch.optim.SGD(nesterov)."""

    source = "Nesterov 1983; Sutskever et al. 2013, as torch.optim.SGD(nesterov)"
    sources = ("nesterov1983method", "sutskever2013importance")

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        decayed = self.with_decay(name, p, grad, knobs)
        momentum = self.momentum * state["momentum"] + decayed
        return p - knobs["lr"] * (decayed + self.momentum * momentum), {"momentum": momentum}

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """(2 + 2 b)/((1 + 2 b) lr) - weight_decay. Source: Cohen et al. 2021, App. B."""
        return 2 * (1 + self.momentum) / ((1 + 2 * self.momentum) * knobs["lr"]) - knobs["weight_decay"]
