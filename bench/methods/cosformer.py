"""cosFormer: ReLU kernel attention whose similarity falls with distance as a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.kernel import normalized_rows

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class CosFormer(Method):
    """P_ij proportional to ReLU(q_i) . ReLU(k_j) cos(pi (i - j) / (2 N)), N the tokens of the sequence.

    Source: Qin et al. 2022. A row without any similarity is uniform over its allowed keys, as for the
    other kernels; the authors' code gives nothing to any key there.
    """

    source = "Qin et al. 2022"
    sources = ("qin2022cosformer",)
    controls = "variance: entropy does not depend on the scale of the logits; rows: near keys count more"
    reads_logits = False

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_QK: Tensor, state: State) -> Tensor:
        num_queries, num_keys = mask_QK.shape
        position_K = torch.arange(num_keys, device=q_BHQD.device)
        distance_QK = position_K[num_keys - num_queries :, None] - position_K
        nearness_QK = (math.pi / 2 * distance_QK.to(torch.float64) / num_keys).cos().to(q_BHQD.dtype)
        similarity_BHQK = (q_BHQD.relu() @ k_BHKD.relu().mT) * nearness_QK * mask_QK
        return normalized_rows(similarity_BHQK, mask_QK)
