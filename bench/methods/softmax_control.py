"""Softmax's function by other operations: a control, which differs from softmax by rounding alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class SoftmaxControl(Method):
    """2^((Z - max Z) log2 e) normalised over each row: softmax's function, dense, so that only rounding differs.

    An A/A control: what it scores apart from softmax is what rounding alone does to a score, and smaller differences
    between methods mean nothing. It gets no rank.
    """

    source = "Vaswani et al. 2017, Eq. 1, by other operations (this project)"
    sources = ("vaswani2017attention",)
    controls = "nothing: softmax by other operations"
    use_when = "beside softmax, as an A/A control: how far rounding alone moves scores"
    control_of = "softmax"

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        z_BHQK = self.logits(q_BHQD, k_BHKD, mask_B1QK, state).masked_fill(~mask_B1QK, -torch.inf)
        largest_BHQ1 = z_BHQK.detach().amax(dim=-1, keepdim=True)
        powers_BHQK = ((z_BHQK - largest_BHQ1) * math.log2(math.e)).exp2()
        return powers_BHQK / powers_BHQK.sum(dim=-1, keepdim=True)
