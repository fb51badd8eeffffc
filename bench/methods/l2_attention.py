"""L2 self-attention: similarity is minus the squared distance of query and key, both from one projection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.shaped_logits import ShapedLogits

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class L2Attention(ShapedLogits):
    """Softmax of -|q - k|^2 / sqrt(D), queries and keys from one projection, values X A W_V, A = W_Q W_Q^T / sqrt(D).

    A is that of each head; the scale of logits is the method's own, not the model's. Where all keys are allowed the
    Jacobian of a layer without biases has a bound that its weights alone decide: Thm. 3.2.
    Source: Kim et al. 2021, Sec. 3.2. A bias of the model, which the source's has not, is added after A.
    """

    source = "Kim et al. 2021, Sec. 3.2"
    sources = ("kim2021lipschitz",)
    revision = 1  # values are X A W_V
    controls = "logits: they are at most 0, and a token's own is the largest; the Jacobian of a layer is bounded"
    use_when = "a bound on a layer's Jacobian is needed, and tied queries and keys are no loss"
    ties_query_and_key = True

    def logit_scale(self, default: float) -> float:
        return 1.0

    def value_weight(self, value_CHD: Tensor, query_CHD: Tensor) -> Tensor:
        with torch.autocast(value_CHD.device.type, enabled=False):
            inner_HDD = torch.einsum("chd,che->hde", query_CHD, value_CHD) / math.sqrt(query_CHD.shape[-1])
            return torch.einsum("chd,hde->che", query_CHD, inner_HDD)

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        lengths_BHQK = q_BHQD.square().sum(dim=-1)[..., :, None] + k_BHKD.square().sum(dim=-1)[..., None, :]
        return (2 * (q_BHQD @ k_BHKD.mT) - lengths_BHQK) / math.sqrt(q_BHQD.shape[-1])
