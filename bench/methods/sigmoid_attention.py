"""Sigmoid attention: every weight by itself, no competition between keys."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.mask import num_keys_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class SigmoidAttention(Method):
    """sigmoid(Z - log N), N the tokens of the example's sequence, also where a row allows fewer keys.

    Source: Ramapuram et al. 2025, whose bias is one number too.
    """

    source = "Ramapuram et al. 2025"
    sources = ("ramapuram2025sigmoid",)
    controls = "rows: each weight lies in (0, 1) whatever the others are"
    use_when = "rows need not compete: each key is weighed by itself"
    rows_sum_to_one = False

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        z_BHQK = self.logits(q_BHQD, k_BHKD, mask_B1QK, state)
        num_keys = num_keys_of(mask_B1QK, state)
        z_BHQK = z_BHQK - (math.log(num_keys) if isinstance(num_keys, int) else num_keys.to(z_BHQK.dtype).log())
        return z_BHQK.masked_fill(~mask_B1QK, -torch.inf).sigmoid()
