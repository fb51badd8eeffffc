"""LipschitzNorm: logits divided by the largest that their norms allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.shaped_logits import ShapedLogits

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class LipschitzNorm(ShapedLogits):
    """Softmax of q_i . k_j / (|q_i| max_j |k_j|), the maximum over the row's allowed keys: |Z| <= 1, unscaled.

    Source: Dasoulas et al. 2021, for scaled dot products. Departures, for which their bound of the Lipschitz constant
    is not claimed: the authors' code (Quadratic_LipschitzNorm) divides logits already scaled by 1/sqrt(D) by
    max(|Q| |K|, |Q| |V|, |K| |V|), |Q| the Frobenius norm of all queries of a head, |K| and |V| the largest norms of a
    row's keys and values. Here values play no part, and each query counts alone, so that a causal row depends neither
    on later tokens nor on other sequences; logits are about sqrt(D N) times theirs where N queries have one norm.
    """

    source = "Dasoulas et al. 2021"
    sources = ("dasoulas2021lipschitz",)
    controls = "logits: they lie in [-1, 1]"
    use_when = "deep models whose layers need a known Lipschitz constant; attention stays flat"

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        q_BHQD = torch.nn.functional.normalize(q_BHQD, dim=-1)
        norm_BHQK = torch.linalg.vector_norm(k_BHKD, dim=-1)[..., None, :].masked_fill(~mask_B1QK, 0)
        largest_BHQ1 = norm_BHQK.amax(dim=-1, keepdim=True).clamp_min(1e-12)  # as `normalize` has it
        return q_BHQD @ k_BHKD.mT / largest_BHQ1
