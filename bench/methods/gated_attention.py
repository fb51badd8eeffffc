"""Gated attention: each head's output times a sigmoid of a projection of the layer's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.methods.softmax import Softmax

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GatedAttention(Softmax):
    """(P V) sigmoid(X W_gate), element by element, before the output projection.

    Source: Qiu et al. 2025, position G1, elementwise and head-specific. W_gate starts as the other projections do, so
    gates start near 1/2; the paper doesn't state more.
    """

    source = "Qiu et al. 2025 (position G1)"
    sources = ("qiu2025gated",)
    controls = "output: a head can close itself; P is softmax's"
    use_when = "heads that should be able to close; softmax itself stays as it is"
    roles = ("gate",)

    def combine(self, o_BHQD: Tensor, projected: dict[str, Tensor]) -> Tensor:
        return o_BHQD * projected["gate"].sigmoid()
