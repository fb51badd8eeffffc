"""sigma-reparam: softmax attention in a network whose weights are divided by their spectral norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.methods.linear import GammaInit, Linear, PlainLinear, SigmaReparam
from bench.methods.softmax import Softmax

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State

QUERY_AND_KEY = ("query", "key")


@dataclass(frozen=True, kw_only=True)
class SigmaReparamAll(Softmax):
    """Softmax with weights gamma W / sigma(W), sigma the spectral norm, on every linear layer of the network.

    gamma_init: gamma starts at 1, or at sigma(W), so that all weights start as without the method.
    Source: Zhai et al. 2023, Sec. 3.2. They also take out LayerNorm, weight decay and warmup: knobs and settings here.
    Their code starts gamma at 1 for speech and at sigma(W) for vision.
    """

    source = "Zhai et al. 2023, Sec. 3.2"
    sources = ("zhai2023stabilizing",)
    controls = "spectral norm of all weights, up to the learned gamma"
    use_when = "training without warmup, and where every linear layer may change"

    gamma_init: GammaInit = "one"

    def linear(self, role: str) -> Linear:
        return SigmaReparam(gamma_init=self.gamma_init)


@dataclass(frozen=True, kw_only=True)
class SigmaReparamJoint(SigmaReparamAll):
    """sigma_reparam with one sigma and one gamma for the projections of a layer that stand side by side in one matrix.

    joint: qk, query and key; qkv, value as well. As the authors' code has it: their speech recogniser fuses query and
    key (its example; `disjoint_type` 1), their ViT all three. In cross-attention, too, although its inputs are two.
    Source: Zhai et al. 2023, Sec. 3.2, by their code; apart: `sigma_reparam`.
    """

    source = "Zhai et al. 2023, by their code"
    use_when = "a model whose queries, keys and values are one matrix is to be matched"

    joint: Literal["qk", "qkv"] = "qkv"

    def fused_roles(self) -> tuple[str, ...]:
        return QUERY_AND_KEY if self.joint == "qk" else (*QUERY_AND_KEY, "value")

    def gammas(self, state: State, query: dict[str, Tensor], key: dict[str, Tensor]) -> tuple[Tensor, Tensor] | None:
        return query["gamma"], query["gamma"]


@dataclass(frozen=True, kw_only=True)
class SigmaReparamQK(Softmax):
    """Softmax with weights gamma W / sigma(W) on the query and key projections only, as Hong & Lee apply it.

    gamma_init: gamma starts at 1, or at sigma(W), so that all weights start as without the method.
    Source: Zhai et al. 2023 (on every linear layer there); Hong & Lee 2025.
    """

    source = "Hong & Lee 2025; Zhai et al. 2023"
    sources = ("hong2025variance", "zhai2023stabilizing")
    controls = "spectral norm of the query and key weights, up to the learned gamma"
    use_when = "entropy collapses, and only the attention may change"

    gamma_init: GammaInit = "one"

    def linear(self, role: str) -> Linear:
        return SigmaReparam(gamma_init=self.gamma_init) if role in QUERY_AND_KEY else PlainLinear()
