"""Adagrad: steps divided by the root of all squared gradients so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.lazy import torch
from bench.optimizers.base import Tensors
from bench.optimizers.decay import Decaying

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Adagrad(Decaying):
    """s = s + d^2 with d = g + weight_decay p; p - lr d / (sqrt(s) + eps).

    Source: Duchi, Hazan & Singer 2011, Eq. 1 with the diagonal alone, as torch.optim.Adagrad.
    """

    source = "Duchi, Hazan & Singer 2011, as torch.optim.Adagrad"
    sources = ("duchi2011adaptive",)

    eps: Annotated[float, Gt(0)] = 1e-10

    def init(self, name: str, p: Tensor) -> Tensors:
        return {"sum": torch.zeros_like(p)}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        decayed = self.with_decay(name, p, grad, knobs)
        total = state["sum"] + decayed.square()
        return p - knobs["lr"] * decayed / (total.sqrt() + self.eps), {"sum": total}
