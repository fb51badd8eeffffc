"""Schedule-free AdamW: an average of the iterates stands in for a schedule that decays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from bench.lazy import torch
from bench.optimizers.adam import correction
from bench.optimizers.base import Tensors
from bench.optimizers.decay import Decaying

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeAdamW(Decaying):
    """Gradients at y = beta1 x + (1 - beta1) z, AdamW's steps without momentum from z, evaluations at x.

    x averages z with weights of the largest lr so far squared; parameters in training are y. Warmup is the suite's, and
    the schedule should be `constant`. Weight decay is decoupled, of y. What a method limits in its parameters it limits
    in y alone. Training losses, and so the scores of the default board, are those at y, where gradients are taken: at x
    they would cost a second forward pass. Held-out losses are at x; boards say so. Source: Defazio et al. 2024, Alg. 1,
    with Adam's correction of the second moment, as the authors' code (AdamWScheduleFree) since.
    """

    source = "Defazio et al. 2024, Alg. 1, as the authors' AdamWScheduleFree"
    sources = ("defazio2024road",)
    ignores_scale = True

    beta1: Annotated[float, Gt(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    eps: Annotated[float, Gt(0)] = 1e-8

    def init(self, name: str, p: Tensor) -> Tensors:
        zero = p.new_zeros(())
        return {"z": p.clone(), "second": torch.zeros_like(p), "weight_sum": zero, "max_lr": zero}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        lr, z = knobs["lr"], state["z"]
        second = self.beta2 * state["second"] + (1 - self.beta2) * grad.square()
        root = (second / correction(self.beta2, step, p.dtype)).sqrt()
        direction = self.with_decay(name, p, grad / (root + self.eps), knobs)
        max_lr = torch.maximum(state["max_lr"], lr)
        weight_sum = state["weight_sum"] + max_lr.square()
        share = torch.where(weight_sum > 0, max_lr.square() / weight_sum, 0)
        # x moves to z by its share and z by its step; y follows both, and x is never kept.
        y = p + share * (z - p) - lr * (1 - self.beta1 * (1 - share)) * direction
        return y, {"z": z - lr * direction, "second": second, "weight_sum": weight_sum, "max_lr": max_lr}

    def evaluated(self, name: str, p: Tensor, state: Tensors) -> Tensor:
        return p + (1 - 1 / self.beta1) * (state["z"] - p)
