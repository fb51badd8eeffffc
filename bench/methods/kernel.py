"""Kernel attention: P_ij = phi(Q_i) . phi(K_j) / sum_k phi(Q_i) . phi(K_k), with phi = ReLU, ELU + 1 or sigmoid.

A row whose denominator is 0 is 0/0 in the definition. Here it is uniform over the allowed keys: P stays
row-stochastic, as the paper's bounds on entropy and ||P||_F require, and the row passes no gradient. So is a row whose
denominator lies below 1e-19 (float32), which ELU + 1 and sigmoid reach where they saturate: its gradient would be NaN.
With eps > 0 the denominator is increased by eps instead, and such a row gives nothing to any key.
Source: Hong & Lee 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from bench.lazy import torch
from bench.methods.base import FastPath, Heads, Method
from bench.methods.fast.fused import heads_of, linear_attention, linear_pays
from bench.methods.fast.tiny import takes, tiny_attention, tiny_pays
from bench.methods.mask import Mask, MaskKind
from bench.methods.precision import widened, without_autocast

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


def normalized_rows(similarity_BHQK: Tensor, mask_B1QK: Tensor) -> Tensor:
    """Similarities, 0 at masked keys, divided by their row's sum; a row without any is uniform over allowed keys."""
    total_BHQ1 = similarity_BHQK.sum(dim=-1, keepdim=True)
    # The gradient divides by the denominator twice; below the root of the smallest normal number that overflows.
    positive_BHQ1 = total_BHQ1 > torch.finfo(total_BHQ1.dtype).tiny ** 0.5
    uniform_QK = mask_B1QK.to(total_BHQ1.dtype) / mask_B1QK.sum(dim=-1, keepdim=True)
    # The inner `where` keeps 0/0 out of the gradient of the rows that the outer one replaces.
    p_BHQK = similarity_BHQK / torch.where(positive_BHQ1, total_BHQ1, torch.ones_like(total_BHQ1))
    return torch.where(positive_BHQ1, p_BHQK, uniform_QK)


@dataclass(frozen=True, kw_only=True)
class KernelAttention(Method):
    """The part that all kernels share; a kernel overrides `features`."""

    source = "Hong & Lee 2025"
    sources = ("hong2025variance",)
    controls = "variance: entropy does not depend on the scale of the logits"
    reads_logits = False

    eps: Annotated[float, Ge(0)] = 0.0

    @property
    def rows_sum_to_one(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.eps == 0

    def features(self, x_BHTD: Tensor) -> Tensor:
        """phi(x) >= 0, of the shape of x."""
        raise NotImplementedError

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        similarity_BHQK = (self.features(q_BHQD) @ self.features(k_BHKD).mT) * mask_B1QK
        if self.eps > 0:
            return similarity_BHQK / (similarity_BHQK.sum(dim=-1, keepdim=True) + self.eps)
        return normalized_rows(similarity_BHQK, mask_B1QK)

    def fast_path(self, heads: Heads, kind: MaskKind, *, has_tiny: bool) -> FastPath:
        if type(self).weights is not KernelAttention.weights:
            return "dense"
        if has_tiny and tiny_pays(heads):
            return "tiny"
        return "linear" if linear_pays(heads, kind) else "dense"

    def attend(self, q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, mask: Mask, state: State) -> Tensor:
        chosen = self.fast_path(heads_of(q_BHQD, k_BHKD), mask.kind, has_tiny=takes(q_BHQD, k_BHKD, v_BHKD))
        if chosen == "dense":
            return super().attend(q_BHQD, k_BHKD, v_BHKD, mask, state)
        with without_autocast(q_BHQD):
            phi_q_BHQD, phi_k_BHKD = (self.features(widened(x)) for x in (q_BHQD, k_BHKD))
        if chosen == "tiny":
            return tiny_attention(phi_q_BHQD, phi_k_BHKD, v_BHKD, mask, is_softmax=False, eps=self.eps)
        return linear_attention(phi_q_BHQD, phi_k_BHKD, v_BHKD, mask, eps=self.eps)


@dataclass(frozen=True, kw_only=True)
class ReluKernel(KernelAttention):
    """P_ij proportional to phi(q_i) . phi(k_j) with phi = ReLU."""

    use_when = "long sequences, at a cost linear in their length, with rows that may be sparse"

    def features(self, x_BHTD: Tensor) -> Tensor:
        return x_BHTD.relu()


@dataclass(frozen=True, kw_only=True)
class EluKernel(KernelAttention):
    """P_ij proportional to phi(q_i) . phi(k_j) with phi = ELU + 1: x + 1 for x > 0, exp(x) otherwise.

    Source: Katharopoulos et al. 2020, Eq. 7.
    """

    source = "Hong & Lee 2025; Katharopoulos et al. 2020, Eq. 7"
    sources = ("hong2025variance", "katharopoulos2020transformers")
    controls = "variance, where features are positive"
    use_when = "long sequences, at a cost linear in their length, with every weight above 0"

    def features(self, x_BHTD: Tensor) -> Tensor:
        # exp sees x <= 0 alone: its overflow on the other branch would make the gradient NaN.
        return torch.where(x_BHTD > 0, x_BHTD + 1, x_BHTD.clamp_max(0).exp())


@dataclass(frozen=True, kw_only=True)
class SigmoidKernel(KernelAttention):
    """P_ij proportional to phi(q_i) . phi(k_j) with phi = sigmoid."""

    controls = "norm of the features: each lies in (0, 1)"
    use_when = "long sequences, at a cost linear in their length, with features that are bounded"

    def features(self, x_BHTD: Tensor) -> Tensor:
        return x_BHTD.sigmoid()
