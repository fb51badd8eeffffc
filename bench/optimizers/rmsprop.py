"""RMSprop: gradients divided by the root of a moving average of their squares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from bench.lazy import torch
from bench.optimizers.base import Tensors
from bench.optimizers.decay import Decaying

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RMSprop(Decaying):
    """p - lr d / (sqrt(v) + eps) with d = g + weight_decay p (coupled) and v a moving average of d^2 from 0.

    Source: Tieleman & Hinton 2012, Lecture 6.5, beta2 = 0.9; eps and weight decay, which it does not have, as in
    torch.optim.RMSprop. The average is not corrected for its start, so first steps are 1 / sqrt(1 - beta2) times lr.
    """

    source = "Tieleman & Hinton 2012, Lecture 6.5, as torch.optim.RMSprop"
    sources = ("tieleman2012rmsprop",)
    ignores_scale = True

    beta2: Annotated[float, Ge(0), Lt(1)] = 0.9
    eps: Annotated[float, Gt(0)] = 1e-8

    def init(self, name: str, p: Tensor) -> Tensors:
        return {"second": torch.zeros_like(p)}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        decayed = self.with_decay(name, p, grad, knobs)
        second = self.beta2 * state["second"] + (1 - self.beta2) * decayed.square()
        return p - knobs["lr"] * decayed / (second.sqrt() + self.eps), {"second": second}

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """2/lr. Source: Cohen et al. 2022. Weight decay is left out: it enters P as well."""
        return 2 / knobs["lr"]

    def preconditioner(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> Tensor:
        """sqrt(v) + eps, this gradient in v."""
        second = self.update(name, p, grad, state, knobs, step)[1]["second"]
        return second.sqrt() + self.eps
