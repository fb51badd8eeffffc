"""Plain spectral normalisation: sigma-reparam without the learned scale, one of Zhai et al.'s open questions."""

from __future__ import annotations

from dataclasses import dataclass

from bench.methods.linear import Linear, PlainLinear, SpectralNorm
from bench.methods.sigma_reparam import QUERY_AND_KEY
from bench.methods.softmax import Softmax


@dataclass(frozen=True, kw_only=True)
class SpectralNormAll(Softmax):
    """Softmax with weights W / sigma(W) on every linear layer of the network. Source: Miyato et al. 2018, Eq. 8."""

    source = "Miyato et al. 2018, Eq. 8; Zhai et al. 2023 (open question)"
    sources = ("miyato2018spectral", "zhai2023stabilizing")
    revision = 1  # the kept vectors start as the singular ones
    controls = "spectral norm of all weights: it is 1"
    use_when = "a bound on every layer's gain is wanted more than the last bit of the loss"

    def linear(self, role: str) -> Linear:
        return SpectralNorm()


@dataclass(frozen=True, kw_only=True)
class SpectralNormQK(Softmax):
    """Softmax with weights W / sigma(W) on the query and key projections only. Source: Miyato et al. 2018, Eq. 8."""

    source = "Miyato et al. 2018, Eq. 8; Zhai et al. 2023 (open question)"
    sources = ("miyato2018spectral", "zhai2023stabilizing")
    revision = 1  # the kept vectors start as the singular ones
    controls = "spectral norm of the query and key weights: it is 1"
    use_when = "beside sigma_reparam_qk: what its learned gamma is worth"

    def linear(self, role: str) -> Linear:
        return SpectralNorm() if role in QUERY_AND_KEY else PlainLinear()
