"""Probes of the attention matrix and its logits: a function of a layer each, and the probe that traces it.

Shapes: B batch, H heads, Q queries, K keys. Each function but `row_entropies` returns a scalar of one model, a mean
over batch and heads unless it says otherwise; rows of padding count in none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.lazy import torch
from bench.probes.base import Attention, Probe
from bench.trace import Quantity, at_most_one, unbounded

if TYPE_CHECKING:
    from torch import Tensor


def row_entropies(layer: Attention) -> Tensor:
    """Entropy of every row in nats, in [0, log K]: (B, H, Q). Source: Zhai et al. 2023, Ent(A_i).

    Of rows that need not sum to 1, the entropy of the row divided by its sum; a row of zeros has 0. Of signed rows, of
    their absolute values divided by the sum of these.
    """
    p_BHQK = layer.p_BHQK.abs() if layer.rows_are_signed else layer.p_BHQK
    if layer.rows_are_signed or not layer.rows_sum_to_one:
        p_BHQK = p_BHQK / p_BHQK.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(p_BHQK.dtype).tiny)
    return torch.special.entr(p_BHQK).sum(dim=-1)


def least_head_entropy(entropy_BHQ: Tensor, layer: Attention) -> Tensor:
    """The least over heads of the mean of `row_entropies` over batch and rows, in [0, their mean over all]."""
    return layer.head_means_over_rows(entropy_BHQ).amin()


def entropy_share(entropy_BHQ: Tensor, layer: Attention) -> Tensor:
    """Mean of a row's entropy divided by log n, over rows that may see n >= 2 keys, in [0, 1]; 0 if none may."""
    log_n_B1Q = layer.keys_of_rows.to(entropy_BHQ.dtype).clamp_min(2).log()
    return layer.mean_over_rows(entropy_BHQ / log_n_B1Q, min_keys=2)


def uniform_entropy(layer: Attention) -> Tensor:
    """Entropy of rows that are uniform over the keys that each sees, the most that their mean can be, in [0, log K].

    The mean over rows of the log of the number of keys; a row that sees one key has 0. Source: this project. Rows that
    all see N keys have log N, causal ones log(N!) / N.
    """
    log_n_B1Q = layer.keys_of_rows.to(layer.p_BHQK.dtype).clamp_min(1).log()
    return layer.mean_over_rows(log_n_B1Q)


def frobenius_norm(layer: Attention) -> Tensor:
    """||P||_F, mean over batch and heads, in [1, sqrt Q] for stochastic rows. Source: Hong & Lee 2025, Prop. 5.3."""
    squared_BHQK = layer.p_BHQK.square()
    if layer.num_keys_BQ is not None:
        squared_BHQK = squared_BHQK * (layer.keys_of_rows > 0)[..., None]
    return squared_BHQK.sum(dim=(-2, -1)).sqrt().mean()


def row_mass(layer: Attention) -> Tensor:
    """Mean row sum of P, in [0, K]."""
    return layer.mean_over_rows(layer.p_BHQK.sum(dim=-1))


def logit_variance(layer: Attention) -> Tensor:
    """Population variance of a row of Z over its allowed keys, mean over rows. Source: Hong & Lee 2025, Def. 5.2."""
    num_allowed_Q1 = layer.mask_B1QK.sum(dim=-1, keepdim=True)
    z_BHQK = layer.z_BHQK.masked_fill(~layer.mask_B1QK, 0)
    centred_BHQK = (z_BHQK - z_BHQK.sum(dim=-1, keepdim=True) / num_allowed_Q1).masked_fill(~layer.mask_B1QK, 0)
    return layer.mean_over_rows((centred_BHQK.square().sum(dim=-1, keepdim=True) / num_allowed_Q1)[..., 0])


def max_logit(layer: Attention) -> Tensor:
    """Largest logit over allowed keys, rows, batch and heads."""
    z_BHQK = layer.z_BHQK.masked_fill(~layer.mask_B1QK, -torch.inf)
    if layer.num_keys_BQ is not None:
        z_BHQK = z_BHQK.masked_fill((layer.keys_of_rows == 0)[..., None], -torch.inf)
    return z_BHQK.amax()


@dataclass(frozen=True, kw_only=True)
class Entropy(Probe):
    """Attention entropy of every layer, mean and deviation over layers; of its least head; of uniform rows."""

    source = "Zhai et al. 2023"
    quantities: ClassVar = {
        "entropy": Quantity(
            title="Attention entropy",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="H = mean over rows of -sum_j P_ij log P_ij (Zhai et al. 2023), batch and heads averaged; of a "
            "method whose rows do not sum to 1, the entropy of the row divided by its sum; where rows are signed, of "
            "absolute values divided by their sum",
            per_layer=True,
        ),
        "entropy_mean": Quantity(
            title="Attention entropy, mean over layers",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="mean of `entropy` over layers",
            over_layers=("entropy", "mean"),
        ),
        "entropy_std": Quantity(
            title="Attention entropy, standard deviation over layers",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="population standard deviation of `entropy` over layers",
            over_layers=("entropy", "std"),
        ),
        "least_head_entropy": Quantity(
            title="Least attention entropy of a head",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="the least over a layer's heads of the head's `entropy`: one head that collapses shows in it, "
            "and hardly in the mean",
            per_layer=True,
            merge_heads="min",
        ),
        "uniform_entropy": Quantity(
            title="Attention entropy of uniform rows",
            unit="nats",
            low=0.0,
            high=math.log,
            definition="mean over rows of the log of the number of keys that a row may see, the most that `entropy` "
            "can be: log N where every row sees N keys, log(N!)/N under a causal mask, less within a window",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        entropy_BHQ = row_entropies(layer)
        return {
            "entropy": layer.mean_over_rows(entropy_BHQ),
            "least_head_entropy": least_head_entropy(entropy_BHQ, layer),
            "uniform_entropy": uniform_entropy(layer),
        }


@dataclass(frozen=True, kw_only=True)
class EntropyShare(Probe):
    """Attention entropy of each row as a share of the most that its own keys allow: rows of any length compare."""

    source = "this project"
    quantities: ClassVar = {
        "entropy_share": Quantity(
            title="Attention entropy by that of uniform rows",
            unit="share",
            low=0.0,
            high=at_most_one,
            definition="mean over rows that may see n >= 2 keys of the row's entropy (as `entropy` has it) divided by "
            "log n, batch and heads averaged: 1 where all rows are uniform, whatever their masks; rows of padding and "
            "rows of one key are left out",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        return {"entropy_share": entropy_share(row_entropies(layer), layer)}


@dataclass(frozen=True, kw_only=True)
class FrobeniusNorm(Probe):
    """How concentrated rows are: the Frobenius norm of the attention matrix."""

    source = "Hong & Lee 2025, Prop. 5.3"
    quantities: ClassVar = {
        "frobenius_norm": Quantity(
            title="||P||_F",
            unit="1",
            low=0.0,
            high=float,
            definition="Frobenius norm of the attention matrix, batch and heads averaged; where rows sum to 1 and all "
            "keys are allowed, 1 if every row is uniform and sqrt N if every row is one-hot (Hong & Lee 2025, "
            "Prop. 5.3)",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        return {"frobenius_norm": frobenius_norm(layer)}


@dataclass(frozen=True, kw_only=True)
class RowMass(Probe):
    """What a row of the attention matrix sums to."""

    source = "this project"
    quantities: ClassVar = {
        "row_mass": Quantity(
            title="Row mass",
            unit="1",
            low=0.0,
            high=float,
            definition="mean over rows of sum_j P_ij: 1 for every method whose rows sum to 1",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        return {"row_mass": row_mass(layer)}


@dataclass(frozen=True, kw_only=True)
class LogitVariance(Probe):
    """How far the logits of a row are spread."""

    source = "Hong & Lee 2025, Def. 5.2"
    quantities: ClassVar = {
        "logit_variance": Quantity(
            title="Attention logit variance",
            unit="1",
            low=0.0,
            high=unbounded,
            definition="population variance of a row of logits Z over the allowed keys, mean over rows, batch and "
            "heads (Hong & Lee 2025, Def. 5.2)",
            per_layer=True,
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        return {"logit_variance": logit_variance(layer)}


@dataclass(frozen=True, kw_only=True)
class MaxLogit(Probe):
    """The largest attention logit."""

    source = "Wortsman et al. 2023"
    quantities: ClassVar = {
        "max_logit": Quantity(
            title="Largest attention logit",
            unit="1",
            low=-math.inf,
            high=unbounded,
            definition="largest logit Z over allowed keys, rows, batch and heads",
            per_layer=True,
            merge="max",
        ),
    }

    def measure(self, layer: Attention) -> dict[str, Tensor]:
        return {"max_logit": max_logit(layer)}
