"""LAMB: Adam's steps, each tensor's as long as the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.lazy import torch
from bench.optimizers.adam import Adam
from bench.optimizers.base import Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Lamb(Adam):
    """p - lr |p| / |u| u with u = Adam's direction + weight_decay p: decoupled, though the ratio scales the decay too.

    Source: You et al. 2020, Alg. 2, with phi the identity and, as a layer of theirs, one tensor of one layer. A tensor
    that does not decay has ratio 1, as in the authors' code, which takes gains and biases out of both. Where p or u is
    0 the ratio is 1 too, as there: a bias that starts at 0 could never leave it.
    """

    source = "You et al. 2020, Alg. 2"
    sources = ("you2020large",)

    eps: Annotated[float, Gt(0)] = 1e-6

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        mean, spread, moments = self._moments(grad, state, step)
        direction = self.with_decay(name, p, mean / spread, knobs)
        if not self.does_decay(name, p):
            return p - knobs["lr"] * direction, moments
        size, length = p.square().sum().sqrt(), direction.square().sum().sqrt()
        ratio = torch.where((size > 0) & (length > 0), size / length, 1)
        return p - knobs["lr"] * ratio * direction, moments
