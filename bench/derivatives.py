"""Gradients, and products with the Hessian, of a function of named tensors, also within functions that are vmapped.

What torch.func.grad does imports Dynamo: seconds of every process. So derivatives are taken inside of the function that
torch.func.vjp transforms; what it gives beside them is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]


def with_gradient(function: Callable[[Tensors], tuple[Tensor, Any]], at: Tensors) -> tuple[Tensors, Any]:
    """The gradient of a function's number at tensors, and what it gives beside the number."""

    def inside(params: Tensors) -> tuple[Tensor, tuple[Tensors, Any]]:
        value, beside = function(params)
        grads = _gradients(value, list(params.values()), keeps_graph=False)
        return value, (dict(zip(params, grads, strict=True)), beside)

    transformed: Any = torch.func.vjp(inside, at, has_aux=True)
    return transformed[2]


def hessian_product(function: Callable[[Tensors], Tensor], at: Tensors, direction: Tensors) -> tuple[Tensors, Tensors]:
    """The gradient of a function at tensors, and its Hessian times a direction, by reverse mode twice.

    Forward over reverse takes up to half as long again, and scripts its formulas when it is first used: seconds.
    """

    def inside(params: Tensors) -> tuple[Tensor, tuple[Tensors, Tensors]]:
        value, tensors = function(params), list(params.values())
        grads = _gradients(value, tensors, keeps_graph=True)
        slope = torch.stack([(g * direction[name]).sum() for name, g in zip(params, grads, strict=True)]).sum()
        products = _gradients(slope, tensors, keeps_graph=False)
        return value, tuple(dict(zip(params, each, strict=True)) for each in (grads, products))  # pyright: ignore

    transformed: Any = torch.func.vjp(inside, at, has_aux=True)
    return transformed[2]


def _gradients(value: Tensor, params: Sequence[Tensor], *, keeps_graph: bool) -> Sequence[Tensor]:
    """Gradients of a number by params, 0 where it does not depend on them; keeps_graph: for a second derivative."""
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in params]
    with torch.set_grad_enabled(keeps_graph):  # else all is kept that a second derivative needs
        return torch.autograd.grad(value, params, create_graph=keeps_graph, allow_unused=True, materialize_grads=True)
