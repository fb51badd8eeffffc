"""Softmax attention, over all allowed keys or over a window of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from bench.lazy import torch
from bench.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor


def masked_softmax(z_BHQK: Tensor, mask_QK: Tensor) -> Tensor:
    """exp(Z) normalised over the allowed keys of each row."""
    return z_BHQK.masked_fill(~mask_QK, -torch.inf).softmax(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Softmax(Method):
    """exp(Z) normalised over each row. Source: Vaswani et al. 2017, Eq. 1; the model scales Z."""

    source = "Vaswani et al. 2017, Eq. 1"
    controls = "nothing: the reference"

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_QK: Tensor, params: dict[str, Tensor]) -> Tensor:
        return masked_softmax(self.logits(q_BHQD, k_BHKD), mask_QK)


@dataclass(frozen=True, kw_only=True)
class WindowSoftmax(Softmax):
    """Softmax over the keys j with |i - j| <= width. Source: Hong & Lee 2025, Sec. 4.2 (W = 8)."""

    source = "Hong & Lee 2025, Sec. 4.2"
    controls = "rows: fewer keys"

    width: Annotated[int, Ge(1)] = 8

    def allowed(self, mask_QK: Tensor) -> Tensor:
        num_queries, num_keys = mask_QK.shape
        i_Q1 = torch.arange(num_keys - num_queries, num_keys, device=mask_QK.device)[:, None]
        j_K = torch.arange(num_keys, device=mask_QK.device)
        return mask_QK & ((i_Q1 - j_K).abs() <= self.width)
