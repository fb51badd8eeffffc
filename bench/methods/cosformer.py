"""cosFormer: ReLU kernel attention whose similarity falls with distance as a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.kernel import normalized_rows
from bench.methods.mask import num_keys_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class CosFormer(Method):
    """P_ij proportional to ReLU(q_i) . ReLU(k_j) cos(pi (i - j) / (2 N)), N the tokens of the example's sequence.

    In cross-attention i and j both count from the start and N is the longer of the two sequences, as in the authors'
    code; padding, which theirs counts, counts in neither. Source: Qin et al. 2022. A row without any similarity is
    uniform over its allowed keys, as for the other kernels; the authors' code gives nothing to any key there.
    """

    source = "Qin et al. 2022"
    sources = ("qin2022cosformer",)
    controls = "variance: entropy does not depend on the scale of the logits; rows: near keys count more"
    use_when = "long sequences, at a cost linear in their length, in which near tokens matter more"
    reads_logits = False

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        position_Q, position_K = (torch.arange(x.shape[-2], device=x.device) for x in (q_BHQD, k_BHKD))
        distance_QK = position_Q[:, None] - position_K
        num_queries = q_BHQD.shape[-2] if "num_queries" not in state else state["num_queries"]
        longest = _longer(num_queries, num_keys_of(mask_B1QK, state))
        nearness_B1QK = (math.pi / 2 * distance_QK.to(torch.float64) / longest).cos().to(q_BHQD.dtype)
        nearness_B1QK = nearness_B1QK.clamp_min(0)  # of queries that are padding, which may lie further off than N
        similarity_BHQK = (q_BHQD.relu() @ k_BHKD.relu().mT) * nearness_B1QK * mask_B1QK
        return normalized_rows(similarity_BHQK, mask_B1QK)


def _longer(num_queries: int | Tensor, num_keys: int | Tensor) -> int | Tensor:
    """The larger of the two numbers of tokens, of each example where either is."""
    if isinstance(num_queries, int):
        return max(num_queries, num_keys) if isinstance(num_keys, int) else num_keys.clamp_min(num_queries)
    return num_queries.clamp_min(num_keys) if isinstance(num_keys, int) else torch.maximum(num_queries, num_keys)
