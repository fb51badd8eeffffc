"""Shampoo: gradients of matrices preconditioned from both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.lazy import torch
from bench.optimizers.base import Optimizer, Tensors

if TYPE_CHECKING:
    from torch import Tensor

# Each iteration multiplies small eigenvalues by 2.44 until they near 1: 32 are enough down to 1e-10 of the norm; what
# is smaller counts as if it were about that large.
NUM_ITERATIONS = 32
RIDGE_ULPS = 16  # of the norm, added to the diagonal: rounding makes eigenvalues negative, and those would grow


@dataclass(frozen=True, kw_only=True)
class Shampoo(Optimizer):
    """p - lr L^-1/4 g R^-1/4 with L = eps I + sum of g g^T and R = eps I + sum of g^T g. No weight decay, no momentum.

    Tensors that are not matrices: p - lr g / sqrt(eps + sum of g^2), the diagonal version. eps is absolute, a bound on
    the first steps: it should be below the squares of gradients. The paper leaves it open; 1e-4 is the default of the
    authors' tf.contrib.opt.ShampooOptimizer. Roots are computed anew at every step. L, R and roots are in float64, as
    roots in float32 are off by 1% at a condition number of 1e4 and by 40% at 1e6.
    Source: Gupta et al. 2018, Alg. 1.
    """

    source = "Gupta et al. 2018, Alg. 1"
    sources = ("gupta2018shampoo", "anil2020scalable", "guo2006schur")
    revision = 1  # roots in float64
    knobs = ("lr",)

    eps: Annotated[float, Gt(0)] = 1e-4

    def init(self, name: str, p: Tensor) -> Tensors:
        if p.ndim != 2:
            return {"diagonal": self.eps * torch.ones_like(p)}
        sides = zip(("left", "right"), p.shape, strict=True)
        return {side: self.eps * torch.eye(size, dtype=torch.float64, device=p.device) for side, size in sides}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        if p.ndim != 2:
            diagonal = state["diagonal"] + grad.square()
            return p - knobs["lr"] * grad * diagonal.rsqrt(), {"diagonal": diagonal}
        exact = grad.double()
        left, right = state["left"] + exact @ exact.mT, state["right"] + exact.mT @ exact
        if p.shape[0] == p.shape[1]:  # both at once: half as many operations
            left_root, right_root = inverse_fourth_roots(torch.stack([left, right]))
        else:
            left_root, right_root = (inverse_fourth_roots(side[None])[0] for side in (left, right))
        preconditioned = (left_root @ exact @ right_root).to(p.dtype)
        return p - knobs["lr"] * preconditioned, {"left": left, "right": right}


def inverse_fourth_roots(a_KNN: Tensor) -> Tensor:
    """A^-1/4 of symmetric positive definite matrices by a coupled Newton iteration: matrix products alone.

    Source: Guo & Higham 2006 for p = 4, as Anil et al. 2020 use it: M = H^4 A goes to I, so H to A^-1/4.
    """
    identity_NN = torch.eye(a_KNN.shape[-1], dtype=a_KNN.dtype, device=a_KNN.device)
    # At least the largest eigenvalue; no squares, which overflow sooner.
    norm_K11 = a_KNN.abs().sum(-1, keepdim=True).amax(-2, keepdim=True)
    ridge_K11 = RIDGE_ULPS * torch.finfo(a_KNN.dtype).eps * norm_K11
    scale_K11 = 2.5 / (norm_K11 + ridge_K11)
    m_KNN, root_KNN = scale_K11 * (a_KNN + ridge_K11 * identity_NN), scale_K11**0.25 * identity_NN
    constant_NN = 1.25 * identity_NN
    for _ in range(NUM_ITERATIONS):
        factor_KNN = torch.sub(constant_NN, m_KNN, alpha=0.25)
        square_KNN = torch.bmm(factor_KNN, factor_KNN)  # matmul under vmap adds views
        m_KNN, root_KNN = torch.bmm(torch.bmm(square_KNN, square_KNN), m_KNN), torch.bmm(root_KNN, factor_KNN)
    return root_KNN
