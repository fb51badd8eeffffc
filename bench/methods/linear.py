"""How a linear layer's weight is parametrised: plain, or divided by its spectral norm (sigma-reparam).

Shapes: I inputs, O outputs; x @ W with W of shape (I, O). `buffers` are kept between steps and never trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

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


@dataclass(frozen=True, kw_only=True)
class PlainLinear(Linear):
    """W itself."""

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"weight": weight_IO}, {}

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return params["weight"]


@dataclass(frozen=True, kw_only=True)
class SigmaReparam(Linear):
    """gamma W / sigma(W), gamma a learned scalar that starts at 1, sigma the spectral norm by power iteration.

    One iteration a step with kept vectors; sigma = u^T W v, differentiated through W alone. The vectors start from
    random ones after `num_init_iterations`, so that the first step already divides by nearly sigma.
    Source: Zhai et al. 2023 (the start of the vectors is ours: the paper does not state one).
    """

    num_init_iterations: int = 15

    def init(self, weight_IO: Tensor, draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        params = {"weight": weight_IO, "gamma": torch.ones((), dtype=weight_IO.dtype, device=weight_IO.device)}
        u_O = _unit(draw("spectral", (weight_IO.shape[1],)).to(weight_IO.dtype))
        buffers = {"left": _unit(weight_IO @ u_O), "right": u_O}
        for _ in range(self.num_init_iterations):
            buffers = self.refresh(params, buffers)
        return params, buffers

    def refresh(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        weight_IO = params["weight"]
        right_O = _unit(weight_IO.mT @ buffers["left"])
        return {"left": _unit(weight_IO @ right_O), "right": right_O}

    def weight(self, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        sigma = buffers["left"] @ (params["weight"] @ buffers["right"])
        return params["gamma"] / sigma * params["weight"]


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.square().sum().sqrt().clamp_min(torch.finfo(vector.dtype).tiny)
