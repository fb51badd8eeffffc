"""A thermostat with feedback: heads whose entropy falls below a set point are heated until it is back.

Shapes: B batch, H heads, Q queries, K keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt, Lt

from bench.interventions.base import OnAttention
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class EntropyThermostat(OnAttention):
    """Logits of a head divided by 1 + gain (set_point - share), where its share of the most entropy is below.

    The share is that of softmax of the logits, mean over batch and rows that see two keys or more, over the entropy of
    uniform rows. No gradient flows through the temperature. A proportional controller without delay.
    """

    strength: ClassVar = "gain"
    neutral: ClassVar = 0.0

    gain: Annotated[float, Gt(0)] = 4.0
    set_point: Annotated[float, Gt(0), Lt(1)] = 0.5

    @property
    def variant(self) -> str:
        return f"set_point {self.set_point!r}"

    def logits(self, z_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        p_BHQK = z_BHQK.detach().masked_fill(~mask_B1QK, -torch.inf).softmax(dim=-1)
        most_Q = mask_B1QK.sum(dim=-1).to(z_BHQK.dtype).clamp_min(1).log()
        entropy_BHQ = torch.special.entr(p_BHQK).sum(dim=-1).masked_fill(most_Q == 0, 0)
        share_H = entropy_BHQ.mean(dim=(0, 2)) / most_Q.mean().clamp_min(torch.finfo(z_BHQK.dtype).tiny)
        lacking_H11 = (self.set_point - share_H).clamp_min(0)[:, None, None]
        return z_BHQK / (1 + strength_H11 * lacking_H11)
