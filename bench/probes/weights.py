"""Probes of what decides how far logits can spread: spectral norms of query and key weights, and gammas.

Shapes: A layers, C channels, H heads, D width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from bench.lanczos import largest_eigenvalue, largest_singular_value
from bench.lazy import torch
from bench.probes.gains import mean_product, root_mean_square
from bench.probes.model import Model, ModelProbe
from bench.randomness import normal
from bench.trace import Quantity, unbounded

if TYPE_CHECKING:
    from torch import Tensor


def product_norm(query_CD: Tensor, key_CD: Tensor, start_C: Tensor, num_iterations: int) -> Tensor:
    """|W_q W_k^T|_2 of one head, a scalar, from below; the (C, C) product is never made."""

    def squared(x_C: Tensor) -> Tensor:
        y_C = key_CD @ (query_CD.mT @ x_C)
        return query_CD @ (key_CD.mT @ y_C)

    return largest_eigenvalue(squared, start_C, num_iterations).clamp_min(0).sqrt()


def _norm(what: str) -> Quantity:
    definition = f"largest singular value of {what}, as it multiplies inputs (reparametrised, unscaled by 1/sqrt D)"
    return Quantity(
        title=f"Spectral norm of {what}", unit="1", low=0.0, high=unbounded, definition=definition, per_layer=True
    )


@dataclass(frozen=True, kw_only=True)
class SpectralNorms(ModelProbe):
    """Spectral norms of query and key weights and of the product of both by head, the largest and the mean of heads.

    From below, by `iterations` of Lanczos from a fixed vector: two products with each weight an iteration. Twelve leave
    less than 0.1% of matrices of normals.
    """

    source = "Zhai et al. 2023, Theorem 3.1"
    quantities: ClassVar = {
        "query_norm": _norm("W_q"),
        "key_norm": _norm("W_k"),
        "query_key_norm": _norm("W_q W_k^T of a head, the largest over heads"),
        "query_key_norm_mean": _norm("W_q W_k^T of a head, the mean over heads"),
    }

    iterations: Annotated[int, Ge(1)] = 12

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        query_ACO, key_ACO = (
            torch.stack([getattr(one, f"weight_{role}_IO") for one in model.scales]) for role in ("query", "key")
        )
        zero = torch.zeros_like(model.step)
        start_C = normal(zero, "probes.start", zero, tuple(query_ACO.shape[1:2])).to(query_ACO)

        def of_weight(weight_CO: Tensor) -> Tensor:
            return largest_singular_value(weight_CO, start_C, self.iterations)

        def of_head(query_CD: Tensor, key_CD: Tensor) -> Tensor:
            return product_norm(query_CD, key_CD, start_C, self.iterations)

        by_head = torch.func.vmap(torch.func.vmap(of_head, in_dims=1), in_dims=0)
        heads = (model.num_heads, -1)
        product_AH = by_head(query_ACO.unflatten(-1, heads), key_ACO.unflatten(-1, heads))
        return {
            "query_norm": torch.func.vmap(of_weight)(query_ACO),
            "key_norm": torch.func.vmap(of_weight)(key_ACO),
            "query_key_norm": product_AH.amax(dim=-1),
            "query_key_norm_mean": product_AH.mean(dim=-1),
        }


def _gamma(of: str, definition: str) -> Quantity:
    return Quantity(title=f"Gamma of {of}", unit="1", low=0.0, high=unbounded, definition=definition, per_layer=True)


@dataclass(frozen=True, kw_only=True)
class Gammas(ModelProbe):
    """Learned factors of normalised queries and keys, of methods that have them; of others nothing is traced."""

    source = "Hong & Lee 2025, Fig. 8"
    needs = ("gammas",)
    quantities: ClassVar = {
        "gamma_query": _gamma("queries", "|gamma_q| / sqrt(size): the factor itself if it is a scalar, 1 at ones"),
        "gamma_key": _gamma("keys", "|gamma_k| / sqrt(size): the factor itself if it is a scalar, 1 at ones"),
        "gamma_product": _gamma("both", "mean of |gamma_q gamma_k| over elements: the factor on logits"),
    }

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        pairs = [(one.gamma_query, one.gamma_key) for one in model.scales]
        both = [(query, key) for query, key in pairs if query is not None and key is not None]
        if len(both) < len(pairs):
            return dict.fromkeys(self.quantities, model.missing())
        return {
            "gamma_query": torch.stack([root_mean_square(query) for query, _ in both]),
            "gamma_key": torch.stack([root_mean_square(key) for _, key in both]),
            "gamma_product": torch.stack([mean_product(query, key) for query, key in both]),
        }
