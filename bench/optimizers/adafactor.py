"""Adafactor: second moments of matrices kept as those of their rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.lazy import torch
from bench.optimizers.base import Optimizer, Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Adafactor(Optimizer):
    """p - lr u / max(1, rms(u) / clip_threshold), u = g / sqrt(v); v of a matrix has rank 1. No weight decay.

    v averages g^2 + eps with a decay of 1 - t^-decay_power, t from 1: no correction of its start is needed. Of tensors
    with more than two dimensions the last two are factored. Source: Shazeer & Stern 2018, Alg. 4 and 5, but for their
    relative step size: lr is the step itself, not a share of the tensor's size, so it means what it does elsewhere.
    """

    source = "Shazeer & Stern 2018, Alg. 4 and 5, absolute step size"
    sources = ("shazeer2018adafactor",)
    knobs = ("lr",)

    decay_power: Annotated[float, Gt(0)] = 0.8
    clip_threshold: Annotated[float, Gt(0)] = 1.0
    eps: Annotated[float, Gt(0)] = 1e-30

    def init(self, name: str, p: Tensor) -> Tensors:
        if p.ndim < 2:
            return {"second": torch.zeros_like(p)}
        return {"rows": torch.zeros_like(p[..., :1]), "columns": torch.zeros_like(p[..., :1, :])}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        new = ((step + 1).double() ** -self.decay_power).to(p.dtype)
        square = grad.square() + self.eps
        if p.ndim < 2:
            means = {"second": square}
        else:
            means = {"rows": square.mean(-1, keepdim=True), "columns": square.mean(-2, keepdim=True)}
        state = {moment: (1 - new) * state[moment] + new * mean for moment, mean in means.items()}
        if p.ndim < 2:
            scaled = grad * state["second"].rsqrt()
        else:
            # One factor after the other: the product of two moments as small as eps is 0 in float32.
            scale = state["rows"].mean(-2, keepdim=True).sqrt()
            scaled = grad * state["rows"].rsqrt() * state["columns"].rsqrt() * scale
        rms = scaled.square().mean().sqrt()
        return p - knobs["lr"] * scaled / (rms / self.clip_threshold).clamp_min(1), state
