"""L2 self-attention: similarity is minus the squared distance of query and key, both from one projection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.shaped_logits import ShapedLogits, widened

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class L2Attention(ShapedLogits):
    """Softmax of -|q - k|^2 / sqrt(D), queries and keys from one projection; its scale is its own, not the model's.

    Source: Kim et al. 2021, Sec. 3.2. Departure: the paper's values are X A W_V with A = W_Q W_Q^T / sqrt(D), on which
    its bound of the Lipschitz constant rests; here they are the model's, so the bound holds for P alone (times X A).
    """

    source = "Kim et al. 2021, Sec. 3.2"
    controls = "logits: they are at most 0, and a token's own is the largest; the Jacobian of P X A is bounded"
    ties_query_and_key = True

    def logit_scale(self, default: float) -> float:
        return 1.0

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_QK: Tensor, state: State) -> Tensor:
        with torch.autocast(q_BHQD.device.type, enabled=False):
            q_BHQD, k_BHKD = widened(q_BHQD), widened(k_BHKD)
            lengths_BHQK = q_BHQD.square().sum(dim=-1)[..., :, None] + k_BHKD.square().sum(dim=-1)[..., None, :]
            return (2 * (q_BHQD @ k_BHKD.mT) - lengths_BHQK) / math.sqrt(q_BHQD.shape[-1])
