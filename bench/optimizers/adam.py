"""Adam with weight decay: coupled (added to the gradient), decoupled (AdamW), and independent of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from bench.lazy import torch
from bench.optimizers.base import Optimizer, Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam whose weight decay is added to the gradient. Source: Kingma & Ba 2015, Alg. 1, as torch.optim.Adam."""

    source = "Kingma & Ba 2015, Alg. 1, as torch.optim.Adam"

    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    eps: Annotated[float, Gt(0)] = 1e-8

    def init(self, params: Tensors) -> dict[str, Tensors]:
        return {moment: {name: torch.zeros_like(p) for name, p in params.items()} for moment in ("first", "second")}

    def update(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        coupled = {name: grads[name] + knobs["weight_decay"] * p for name, p in params.items()}
        return self._step(params, coupled, state, knobs["lr"], step)

    def _step(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], lr: Tensor, step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        first = {n: self.beta1 * m + (1 - self.beta1) * grads[n] for n, m in state["first"].items()}
        second = {n: self.beta2 * v + (1 - self.beta2) * grads[n].square() for n, v in state["second"].items()}
        # In float64 as in PyTorch: 1 - 0.999 in float32 is off by 1e-5 of itself.
        correction1 = 1 - self.beta1 ** (step + 1).double()
        correction2 = 1 - self.beta2 ** (step + 1).double()
        updated = {}
        for name, p in params.items():
            root = (second[name] / correction2.to(p.dtype)).sqrt()
            updated[name] = p - lr * (first[name] / correction1.to(p.dtype)) / (root + self.eps)
        return updated, {"first": first, "second": second}


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam after p (1 - lr weight_decay). Source: Loshchilov & Hutter 2019, Alg. 2, as torch.optim.AdamW."""

    source = "Loshchilov & Hutter 2019, Alg. 2, as torch.optim.AdamW"

    def update(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        decayed = {name: p * (1 - knobs["lr"] * knobs["weight_decay"]) for name, p in params.items()}
        return self._step(decayed, grads, state, knobs["lr"], step)


@dataclass(frozen=True, kw_only=True)
class AdamWIndependent(Adam):
    """Adam after p (1 - lr_factor weight_decay): the decay follows the schedule, but not the peak learning rate.

    AdamW with weight_decay / lr. Source: Loshchilov & Hutter 2019, Alg. 2 (eta_t is lr_factor, alpha the peak learning
    rate); Wortsman et al. 2023, Sec. 3.2.2.
    """

    source = "Loshchilov & Hutter 2019, Alg. 2; Wortsman et al. 2023, Sec. 3.2.2"

    def update(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        kept = 1 - knobs["lr_factor"] * knobs["weight_decay"]
        return self._step({name: p * kept for name, p in params.items()}, grads, state, knobs["lr"], step)
