"""LARS: steps of SGD with momentum, each tensor's as long as a share of the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.lazy import torch
from bench.optimizers.base import Tensors
from bench.optimizers.sgd import SGDMomentum

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Lars(SGDMomentum):
    """b = momentum b + trust |p| / (|g| + weight_decay |p|) (g + weight_decay p); p - lr b.

    Source: You, Gitman & Ginsburg 2017, Alg. 1; a layer of theirs is one tensor of one layer. A tensor that does not
    decay has ratio 1, as gains and biases have in the code of SimCLR and Barlow Twins; so has one where p or g is 0.
    """

    source = "You, Gitman & Ginsburg 2017, Alg. 1"
    sources = ("you2017large",)

    trust: Annotated[float, Gt(0)] = 1e-3

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        direction = self.with_decay(name, p, grad, knobs)
        if self.does_decay(name, p):
            size, length = p.square().sum().sqrt(), grad.square().sum().sqrt()
            ratio = self.trust * size / (length + knobs["weight_decay"] * size)
            direction = torch.where((size > 0) & (length > 0), ratio, 1) * direction
        momentum = self.momentum * state["momentum"] + direction
        return p - knobs["lr"] * momentum, {"momentum": momentum}
