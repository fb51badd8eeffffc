"""Linear layers of a model, each in the parametrisation that the method chooses.

Shapes: I inputs, O outputs. Tensors are named `{prefix}weight`, `{prefix}bias` and what the parametrisation adds. Of
roles that a method fuses each has a raw weight of its own, and what the parametrisation adds is the first one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Tensors, part
from bench.optimizers.layers import Layer

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
    for group in _groups(method, projections):
        first = group[0]
        weights = [draw(p.prefix + "weight", (p.num_inputs, p.num_outputs)) * (init_scale * p.std) for p in group]
        whole_IO = weights[0] if len(group) == 1 else torch.cat(weights, dim=-1)
        extra = method.linear(first.role).init(whole_IO, lambda name, shape, at=first.prefix: draw(at + name, shape))
        params |= {first.prefix + name: tensor for name, tensor in extra[0].items()}
        buffers |= {first.prefix + name: tensor for name, tensor in extra[1].items()}
        if len(group) > 1:
            params |= {p.prefix + "weight": weight_IO for p, weight_IO in zip(group, weights, strict=True)}
        for p in group:
            if p.has_bias:
                params[p.prefix + "bias"] = torch.zeros(p.num_outputs, dtype=init_scale.dtype, device=init_scale.device)
    return params, buffers


def refresh_projections(
    method: Method, projections: Iterable[Projection], params: Tensors, buffers: Tensors
) -> Tensors:
    """All buffers for the coming step."""
    refreshed = dict(buffers)
    for group in _groups(method, projections):
        first = group[0]
        new = method.linear(first.role).refresh(_whole(params, group), part(buffers, first.prefix))
        refreshed |= {first.prefix + name: tensor for name, tensor in new.items()}
    return refreshed


def project(method: Method, params: Tensors, buffers: Tensors, p: Projection, x: Tensor) -> Tensor:
    """(..., I) -> (..., O)."""
    return _times(params, p, x, _weight(method, params, buffers, p))


def project_roles(
    method: Method,
    params: Tensors,
    buffers: Tensors,
    projections: Mapping[str, Projection],
    x: Tensor,
    num_heads: int,
    memory: Tensor | None = None,
) -> Tensors:
    """What attention reads of a layer's input (..., I), by those roles of `roles_read` that it projects: (..., O).

    memory: of cross-attention, what keys and values are projected from. Where a method ties them, keys are projected by
    the query's weights; without a memory they are the queries, and have no entry of their own.
    """
    roles = [role for role in roles_read(method) if role in projections]
    weights = weights_of(method, params, buffers, [projections[role] for role in roles])
    if type(method).value_weight is not Method.value_weight:
        value_CHD, query_CHD = (weights[role].unflatten(-1, (num_heads, -1)) for role in ("value", "query"))
        weights["value"] = method.value_weight(value_CHD, query_CHD).flatten(-2)
    inputs = {role: memory if memory is not None and role in ("key", "value") else x for role in roles}
    read = {role: _times(params, projections[role], inputs[role], weight_IO) for role, weight_IO in weights.items()}
    if memory is not None and "key" not in roles:
        read["key"] = _times(params, projections["query"], memory, weights["query"])
    return read


def weights_of(method: Method, params: Tensors, buffers: Tensors, projections: Iterable[Projection]) -> Tensors:
    """The weights of a layer's projections as they multiply, (I, O) each, by role."""
    weights: Tensors = {}
    for group in _groups(method, projections):
        whole_IO = _weight(method, params, buffers, *group)
        parts = whole_IO.split([p.num_outputs for p in group], dim=-1) if len(group) > 1 else [whole_IO]
        weights |= {p.role: weight_IO for p, weight_IO in zip(group, parts, strict=True)}
    return weights


def _weight(method: Method, params: Tensors, buffers: Tensors, *group: Projection) -> Tensor:
    return method.linear(group[0].role).weight(_whole(params, group), part(buffers, group[0].prefix))


def _groups(method: Method, projections: Iterable[Projection]) -> list[list[Projection]]:
    """The projections that share a parametrisation: those of a layer whose roles the method fuses, each other alone."""
    groups: dict[str, list[Projection]] = {}
    fused = method.fused_roles()
    for p in projections:
        of_layer = p.prefix.removesuffix(p.role + ".")
        groups.setdefault(of_layer if p.role in fused else p.prefix, []).append(p)
    return list(groups.values())


def _whole(params: Tensors, group: Sequence[Projection]) -> Tensors:
    """What is trained of a group's parametrisation, by short names; its raw weights side by side."""
    own = part(params, group[0].prefix)
    if len(group) > 1:
        own["weight"] = torch.cat([params[p.prefix + "weight"] for p in group], dim=-1)
    return own


def _times(params: Tensors, p: Projection, x: Tensor, weight_IO: Tensor) -> Tensor:
    y = x @ weight_IO
    return y + params[p.prefix + "bias"].to(y.dtype) if p.has_bias else y


def of_layer(tensors: Tensors, layer: Layer) -> Tensors:
    """The tensors of one layer, by their whole names: what looks for one of them looks through few."""
    prefix = layer.prefix
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
