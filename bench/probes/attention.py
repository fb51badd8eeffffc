"""Quantities of one attention layer, computed from its logits and weights; defined in bench.trace.QUANTITIES.

Shapes: B batch, H heads, Q queries, K keys. Each function returns a scalar of one model.
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
    """What a layer's attention was on one batch: logits, weights, and which keys were allowed."""

    z_BHQK: Tensor
    p_BHQK: Tensor
    mask_QK: Tensor


def entropy(layer: Attention) -> Tensor:
    """Mean row entropy in nats, in [0, log K]. Source: Zhai et al. 2023, Ent(A_i)."""
    return torch.special.entr(layer.p_BHQK).sum(dim=-1).mean()


def frobenius_norm(layer: Attention) -> Tensor:
    """||P||_F, mean over batch and heads, in [1, sqrt Q] for stochastic rows. Source: Hong & Lee 2025, Prop. 5.3."""
    return layer.p_BHQK.square().sum(dim=(-2, -1)).sqrt().mean()


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
    "logit_variance": logit_variance,
    "max_logit": max_logit,
}
