"""Muon: momentum of hidden matrices, made orthogonal; AdamW for all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from bench.lazy import torch
from bench.optimizers.adam import AdamW
from bench.optimizers.base import Tensors
from bench.optimizers.layers import is_stacked

if TYPE_CHECKING:
    from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic; Jordan et al. 2024
NORM_EPS = 1e-7  # Jordan et al. 2024


@dataclass(frozen=True, kw_only=True)
class Muon(AdamW):
    """p (1 - lr weight_decay) - lr sqrt(max(1, outputs / inputs)) orthogonal(Nesterov momentum) for hidden matrices.

    Hidden matrices are the layers' tensors `*.weight` of two dimensions. Embeddings, readout, biases, gains and what a
    method adds take AdamW with beta1, beta2 and eps at a rate of adamw_lr_ratio lr: a step of Muon has a length that
    does not depend on the tensor's, and 0.015 is the ratio of the rates that the authors' README gives, 3e-4 to 0.02.
    So a grid of lr moves both rates; the authors tune Muon's alone and leave AdamW's as it was, and their speed records
    have other ratios: a suite that asks about one of the two varies adamw_lr_ratio. Weight decay is decoupled in both,
    each with its own rate.
    Source: Jordan et al. 2024 and github.com/KellerJordan/Muon, defaults included. Departure: Newton-Schulz runs in the
    parameters' dtype, not in bfloat16, which is theirs for speed alone.
    """

    source = "Jordan et al. 2024, as github.com/KellerJordan/Muon"
    sources = ("jordan2024muon",)

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.95
    num_iterations: Annotated[int, Ge(1)] = 5
    adamw_lr_ratio: Annotated[float, Gt(0)] = 0.015
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.95
    eps: Annotated[float, Gt(0)] = 1e-10

    def init(self, name: str, p: Tensor) -> Tensors:
        return {"momentum": torch.zeros_like(p)} if is_hidden_matrix(name, p) else super().init(name, p)

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        lr, weight_decay = knobs["lr"], knobs["weight_decay"]
        if not is_hidden_matrix(name, p):
            own = {"lr": self.adamw_lr_ratio * lr, "weight_decay": weight_decay}
            return super().update(name, p, grad, state, own, step)
        momentum = self.momentum * state["momentum"] + (1 - self.momentum) * grad
        ahead = self.momentum * momentum + (1 - self.momentum) * grad
        scale = max(1, p.shape[1] / p.shape[0]) ** 0.5
        kept = self.shrunk(name, p, lr * weight_decay)
        return kept - lr * scale * orthogonal(ahead, self.num_iterations), {"momentum": momentum}


def is_hidden_matrix(name: str, p: Tensor) -> bool:
    """Whether Muon takes it: the weight of a projection inside a layer."""
    return is_stacked(name) and name.endswith(".weight") and p.ndim == 2


def orthogonal(matrix_IO: Tensor, num_iterations: int) -> Tensor:
    """About U V^T of the matrix's U S V^T: singular values of 0.7 to 1.2, after 5 iterations, unless they were tiny.

    Source: Jordan et al. 2024, the quintic Newton-Schulz iteration.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix_IO.shape[0] > matrix_IO.shape[1]
    x = matrix_IO.mT if is_tall else matrix_IO
    x = x / x.square().sum().sqrt().clamp_min(NORM_EPS)
    for _ in range(num_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if is_tall else x
