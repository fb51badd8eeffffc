"""Quantities of one attention layer, computed from its logits and weights; defined in bench.trace.QUANTITIES.

Shapes: B batch, H heads, Q queries, K keys. Each function returns a scalar of one model. `mean` quantities are means
over batch and heads, so a large layer is observed in equal parts and the parts averaged; of `max_logit` the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What a layer's attention was on one batch: logits, weights, which keys were allowed, whether rows sum to 1."""

    z_BHQK: Tensor
    p_BHQK: Tensor
    mask_QK: Tensor
    rows_sum_to_one: bool = True


def entropy(layer: Attention) -> Tensor:
    """Mean row entropy in nats, in [0, log K]. Source: Zhai et al. 2023, Ent(A_i).

    Of rows that need not sum to 1, the entropy of the row divided by its sum; a row of zeros has 0.
    """
    p_BHQK = layer.p_BHQK
    if not layer.rows_sum_to_one:
        p_BHQK = p_BHQK / p_BHQK.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(p_BHQK.dtype).tiny)
    return torch.special.entr(p_BHQK).sum(dim=-1).mean()


def frobenius_norm(layer: Attention) -> Tensor:
    """||P||_F, mean over batch and heads, in [1, sqrt Q] for stochastic rows. Source: Hong & Lee 2025, Prop. 5.3."""
    return layer.p_BHQK.square().sum(dim=(-2, -1)).sqrt().mean()


def row_mass(layer: Attention) -> Tensor:
    """Mean row sum of P, in [0, K]."""
    return layer.p_BHQK.sum(dim=-1).mean()


def logit_variance(layer: Attention) -> Tensor:
    """Population variance of a row of Z over its allowed keys, mean over rows. Source: Hong & Lee 2025, Def. 5.2."""
    num_allowed_Q1 = layer.mask_QK.sum(dim=-1, keepdim=True)
    z_BHQK = layer.z_BHQK.masked_fill(~layer.mask_QK, 0)
    centred_BHQK = (z_BHQK - z_BHQK.sum(dim=-1, keepdim=True) / num_allowed_Q1).masked_fill(~layer.mask_QK, 0)
    return (centred_BHQK.square().sum(dim=-1, keepdim=True) / num_allowed_Q1).mean()


def max_logit(layer: Attention) -> Tensor:
    """Largest logit over allowed keys, rows, batch and heads."""
    return layer.z_BHQK.masked_fill(~layer.mask_QK, -torch.inf).amax()


ATTENTION_PROBES: dict[str, Callable[[Attention], Tensor]] = {
    "entropy": entropy,
    "frobenius_norm": frobenius_norm,
    "row_mass": row_mass,
    "logit_variance": logit_variance,
    "max_logit": max_logit,
}


def observe(layer: Attention) -> Tensor:
    """All of ATTENTION_PROBES in their order: (quantities,)."""
    return torch.stack([probe(layer) for probe in ATTENTION_PROBES.values()])


def merge(parts: list[Tensor]) -> Tensor:
    """What `observe` would give of a layer, from `observe` of equal parts of its batch and heads."""
    stacked = torch.stack(parts)
    is_max = torch.tensor([name.startswith("max_") for name in ATTENTION_PROBES], device=stacked.device)
    return torch.where(is_max, stacked.amax(dim=0), stacked.mean(dim=0))
