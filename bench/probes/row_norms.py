"""How long rows of logits are, and the least entropy that rows of softmax of such norms can have.

Shapes: B batch, H heads, Q queries, K keys; n is the number of keys that a row may see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.lazy import torch
from bench.probes.base import Attention, Probe
from bench.trace import Quantity, unbounded

if TYPE_CHECKING:
    from torch import Tensor


def row_norms(layer: Attention) -> Tensor:
    """2-norm of every row of Z over its allowed keys, the mean of these removed: (B, H, Q); 0 of a row of padding."""
    num_allowed_BQ1 = layer.mask_B1QK.sum(dim=-1, keepdim=True).clamp_min(1)
    z_BHQK = layer.z_BHQK.masked_fill(~layer.mask_B1QK, 0)
    centred_BHQK = (z_BHQK - z_BHQK.sum(dim=-1, keepdim=True) / num_allowed_BQ1).masked_fill(~layer.mask_B1QK, 0)
    return torch.linalg.vector_norm(centred_BHQK, dim=-1)


def least_entropies(norm_BHQ: Tensor, num_keys: Tensor) -> Tensor:
    """The least entropy of softmax of n logits, mean removed, of each 2-norm, in nats, in [0, log n]; 0 where n < 2.

    num_keys: n, broadcast over the norms. Attained by one logit above equal others. Source: Zhai et al. 2023,
    Theorem 3.1, with a row's own norm s in place of the product of spectral norms:
    log(1 + (n - 1) c) + s sqrt(n (n - 1)) c / (1 + (n - 1) c), c = exp(-s sqrt(n / (n - 1))).
    """
    n = num_keys.to(norm_BHQ.dtype).clamp_min(2)
    rest = (n - 1) * torch.exp(-norm_BHQ * (n / (n - 1)).sqrt())
    least = torch.log1p(rest) + norm_BHQ * (n / (n - 1)).sqrt() * rest / (1 + rest)
    return torch.where(num_keys >= 2, least, torch.zeros_like(least))


@dataclass(frozen=True, kw_only=True)
class RowNorms(Probe):
    """Norms of rows of logits, and the least entropy that softmax can have of rows with these norms."""

    source = "Zhai et al. 2023, Theorem 3.1"
    quantities: ClassVar = {
        "row_norm": Quantity(
            title="Norm of a row of logits",
            unit="1",
            low=0.0,
            high=unbounded,
            definition="2-norm of a row of logits Z over the allowed keys, their mean removed; mean over rows, batch "
            "and heads",
            per_layer=True,
        ),
        "entropy_bound": Quantity(
            title="Least attention entropy of rows of these norms",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="mean over rows of the least entropy that softmax of n logits, n the keys that the row may see, "
            "can have with the row's 2-norm, mean removed (Zhai et al. 2023, Theorem 3.1, with measured norms)",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        norm_BHQ = row_norms(layer)
        return {
            "row_norm": layer.mean_over_rows(norm_BHQ),
            "entropy_bound": layer.mean_over_rows(least_entropies(norm_BHQ, layer.keys_of_rows)),
        }
