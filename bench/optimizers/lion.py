"""Lion: steps of one size, in the direction of the sign of a momentum."""

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
class Lion(Decaying):
    """p - lr (sign(beta1 m + (1 - beta1) g) + weight_decay p); then m = beta2 m + (1 - beta2) g.

    Weight decay is decoupled, as AdamW's. Source: Chen et al. 2023, Alg. 2.
    """

    source = "Chen et al. 2023, Alg. 2"
    sources = ("chen2023lion",)
    ignores_scale = True

    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.99

    def init(self, name: str, p: Tensor) -> Tensors:
        return {"momentum": torch.zeros_like(p)}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        direction = (self.beta1 * state["momentum"] + (1 - self.beta1) * grad).sign()
        momentum = self.beta2 * state["momentum"] + (1 - self.beta2) * grad
        return p - knobs["lr"] * self.with_decay(name, p, direction, knobs), {"momentum": momentum}
