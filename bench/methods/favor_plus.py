"""FAVOR+: softmax attention estimated with positive orthogonal random features (Performer)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.precision import widened
from bench.methods.softmax import masked_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import Heads, State
    from bench.methods.linear import Draw

STABILIZER = 1e-6  # the authors' code adds it to features whose largest is 1; here to their products


@dataclass(frozen=True, kw_only=True)
class FavorPlus(Method):
    """P_ij proportional to phi(q_i) . phi(k_j), phi_m(x) = exp(w_m . x - |x|^2 / 2), w_m orthogonal in blocks of D.

    The w_m have the norms of independent Gaussian vectors, so that phi(q) . phi(k) / M estimates exp(q . k) without
    bias. Queries and keys are balanced by D^(1/4), which halves the model's 1/sqrt(D) between them.
    Source: Choromanski et al. 2021, Lemma 1; 256 features, the same for all heads, as in the authors' code. Departures:
    the features are drawn once a trial and never again; each key is stabilised by its own largest feature, not by that
    of all keys, so that a row depends on no later key.
    """

    source = "Choromanski et al. 2021, Lemma 1"
    sources = ("choromanski2021performers",)
    controls = "nothing by intent: an estimate of softmax whose noise grows with the norms of queries and keys"
    use_when = "long sequences, at a cost linear in their length, with an estimate of softmax itself"
    reads_logits = False

    num_features: Annotated[int, Ge(1)] = 256

    def init_buffers(self, heads: Heads, draw: Draw) -> dict[str, Tensor]:
        num_blocks = -(-self.num_features // heads.width)
        basis, triangle = torch.linalg.qr(draw("directions", (num_blocks, heads.width, heads.width)))
        # QR fixes signs by convention; with those of R taken back, the directions are uniform on the sphere.
        directions_MD = (basis * triangle.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]).mT.flatten(0, 1)
        norm_M = draw("norms", (self.num_features, heads.width)).square().sum(dim=-1).sqrt()
        return {"features": (norm_M[:, None] * directions_MD[: self.num_features])[None]}

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        features_1DM = widened(state["features"]).mT
        balance = q_BHQD.shape[-1] ** 0.25
        k_scaled_BHKD = k_BHKD / balance
        # Logarithms of features. What is the same for all keys of a row, such as |q|^2 / 2, cancels.
        log_q_BHQM = (q_BHQD * balance) @ features_1DM
        log_k_BHKM = k_scaled_BHKD @ features_1DM - k_scaled_BHKD.square().sum(dim=-1, keepdim=True) / 2
        largest_BHK1 = log_k_BHKM.amax(dim=-1, keepdim=True)
        phi_q_BHQM = (log_q_BHQM - log_q_BHQM.amax(dim=-1, keepdim=True)).exp()
        phi_k_BHKM = (log_k_BHKM - largest_BHK1).exp()
        estimate_BHQK = phi_q_BHQM @ phi_k_BHKM.mT / self.num_features
        log_similarity_BHQK = (estimate_BHQK + STABILIZER).log() + largest_BHK1.mT
        return masked_softmax(log_similarity_BHQK, mask_B1QK)
