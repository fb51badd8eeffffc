"""sigma-reparam: softmax attention whose query and key projections are divided by their spectral norms."""

from __future__ import annotations

from dataclasses import dataclass

from bench.methods.linear import Linear, PlainLinear, SigmaReparam
from bench.methods.softmax import Softmax

ROLES: dict[str, Linear] = {"query": SigmaReparam(), "key": SigmaReparam(), "value": PlainLinear()}


@dataclass(frozen=True, kw_only=True)
class SigmaReparamQK(Softmax):
    """gamma W / sigma(W) on the query and key projections only, as Hong & Lee apply it.

    Source: Zhai et al. 2023 (on every linear layer there); Hong & Lee 2025.
    """

    source = "Hong & Lee 2025; Zhai et al. 2023"
    controls = "spectral norm of the query and key weights"

    def linear(self, role: str) -> Linear:
        return ROLES[role]
