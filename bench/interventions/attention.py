"""Interventions on attention: on its logits, and on the rows that follow from them.

Shapes: B batch, H heads, Q queries, K keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Gt, Le

from bench.interventions.base import OnAttention
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Temperature(OnAttention):
    """Logits divided by `temperature`: below 1 rows are sharpened. Source: Zhai et al. 2023, the intervention."""

    source = "Zhai et al. 2023, the intervention"
    sources = ("zhai2023stabilizing",)
    strength: ClassVar = "temperature"
    neutral: ClassVar = 1.0

    temperature: Annotated[float, Gt(0)] = 0.1

    def logits(self, z_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        return z_BHQK / strength_H11


@dataclass(frozen=True, kw_only=True)
class LogitScale(OnAttention):
    """Logits of each head multiplied so that the largest of the batch is `scale` in absolute value.

    No gradient flows through the factor. Source: Wortsman et al. 2023, logits forced to a scale.
    """

    source = "Wortsman et al. 2023"
    sources = ("wortsman2024small",)
    strength: ClassVar = "scale"
    neutral: ClassVar = 0.0  # no scale at all, which a suite can't ask for

    scale: Annotated[float, Gt(0)] = 100.0

    def logits(self, z_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        seen_BHQK = z_BHQK.detach().abs().masked_fill(~mask_B1QK, 0)
        largest_H11 = seen_BHQK.amax(dim=(0, 2, 3))[:, None, None].clamp_min(torch.finfo(z_BHQK.dtype).tiny)
        return z_BHQK * torch.where(strength_H11 > 0, strength_H11 / largest_H11, torch.ones_like(largest_H11))


@dataclass(frozen=True, kw_only=True)
class LogitClamp(OnAttention):
    """Logits clamped to [-limit, limit]; what is clamped has no gradient."""

    strength: ClassVar = "limit"
    neutral: ClassVar = float("inf")

    limit: Annotated[float, Gt(0)] = 10.0

    def logits(self, z_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(z_BHQK, -strength_H11), strength_H11)


@dataclass(frozen=True, kw_only=True)
class EntropyFloor(OnAttention):
    """Rows mixed with the uniform row so that none has less than `share` of the entropy of the latter; logits are free.

    The least share a of the uniform row for which concavity, H((1-a) p + a u) >= (1-a) H(p) + a log n, promises it. No
    gradient flows through a. Rows keep their sums.
    """

    strength: ClassVar = "share"
    neutral: ClassVar = 0.0
    acts_on_logits: ClassVar = False

    share: Annotated[float, Gt(0), Le(1)] = 0.5

    def weights(self, p_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        tiny = torch.finfo(p_BHQK.dtype).tiny
        mass_BHQ1 = p_BHQK.sum(dim=-1, keepdim=True)
        row_BHQK = p_BHQK.detach() / mass_BHQ1.detach().clamp_min(tiny)
        entropy_BHQ1 = torch.special.entr(row_BHQK).sum(dim=-1, keepdim=True)
        num_keys_Q1 = mask_B1QK.sum(dim=-1, keepdim=True).to(p_BHQK.dtype)
        most_Q1 = num_keys_Q1.log()
        lacking_BHQ1 = strength_H11 * most_Q1 - entropy_BHQ1
        a_BHQ1 = (lacking_BHQ1 / (most_Q1 - entropy_BHQ1).clamp_min(tiny)).clamp(0, 1)
        uniform_QK = mask_B1QK.to(p_BHQK.dtype) / num_keys_Q1
        mixed_BHQK = (1 - a_BHQ1) * p_BHQK + a_BHQ1 * mass_BHQ1 * uniform_QK
        return torch.where((lacking_BHQ1 > 0) & (strength_H11 > 0), mixed_BHQK, p_BHQK)


@dataclass(frozen=True, kw_only=True)
class MethodSwapped(OnAttention):
    """Rows by another method, of the queries and keys that the trial's own has normalised.

    method: one that has no tensors of its own and whose rows sum to 1.
    """

    neutral: ClassVar = 0.0
    acts_on_logits: ClassVar[bool] = False

    method: Literal["softmax", "relu_kernel", "elu_kernel", "soft_capping"] = "relu_kernel"

    @property
    def variant(self) -> str:
        return self.method

    @property
    def rows_of(self) -> str:
        return self.method
