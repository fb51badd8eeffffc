"""What model probes see of a lane: bench.probes.model.Model of one trial at a step, built from its program.

What is costly is a function that a probe calls or not. Gradients and update are those of the step that is about to be
made, from the same functions that make it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.models.attention import Mode, method_state, part
from bench.models.projections import Projection, weights_of
from bench.optimizers.base import Tensors
from bench.optimizers.layers import Layer, over_layers, stack_layers, unstack_layers
from bench.probes.gains import Scales
from bench.probes.model import Model, Update
from bench.roles import role_of
from bench.training.lane import Lane, LaneProgram

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import Method


def model_of(
    program: LaneProgram, lane: Lane, batch: Tensors, fixed_batch: Tensors, knobs: Tensors, step: Tensor
) -> Model:
    """The model of a lane before the step of `batch`, with the weights that are trained."""
    workload, method, params = program.workload, program.method, lane["params"]
    buffers = program.buffers(lane, step)
    mode = Mode(is_reference=True)

    def loss_on(at: Tensors, examples: Tensors) -> Tensor:
        return method.scale_loss(workload.loss(method, at, buffers, examples, mode).objective, step)

    def scales() -> list[Scales]:
        return [scales_of(method, params, buffers, layer) for layer in workload.layers]

    return Model(
        params=params,
        num_layers=workload.num_layers,
        layer_prefixes=[layer.prefix for layer in workload.layers],
        num_heads=workload.attention[0].num_heads,
        seed=lane["seed"],
        step=step,
        step_batch=batch,
        fixed_batch=fixed_batch,
        scales_of_layers=scales,
        update_of_step=functools.partial(_update, program, lane, batch, knobs, step),
        loss_on=loss_on,
    )


def scales_of(method: Method, params: Tensors, buffers: Tensors, layer: Layer) -> Scales:
    """Query and key weights of a layer as they multiply, and the method's gammas if it has any.

    Of a layer whose tokens are their own keys the key weight is the identity.
    """
    key_role = "query" if method.ties_query_and_key else "key"
    weights = weights_of(method, params, buffers, _projections(method, params, layer))
    query_IO = weights["query"]
    # Where there are no key weights a token is its own key.
    key_IO = weights.get(key_role, torch.eye(len(query_IO), dtype=query_IO.dtype, device=query_IO.device))
    state = method_state(params, buffers, layer.prefix)
    own = [part(params, f"{layer.prefix}{role}.") for role in ("query", key_role)]
    # Some are constants: made where the weights are, for a copy from the host is refused while a graph is captured.
    with torch.device(query_IO.device):
        gammas = [gamma.to(query_IO) for gamma in method.gammas(state, *own) or ()]
    gamma_query, gamma_key = gammas or (None, None)
    return Scales(weight_query_IO=query_IO, weight_key_IO=key_IO, gamma_query=gamma_query, gamma_key=gamma_key)


def _projections(method: Method, params: Tensors, layer: Layer) -> list[Projection]:
    """A layer's projections to queries and keys, and those that the method fuses with them."""
    projections = []
    for role in dict.fromkeys(("query", "key", *method.fused_roles())):
        weight_IO = params.get(f"{layer.prefix}{role}.weight")
        if weight_IO is not None:
            inputs, outputs = weight_IO.shape
            prefix = f"{layer.prefix}{role}."
            projections.append(Projection(prefix=prefix, role=role, num_inputs=inputs, num_outputs=outputs, std=0.0))
    return projections


def _update(program: LaneProgram, lane: Lane, batch: Tensors, knobs: Tensors, step: Tensor) -> Update:
    layers, params = program.workload.layers, lane["params"]
    gradients = program.gradients(lane, batch, step, torch.zeros_like(step))
    after = program.update(lane, gradients, knobs, step)[0]
    grads, _ = program.clipped_gradients(lane, gradients, knobs, step)
    scheduled = program.scheduled(lane, knobs, step)
    optimizer = program.optimizer_of(lane["constants"])
    preconditioner = edge = None
    if optimizer.says("edge"):
        edge = optimizer.edge(scheduled)
        before = stack_layers(params, layers)
        stacked = {
            name: over_layers(
                functools.partial(optimizer.preconditioner, name, knobs=scheduled, step=step),
                name,
                p,
                grads[name],
                lane["optimizer"][name],
            )
            / optimizer.rates.get(role_of(name), 1.0)
            for name, p in before.items()
        }
        preconditioner = unstack_layers(stacked, params, layers)

    def moments(of: Lane, num_steps: Tensor) -> Tensors:
        if not optimizer.says("second_moment"):
            return {}
        moment = functools.partial(optimizer.second_moment, num_steps=num_steps)
        stacked = {name: over_layers(moment, name, state) for name, state in of["optimizer"].items()}
        return unstack_layers(stacked, params, layers)

    return Update(
        grads=unstack_layers(grads, params, layers),
        after=after["params"],
        lr=scheduled["lr"],
        preconditioner=preconditioner,
        edge=edge,
        moments_before=moments(lane, step),
        moments_after=moments(after, step + 1),
    )
