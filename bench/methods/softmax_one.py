"""Softmax-1 (off by one): a row may give less than 1 in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class SoftmaxOne(Method):
    """exp(Z) / (1 + sum exp(Z)) over each row: softmax with a further key of logit 0 that has no value.

    Source: Miller 2023, "Attention is off by one"; Kaul et al. 2025.
    """

    source = "Miller 2023; Kaul et al. 2025"
    sources = ("miller2023attention", "kaul2025attention")
    controls = "rows: their sum falls to 0 where all logits are low"
    use_when = "a head should be able to attend to nothing"
    rows_sum_to_one = False

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        z_BHQK = self.logits(q_BHQD, k_BHKD, mask_B1QK, state).masked_fill(~mask_B1QK, -torch.inf)
        return torch.nn.functional.pad(z_BHQK, (0, 1)).softmax(dim=-1)[..., :-1]
