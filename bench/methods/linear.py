"""How a linear layer's weight is parametrised: plain, or divided by its spectral norm or by its columns' norms.

Shapes: I inputs, O outputs; x @ W with W of shape (I, O). `buffers` are kept between steps and never trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

# query, key, value: what attention reads; output: what it gives back; mlp_*: the block's MLP; embedding: patches of an
# image; readout: logits of classes or tokens, unless tied to the token embedding (a lookup, which no method changes).
ROLES = ("query", "key", "value", "output", "mlp_in", "mlp_gate", "mlp_out", "embedding", "readout")

GammaInit = Literal["one", "sigma"]
Draw = Callable[[str, tuple[int, ...]], "Tensor"]  # name, shape -> standard normals; the same for the same seed


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A parametrisation of one weight. `params` and `buffers` hold this layer's tensors by short names."""

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Params and buffers of a layer whose raw weight starts as `weight_IO`."""
        raise NotImplementedError

    def refresh(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Buffers for the coming step; runs once before every forward pass in training, without gradient."""
        return buffers

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        """The weight that multiplies the inputs, (I, O)."""
        raise NotImplementedError

    def gamma(self, params: dict[str, Tensor]) -> Tensor | None:
        """The learned factor on a weight of fixed size, to look at; None if the parametrisation has none."""
        return None


@dataclass(frozen=True, kw_only=True)
class PlainLinear(Linear):
    """W itself."""

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"weight": weight_IO}, {}

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return params["weight"]


@dataclass(frozen=True, kw_only=True)
class WeightNorm(Linear):
    """g v / |v| for every output, the norm over its inputs, g learned (O,).

    Source: Salimans & Kingma 2016, Eq. 2. Departure: g starts at |v|, so that training starts from the model's own
    weights, as torch.nn.utils.weight_norm does; the paper sets g from a first batch. A column of zeros, where the
    quotient is 0/0, stays 0 and passes finite gradients.
    """

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"weight": weight_IO, "gain": _norm(weight_IO)}, {}

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return params["weight"] * (params["gain"] / _norm(params["weight"]))


@dataclass(frozen=True, kw_only=True)
class SpectralNorm(Linear):
    """W / sigma(W), sigma the spectral norm by power iteration.

    One iteration a step with kept vectors; sigma = u^T W v, differentiated through W alone. The vectors start as the
    singular ones, so that the first step already divides by sigma.
    Source: Miyato et al. 2018, Alg. 1, which starts from random vectors; those of the start: Zhai et al.'s code.
    """

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        left_I, right_O = _top_singular_vectors(weight_IO)
        return {"weight": weight_IO}, {"left": left_I, "right": right_O}

    def refresh(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        weight_IO = params["weight"]
        right_O = _unit(_times(weight_IO.mT, buffers["left"]))
        return {"left": _unit(_times(weight_IO, right_O)), "right": right_O}

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return params["weight"] / self.sigma(params["weight"], buffers)

    def sigma(self, weight_IO: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        """The spectral norm as the kept vectors have it, a scalar."""
        return (buffers["left"] * _times(weight_IO, buffers["right"])).sum()


@dataclass(frozen=True, kw_only=True)
class SigmaReparam(SpectralNorm):
    """gamma W / sigma(W), gamma a learned scalar that starts at 1, or at sigma(W): the weight then starts as W itself.

    Source: Zhai et al. 2023, Sec. 3.2. Their public code starts gamma at 1 for speech and at sigma(W) for vision.
    """

    gamma_init: GammaInit = "one"

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        params, buffers = super().init(weight_IO, draw)
        sigma = self.sigma(weight_IO, buffers)
        return params | {"gamma": sigma if self.gamma_init == "sigma" else torch.ones_like(sigma)}, buffers

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return params["gamma"] / self.sigma(params["weight"], buffers) * params["weight"]

    def gamma(self, params: dict[str, Tensor]) -> Tensor | None:
        return params["gamma"]


def _top_singular_vectors(weight_IO: Tensor) -> tuple[Tensor, Tensor]:
    """The left (I,) and right (O,) vector of the largest singular value, by that of the smaller Gram matrix in float64.

    Of a weight that is not finite those of its finite entries, so that the trial diverges and the pack goes on.
    """
    exact_IO = weight_IO.double().where(weight_IO.isfinite(), 0)
    is_tall = weight_IO.shape[0] > weight_IO.shape[1]
    gram = exact_IO.mT @ exact_IO if is_tall else exact_IO @ exact_IO.mT
    _, vectors = torch.linalg.eigh(gram)  # an SVD of all singular values takes ten times as long
    top = vectors[:, -1]
    other = _unit(_times(exact_IO if is_tall else exact_IO.mT, top))
    left_I, right_O = (other, top) if is_tall else (top, other)
    return left_I.to(weight_IO.dtype), right_O.to(weight_IO.dtype)


def _norm(weight_IO: Tensor) -> Tensor:
    # Before the root: its gradient at 0, of a column of zeros, is NaN.
    return weight_IO.square().sum(dim=0).clamp_min(torch.finfo(weight_IO.dtype).tiny).sqrt()


def _times(matrix_IO: Tensor, vector_O: Tensor) -> Tensor:
    # Not @: torch's product with a vector and its batched product, which vmap takes, round differently on a CPU; and
    # autocast, meant for the product with the inputs, would take it in bfloat16, off by up to 1%.
    return (matrix_IO * vector_O).sum(dim=-1)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.square().sum().sqrt()
