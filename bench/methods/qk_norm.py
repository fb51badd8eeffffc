"""QKNorm: cosine similarities times a learned scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.softmax import Softmax

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import Heads, State


@dataclass(frozen=True, kw_only=True)
class QKNorm(Softmax):
    """Softmax of g q . k / (|q| |k|), g one learned scalar a layer that starts at log2(N^2 - N).

    Source: Henry et al. 2020. N there is the 97.5th percentile of the lengths of sequences; here they all have
    the length N. The model's scale of logits plays no part.
    """

    source = "Henry et al. 2020"
    sources = ("henry2020qknorm",)
    controls = "norm of queries and keys: logits lie in [-g, g], g learned"
    use_when = "logits must be bounded, with one learned scale in place of a gain for each feature"

    def init_params(self, heads: Heads) -> dict[str, Tensor]:
        num_keys = max(heads.num_keys, 2)
        return {"g": torch.full((1, 1, 1), math.log2(num_keys**2 - num_keys))}

    def logit_scale(self, default: float) -> float:
        return 1.0

    def normalize(self, q_BHQD: Tensor, k_BHKD: Tensor, state: State) -> tuple[Tensor, Tensor]:
        q_BHQD, k_BHKD = (torch.nn.functional.normalize(x, dim=-1) for x in (q_BHQD, k_BHKD))
        return state["g"] * q_BHQD, k_BHKD
