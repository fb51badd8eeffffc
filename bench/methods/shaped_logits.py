"""Softmax of logits that are more than Q K^T: what its methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.methods.base import Method
from bench.methods.softmax import masked_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class ShapedLogits(Method):
    """Softmax of Z; subclass it and override `logits`. No fast path of plain softmax applies."""

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        return masked_softmax(self.logits(q_BHQD, k_BHKD, mask_B1QK, state), mask_B1QK)
