"""The scales that decide how far logits can spread: gammas of queries and keys, spectral norms of their projections.

Of one layer. Shapes: I inputs, O outputs. Each function returns a scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Scales:
    """What a layer's queries and keys are multiplied by. Gammas of any shape, alike; None where the method has none."""

    weight_query_IO: Tensor
    weight_key_IO: Tensor
    gamma_query: Tensor | None
    gamma_key: Tensor | None


def root_mean_square(gamma: Tensor) -> Tensor:
    """|gamma| / sqrt(size): 1 for a gamma of ones of any size, the absolute value of a scalar."""
    return gamma.square().mean().sqrt()


def mean_product(gamma_query: Tensor, gamma_key: Tensor) -> Tensor:
    """Mean of |gamma_q gamma_k| over elements: how much logits of standardised queries and keys are stretched."""
    return (gamma_query * gamma_key).abs().mean()


def spectral_norm(weight_IO: Tensor) -> Tensor:
    """The largest singular value; NaN of weights that are not finite."""
    if not weight_IO.isfinite().all():
        return weight_IO.new_full((), torch.nan)
    return torch.linalg.matrix_norm(weight_IO, ord=2)


_OF_GAMMAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gamma_query": lambda query, key: root_mean_square(query),
    "gamma_key": lambda query, key: root_mean_square(key),
    "gamma_product": mean_product,
}
GAINS = (*_OF_GAMMAS, "spectral_norm_query", "spectral_norm_key")


def gains(layer: Scales) -> dict[str, float]:
    """The values of those of GAINS that the layer has."""
    values = {
        "spectral_norm_query": spectral_norm(layer.weight_query_IO),
        "spectral_norm_key": spectral_norm(layer.weight_key_IO),
    }
    if layer.gamma_query is not None and layer.gamma_key is not None:
        values |= {name: measure(layer.gamma_query, layer.gamma_key) for name, measure in _OF_GAMMAS.items()}
    return {name: float(values[name]) for name in GAINS if name in values}
