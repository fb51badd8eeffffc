"""Weight normalisation in the place of sigma-reparam, one of Zhai et al.'s open questions."""

from __future__ import annotations

from dataclasses import dataclass

from bench.methods.linear import Linear, PlainLinear, WeightNorm
from bench.methods.sigma_reparam import QUERY_AND_KEY
from bench.methods.softmax import Softmax


@dataclass(frozen=True, kw_only=True)
class WeightNormAll(Softmax):
    """Softmax with weights g v / |v| for every output of every linear layer of the network.

    Source: Salimans & Kingma 2016, Eq. 2.
    """

    source = "Salimans & Kingma 2016, Eq. 2; Zhai et al. 2023 (open question)"
    sources = ("salimans2016weight", "zhai2023stabilizing")
    controls = "norms of all weights' columns, up to the learned g"
    use_when = "beside sigma_reparam: a cheap norm in place of the spectral one, on every layer"

    def linear(self, role: str) -> Linear:
        return WeightNorm()


@dataclass(frozen=True, kw_only=True)
class WeightNormQK(Softmax):
    """Softmax with weights g v / |v| for every output of the query and key projections only.

    Source: Salimans & Kingma 2016, Eq. 2.
    """

    source = "Salimans & Kingma 2016, Eq. 2; Zhai et al. 2023 (open question)"
    sources = ("salimans2016weight", "zhai2023stabilizing")
    controls = "norms of the query and key weights' columns, up to the learned g"
    use_when = "beside sigma_reparam_qk: a cheap norm in place of the spectral one"

    def linear(self, role: str) -> Linear:
        return WeightNorm() if role in QUERY_AND_KEY else PlainLinear()
