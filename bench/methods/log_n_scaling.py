"""Log-N scaled softmax: logits grow with the logarithm of the number of keys, so that long rows stay as sharp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.shaped_logits import ShapedLogits

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import Heads, State


@dataclass(frozen=True, kw_only=True)
class LogNScaling(ShapedLogits):
    """Softmax of s log(n) Z, n the number of the row's allowed keys, s learned for every head.

    s starts at N / log N!, the inverse of the mean of log n over n = 1..N: the factor is 1 on average over causal rows.
    Source: Nakanishi 2025 (Scalable-Softmax, without its bias); log n: Chiang & Cholak 2022. The start of s is ours.
    """

    source = "Nakanishi 2025; Chiang & Cholak 2022"
    sources = ("nakanishi2025scalable", "chiang2022overcoming")
    controls = "rows: sharpness does not fall with their length"
    use_when = "sequences of many lengths, or longer ones than in training"

    def init_params(self, heads: Heads) -> dict[str, Tensor]:
        num_keys = max(heads.num_keys, 2)
        return {"s": torch.full((heads.num_heads, 1, 1), num_keys / math.lgamma(num_keys + 1))}

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        z_BHQK = super().logits(q_BHQD, k_BHKD, mask_B1QK, state)
        log_n_Q1 = mask_B1QK.sum(dim=-1, keepdim=True).to(z_BHQK.dtype).log()
        return state["s"] * log_n_Q1 * z_BHQK
