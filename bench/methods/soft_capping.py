"""Logit soft-capping: logits bent so that they stay below a cap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.methods.shaped_logits import ShapedLogits

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class SoftCapping(ShapedLogits):
    """Softmax of cap tanh(Z / cap).

    Source: Gemma Team 2024 (Gemma 2), Sec. 2, cap 50 in attention; Bello et al. 2016.
    """

    source = "Gemma Team 2024 (Gemma 2), Sec. 2; Bello et al. 2016"
    sources = ("gemma2024gemma2", "bello2016neural")
    controls = "logits: they lie in (-cap, cap)"
    use_when = "logits must be bounded at no cost in parameters; costs the fused softmax"

    cap: Annotated[float, Gt(0)] = 50.0

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        return self.cap * (super().logits(q_BHQD, k_BHKD, mask_B1QK, state) / self.cap).tanh()
