"""Linear layers of a model, each in the parametrisation that the method chooses.

Shapes: I inputs, O outputs. Tensors are named `{prefix}weight`, `{prefix}bias` and what the parametrisation adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Tensors, part

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Projection:
    """x @ W (+ bias), W (I, O) starting as N(0, std^2); the bias starts at 0."""

    prefix: str
    role: str
    num_inputs: int
    num_outputs: int
    std: float
    has_bias: bool = False


def roles_read(method: Method) -> tuple[str, ...]:
    """Roles of the projections of a layer's input that its attention reads: the method's own come last."""
    return ("query", *(() if method.ties_query_and_key else ("key",)), "value", *method.roles)


def init_projections(
    method: Method, projections: Iterable[Projection], draw: Draw, init_scale: Tensor
) -> tuple[Tensors, Tensors]:
    """Params and buffers; init_scale multiplies every weight's standard deviation."""
    params: Tensors = {}
    buffers: Tensors = {}
    for p in projections:
        weight_IO = draw(p.prefix + "weight", (p.num_inputs, p.num_outputs)) * (init_scale * p.std)
        extra = method.linear(p.role).init(weight_IO, lambda name, shape, at=p.prefix: draw(at + name, shape))
        params |= {p.prefix + name: tensor for name, tensor in extra[0].items()}
        buffers |= {p.prefix + name: tensor for name, tensor in extra[1].items()}
        if p.has_bias:
            params[p.prefix + "bias"] = torch.zeros(p.num_outputs, dtype=init_scale.dtype, device=init_scale.device)
    return params, buffers


def refresh_projections(
    method: Method, projections: Iterable[Projection], params: Tensors, buffers: Tensors
) -> Tensors:
    """All buffers for the coming step."""
    refreshed = dict(buffers)
    for p in projections:
        new = method.linear(p.role).refresh(part(params, p.prefix), part(buffers, p.prefix))
        refreshed |= {p.prefix + name: tensor for name, tensor in new.items()}
    return refreshed


def project(method: Method, params: Tensors, buffers: Tensors, p: Projection, x: Tensor) -> Tensor:
    """(..., I) -> (..., O)."""
    return _times(params, p, x, _weight(method, params, buffers, p))


def project_roles(
    method: Method, params: Tensors, buffers: Tensors, projections: Mapping[str, Projection], x: Tensor, num_heads: int
) -> Tensors:
    """What attention reads of a layer's input (..., I), by those roles of `roles_read` that it projects: (..., O)."""
    roles = [role for role in roles_read(method) if role in projections]
    weights = {role: _weight(method, params, buffers, projections[role]) for role in roles}
    if type(method).value_weight is not Method.value_weight:
        value_CHD, query_CHD = (weights[role].unflatten(-1, (num_heads, -1)) for role in ("value", "query"))
        weights["value"] = method.value_weight(value_CHD, query_CHD).flatten(-2)
    return {role: _times(params, projections[role], x, weight_IO) for role, weight_IO in weights.items()}


def _weight(method: Method, params: Tensors, buffers: Tensors, p: Projection) -> Tensor:
    return method.linear(p.role).weight(part(params, p.prefix), part(buffers, p.prefix))


def _times(params: Tensors, p: Projection, x: Tensor, weight_IO: Tensor) -> Tensor:
    y = x @ weight_IO
    return y + params[p.prefix + "bias"].to(y.dtype) if p.has_bias else y
