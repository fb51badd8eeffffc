"""QK-LayerNorm: LayerNorm on queries and on keys, then softmax; four treatments of the scale gamma.

LayerNorm has no bias; gamma_q and gamma_k have the width of a head and are shared by the heads of a layer.
Source: Hong & Lee 2025, Figs. 8 and 9 (the four treatments); Dehghani et al. 2023; Wortsman et al. 2023.
The papers do not state the ranges of the two clippings: both defaults are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.lazy import torch
from bench.methods.softmax import Softmax

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import Heads, State

LAYERNORM_EPS = 1e-5  # torch.nn.LayerNorm's default


def standardize(x_BHTD: Tensor) -> Tensor:
    """LayerNorm over the last dimension without scale or bias."""
    centred_BHTD = x_BHTD - x_BHTD.mean(dim=-1, keepdim=True)
    variance_BHT1 = centred_BHTD.square().mean(dim=-1, keepdim=True)
    return centred_BHTD * (variance_BHT1 + LAYERNORM_EPS).rsqrt()


@dataclass(frozen=True, kw_only=True)
class QKLayerNormFixed(Softmax):
    """Softmax of LayerNorm(q) . LayerNorm(k): the scale gamma of both is fixed to 1."""

    source = "Hong & Lee 2025, Figs. 8 and 9; Dehghani et al. 2023"
    sources = ("hong2025variance", "dehghani2023scaling")
    controls = "norm of queries and keys, so the variance of the logits"
    use_when = "logits must stay bounded whatever the weights do, and nothing more may be learned"

    def normalize(self, q_BHQD: Tensor, k_BHKD: Tensor, state: State) -> tuple[Tensor, Tensor]:
        return standardize(q_BHQD), standardize(k_BHKD)

    def gammas(self, state: State, query: dict[str, Tensor], key: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.ones(1, 1, 1), torch.ones(1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class QKLayerNormFree(QKLayerNormFixed):
    """Softmax of LayerNorm(q) . LayerNorm(k), each times a learned gamma without any clipping."""

    controls = "norm of queries and keys up to the learned gamma"
    use_when = "large models at high learning rates: what is common practice there"

    def init_params(self, heads: Heads) -> dict[str, Tensor]:
        return {name: torch.ones(1, 1, heads.width) for name in ("gamma_q", "gamma_k")}

    def normalize(self, q_BHQD: Tensor, k_BHKD: Tensor, state: State) -> tuple[Tensor, Tensor]:
        return standardize(q_BHQD) * state["gamma_q"], standardize(k_BHKD) * state["gamma_k"]

    def gammas(self, state: State, query: dict[str, Tensor], key: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return state["gamma_q"], state["gamma_k"]


@dataclass(frozen=True, kw_only=True)
class QKLayerNormWeightClipped(QKLayerNormFree):
    """Softmax of LayerNorm(q) . LayerNorm(k), each times a learned gamma in [-max_gamma, max_gamma].

    Elements are clipped after every update, as in the main figures of Hong & Lee 2025.
    """

    controls = "norm of queries and keys, gamma bounded by value"
    use_when = "as qk_layernorm_free, where gamma itself would grow without bound"

    max_gamma: Annotated[float, Gt(0)] = 1.0

    def limit_params(self, params: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        return {name: gamma_11D.clamp(-self.max_gamma, self.max_gamma) for name, gamma_11D in params.items()}


@dataclass(frozen=True, kw_only=True)
class QKLayerNormGradientClipped(QKLayerNormFree):
    """Softmax of LayerNorm(q) . LayerNorm(k), each times a learned gamma that changes at a bounded speed.

    The 2-norm of each gamma's gradient is clipped to max_grad_norm before every update.
    """

    controls = "norm of queries and keys, gamma bounded by the speed of its change"
    use_when = "as qk_layernorm_free, where gamma would grow at once"

    max_grad_norm: Annotated[float, Gt(0)] = 1.0

    def limit_grads(self, grads: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        def clip(grad_11D: Tensor) -> Tensor:
            norm = grad_11D.square().sum().sqrt()
            return grad_11D * (self.max_grad_norm / norm.clamp_min(self.max_grad_norm))

        return {name: clip(grad_11D) for name, grad_11D in grads.items()}
