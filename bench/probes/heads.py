"""Probes that tell heads and rows apart: those that collapsed, those on the first token, rows near one-hot.

Shapes: B batch, H heads, Q queries, K keys. Rows that see one key are left out: they are one-hot whatever the logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt, Lt

from bench.lazy import torch
from bench.probes.attention import row_entropies
from bench.probes.base import Attention, Probe
from bench.trace import Quantity, at_most_one

if TYPE_CHECKING:
    from torch import Tensor

# The largest weight of a row above which theta(p), the largest of 4 s (1 - s) over sums s of its weights, is below 1/2:
# sums of other weights lie below 1 minus it, and with a smaller one some sum lies between.
SHARP_WEIGHT = (1 + math.sqrt(0.5)) / 2


def normalised(layer: Attention) -> Tensor:
    """Rows that sum to 1, (B, H, Q, K): |P|, each row divided by its sum; a row of zeros stays so."""
    p_BHQK = layer.p_BHQK.abs() if layer.rows_are_signed else layer.p_BHQK
    return p_BHQK / p_BHQK.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(p_BHQK.dtype).tiny)


def mean_over_rows(values_BHQ: Tensor, layer: Attention) -> Tensor:
    """Mean over the rows that see two keys or more, (B, H); 0 if none does."""
    counts_B1Q = (layer.keys_of_rows > 1).to(values_BHQ.dtype)
    return (values_BHQ * counts_B1Q).sum(dim=-1) / counts_B1Q.sum(dim=-1).clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class Heads(Probe):
    """How many heads of a layer collapsed, and how many look at the first token, which are left out of those.

    collapsed_below: the share of the entropy of uniform rows below which a head collapsed; first_token_above: the mean
    weight of the first token above which a head is on it. Each head is judged in each sequence.
    """

    source = "Zhai et al. 2023; Xiao et al. 2024 (sinks)"
    quantities: ClassVar = {
        "collapsed_heads": Quantity(
            title="Collapsed heads",
            unit="share",
            low=0.0,
            high=at_most_one,
            definition="share of a layer's heads, in each sequence of the probed batch, that are not on the first "
            "token and whose entropy, mean over rows, is below `collapsed_below` (0.1) of that of uniform rows",
            per_layer=True,
        ),
        "first_token_heads": Quantity(
            title="Heads on the first token",
            unit="share",
            low=0.0,
            high=at_most_one,
            definition="share of a layer's heads, in each sequence of the probed batch, whose rows give the first "
            "token more than `first_token_above` (0.5) of their weight on average: sinks, of low entropy and healthy",
            per_layer=True,
        ),
        "least_entropy_off_first_token": Quantity(
            title="Least entropy of a head off the first token",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="the least over a layer's heads and the sequences of the entropy, mean over rows, of heads that "
            "are not on the first token; that of uniform rows if all are on it",
            per_layer=True,
            merge="min",
        ),
    }

    collapsed_below: Annotated[float, Gt(0), Lt(1)] = 0.1
    first_token_above: Annotated[float, Gt(0), Lt(1)] = 0.5

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        entropy_BH = mean_over_rows(row_entropies(layer), layer)
        num_keys_B1Q = layer.keys_of_rows.to(entropy_BH.dtype).clamp_min(1)
        uniform_BH = mean_over_rows(num_keys_B1Q.log().expand(*entropy_BH.shape, -1), layer)
        is_first_BH = mean_over_rows(normalised(layer)[..., 0], layer) > self.first_token_above
        has_collapsed_BH = ~is_first_BH & (entropy_BH < self.collapsed_below * uniform_BH)
        return {
            "collapsed_heads": has_collapsed_BH.to(entropy_BH.dtype).mean(),
            "first_token_heads": is_first_BH.to(entropy_BH.dtype).mean(),
            "least_entropy_off_first_token": torch.where(is_first_BH, uniform_BH, entropy_BH).amin(),
        }


@dataclass(frozen=True, kw_only=True)
class SharpRows(Probe):
    """How many rows are so near one-hot that softmax passes less than half of the gradient that it could."""

    source = "2602.18849, theta of the softmax Jacobian"
    quantities: ClassVar = {
        "sharp_rows": Quantity(
            title="Rows with theta < 1/2",
            unit="share",
            low=0.0,
            high=at_most_one,
            definition="share of rows p that see two keys or more with theta(p) < 1/2, theta(p) = largest of "
            "4 s (1 - s) over sums s of weights, the (infinity -> 1) norm of the Jacobian of softmax at temperature "
            "1: rows with a weight above (1 + sqrt(1/2))/2 = 0.854",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        is_sharp_BHQ = (normalised(layer).amax(dim=-1) > SHARP_WEIGHT).to(layer.p_BHQK.dtype)
        return {"sharp_rows": mean_over_rows(is_sharp_BHQ, layer).mean()}
