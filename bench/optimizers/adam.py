"""Adam with weight decay: coupled (added to the gradient), decoupled (AdamW), and independent of the learning rate."""

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
class Adam(Decaying):
    """Adam whose weight decay is added to the gradient. Source: Kingma & Ba 2015, Alg. 1, as torch.optim.Adam."""

    source = "Kingma & Ba 2015, Alg. 1, as torch.optim.Adam"
    sources = ("kingma2015adam",)

    ignores_scale = True

    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    eps: Annotated[float, Gt(0)] = 1e-8

    def init(self, name: str, p: Tensor) -> Tensors:
        return {"first": torch.zeros_like(p), "second": torch.zeros_like(p)}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        return self._step(p, self.with_decay(name, p, grad, knobs), state, knobs["lr"], step)

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """(2 + 2 beta1)/((1 - beta1) lr): 38/lr at 0.9. Source: Cohen et al. 2022, Eq. 2.

        Weight decay that is added to the gradient is left out: it enters P as well.
        """
        return self._edge_after(2 * torch.ones_like(knobs["lr"]), knobs["lr"])

    def preconditioner(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> Tensor:
        """(1 - beta1^t) (sqrt(v_t / (1 - beta2^t)) + eps), this gradient in v_t. Source: Cohen et al. 2022, Eq. 3."""
        _, spread, _ = self._moments(grad, state, step)
        return correction(self.beta1, step, grad.dtype) * spread

    def second_moment(self, state: Tensors, num_steps: Tensor) -> Tensor:
        return state["second"] / correction(self.beta2, num_steps - 1, state["second"].dtype)

    def _edge_after(self, slack: Tensor, lr: Tensor) -> Tensor:
        """The edge where decay leaves `slack` of 2."""
        return slack * (1 + self.beta1) / ((1 - self.beta1) * lr)

    def _step(self, p: Tensor, grad: Tensor, state: Tensors, lr: Tensor, step: Tensor) -> tuple[Tensor, Tensors]:
        mean, spread, moments = self._moments(grad, state, step)
        return p - lr * mean / spread, moments

    def _moments(self, grad: Tensor, state: Tensors, step: Tensor) -> tuple[Tensor, Tensor, Tensors]:
        """The first moment and the root of the second plus eps, both corrected for their start at 0; and the state."""
        first = self.beta1 * state["first"] + (1 - self.beta1) * grad
        second = self.beta2 * state["second"] + (1 - self.beta2) * grad.square()
        root = (second / correction(self.beta2, step, grad.dtype)).sqrt()
        return first / correction(self.beta1, step, grad.dtype), root + self.eps, {"first": first, "second": second}


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam after p (1 - lr weight_decay). Source: Loshchilov & Hutter 2019, Alg. 2, as torch.optim.AdamW."""

    source = "Loshchilov & Hutter 2019, Alg. 2, as torch.optim.AdamW"
    sources = ("loshchilov2019decoupled",)

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        kept = self.shrunk(name, p, knobs["lr"] * knobs["weight_decay"])
        return self._step(kept, grad, state, knobs["lr"], step)

    second_moment = Adam.second_moment

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """(2 - lr weight_decay)(1 + beta1)/((1 - beta1) lr), of what decays. Source: this project."""
        return self._edge_after(2 - knobs["lr"] * knobs["weight_decay"], knobs["lr"])


@dataclass(frozen=True, kw_only=True)
class AdamWIndependent(Adam):
    """Adam after p (1 - lr_factor weight_decay): the decay follows the schedule, but not the peak learning rate.

    AdamW with weight_decay / lr. Source: Loshchilov & Hutter 2019, Alg. 2 (eta_t is lr_factor, alpha the peak learning
    rate); Wortsman et al. 2023, Sec. 3.2.2.
    """

    source = "Loshchilov & Hutter 2019, Alg. 2; Wortsman et al. 2023, Sec. 3.2.2"
    sources = ("loshchilov2019decoupled", "wortsman2024small")
    knobs = ("lr", "lr_factor", "weight_decay")

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        kept = self.shrunk(name, p, knobs["lr_factor"] * knobs["weight_decay"])
        return self._step(kept, grad, state, knobs["lr"], step)

    second_moment = Adam.second_moment

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """(2 - lr_factor weight_decay)(1 + beta1)/((1 - beta1) lr), of what decays. Source: this project."""
        return self._edge_after(2 - knobs["lr_factor"] * knobs["weight_decay"], knobs["lr"])


def correction(beta: float | Tensor, step: Tensor, dtype: torch.dtype) -> Tensor:
    """1 - beta^(step + 1): the sum of the weights of a moving average that started at 0.

    In float64 as in PyTorch: 1 - 0.999 in float32 is off by 1e-5 of itself.
    """
    return (1 - beta ** (step + 1).double()).to(dtype)
