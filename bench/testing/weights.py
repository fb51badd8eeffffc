"""Weights as functions: finite, the same for lanes, heads and models together and alone, blind to later tokens.

Shapes: B batch, H heads, Q queries, K keys, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import State
from bench.methods.linear import ROLES
from bench.methods.mask import Mask
from bench.models.attention import observe_attention
from bench.probes import build_probes
from bench.testing.method_case import MethodCase
from bench.testing.properties import Property, is_finite, require, require_close, stacked

if TYPE_CHECKING:
    from torch import Tensor

# Queries and keys at which features vanish, logits saturate and quotients become 0/0.
EXTREMES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "large": lambda q, k: (1e3 * q, 1e3 * k),
    "very_large": lambda q, k: (1e4 * q, 1e4 * k),
    "very_large_and_alike": lambda q, k: (1e4 * k[:, :, -q.shape[2] :], 1e4 * k),
    "very_negative": lambda q, k: (-1e4 * q.abs(), -1e4 * k.abs()),
    "opposite": lambda q, k: (1e4 * q.abs(), -1e4 * k.abs()),
    "zero_queries": lambda q, k: (0 * q, k),
    "zero_keys": lambda q, k: (q, 0 * k),
    "all_zero": lambda q, k: (0 * q, 0 * k),
    "equal_keys": lambda q, k: (q, k[:, :, :1].expand_as(k)),
    "equal_channels": lambda q, k: (q[..., :1].expand_as(q), k[..., :1].expand_as(k)),
    "very_small": lambda q, k: (1e-20 * q, 1e-20 * k),
}


def finite_weights(case: MethodCase, q_BHQD: Tensor, k_BHKD: Tensor, mask: Mask, at: str) -> Tensor:
    """P (B, H, Q, K). Raises PropertyError if it or a gradient is not finite, or rows that sum to 1 no longer do."""
    params = {name: p.requires_grad_() for name, p in case.learned(1).items()}
    q_BHQD, k_BHKD = (x.detach().clone().requires_grad_() for x in (q_BHQD, k_BHKD))
    p_BHQK = case.weights(q_BHQD, k_BHKD, mask, params | case.fixed(1))
    require(is_finite(p_BHQK), f"weights are not finite {at}")
    if case.method.rows_sum_to_one:
        off = (p_BHQK.sum(dim=-1) - 1).abs().max().item()
        require(off <= 1e-5, f"rows are off by {off:.2g} from a sum of 1 {at}")
    cotangent = torch.randn(p_BHQK.shape, generator=torch.Generator().manual_seed(1), dtype=p_BHQK.dtype)
    inputs = {"queries": q_BHQD, "keys": k_BHKD, **params}
    grads = torch.autograd.grad((p_BHQK * cotangent).sum(), list(inputs.values()), materialize_grads=True)
    for name, grad in zip(inputs, grads, strict=True):
        require(is_finite(grad), f"the gradient of {name} is not finite {at}")
    return p_BHQK.detach()


def are_finite_at_extremes(case: MethodCase) -> str:
    """Weights and gradients in float32, under every mask."""
    single = replace(case, is_single=True)
    for extreme, change in EXTREMES.items():
        for name, mask in single.masks.items():
            q_BHQD, k_BHKD = change(*single.queries_and_keys(0, mask))
            at = f"where queries and keys are {extreme.replace('_', ' ')}, under the mask {name}"
            finite_weights(single, q_BHQD, k_BHKD, mask, at)
    return f"at {len(EXTREMES)} extremes under {len(single.masks)} masks"


def later_tokens_change_nothing(case: MethodCase) -> str:
    """Later queries, keys and values change neither weights, output nor gradients under a causal mask."""
    mask, state, num_tokens = case.masks["causal"], case.state(1), case.heads.num_keys
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(2, case.heads.num_heads, num_tokens, case.heads.width, generator=generator).double()
    start = (*case.queries_and_keys(0, mask), values)
    num_seen = num_tokens // 2 + 1
    later_T1 = (torch.arange(num_tokens) >= num_seen)[:, None]

    def seen(scale: float) -> tuple[Tensor, ...]:
        noisy = [x + scale * later_T1 * torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in start]
        q, k, v = (x.requires_grad_() for x in noisy)
        p_BHQK = case.weights(q, k, mask, state)[:, :, :num_seen]
        output_BHQD = p_BHQK @ v
        grads = torch.autograd.grad(output_BHQD.square().sum(), (q, k, v))
        require(
            all((grad[:, :, num_seen:] == 0).all() for grad in grads),
            "a later token gets a gradient; a query must read no key after its own",
        )
        return p_BHQK[..., :num_seen], output_BHQD, *(grad[:, :, :num_seen] for grad in grads)

    return require_close(seen(1e3), seen(0), "weights after a change of later tokens", rtol=1e-12, atol=1e-13)


def lanes_equal_a_loop(case: MethodCase) -> str:
    """All functions of a model and its step, vmapped over three models and one by one."""
    method, mask = case.method, case.masks["causal"]
    full_11QK = case.masks["full"].allowed_B1QK
    models = [(*case.queries_and_keys(seed, mask), case.learned(seed), case.fixed(seed)) for seed in range(3)]

    def all_of(q_BHQD: Tensor, k_BHKD: Tensor, params: State, buffers: State) -> Any:
        z_BHQK = method.logits(*case.prepared(q_BHQD, k_BHKD, params | buffers), full_11QK, params | buffers)
        max_logit_H = 200 * z_BHQK.amax(dim=(0, 2, 3))
        output_BHQD = case.weights(q_BHQD, k_BHKD, mask, params | buffers) @ k_BHKD
        return (
            method.combine(output_BHQD, dict.fromkeys(method.roles, q_BHQD)),
            method.scale_loss(q_BHQD.square().mean(), buffers["step"]),
            method.limit_grads(params, buffers["step"]),
            method.limit_params(params, buffers["step"]),
            method.limit_projections(q_BHQD[:, :, 0], k_BHKD[:, :, 0], max_logit_H, buffers["step"]),
        )

    together, alone = torch.func.vmap(all_of)(*stacked(models)), stacked([all_of(*model) for model in models])
    return require_close(together, alone, "three models together and one by one", rtol=1e-11, atol=1e-14)


def linear_layers_equal_a_loop(case: MethodCase) -> str:
    """Parametrisations of all roles, vmapped over three weights and one by one; buffers keep their names."""
    generator = torch.Generator().manual_seed(0)
    roles = (*ROLES, *case.method.roles)
    for role in roles:
        linear = case.method.linear(role)
        weights = [torch.randn(5, case.heads.width, generator=generator, dtype=torch.float64) for _ in range(3)]
        models = [linear.init(weight_IO, lambda name, shape: torch.ones(shape).double()) for weight_IO in weights]

        def step(params: State, buffers: State, linear: Any = linear) -> Any:
            buffers = linear.refresh(params, buffers)
            return linear.weight(params, buffers), buffers

        together, alone = torch.func.vmap(step)(*stacked(models)), stacked([step(*model) for model in models])
        require_close(together, alone, f"weights of {role} together and one by one", rtol=1e-11, atol=1e-14)
        for params, buffers in models:
            shape = tuple(linear.weight(params, buffers).shape)
            require(shape == (5, case.heads.width), f"the weight of {role} has shape {shape}, its raw one {(5, 4)}")
            require(buffers.keys() == linear.refresh(params, buffers).keys(), f"refresh renames buffers of {role}")
    return f"{len(roles)} roles"


def tensors_are_by_head_or_shared(case: MethodCase) -> str:
    """The first dimension of learned tensors and buffers is the number of heads, or 1."""
    tensors = {name: tensor for name, tensor in case.state(1).items() if name != "step"}
    for name, tensor in tensors.items():
        first = tensor.shape[0] if tensor.ndim else None
        require(
            first in (1, case.heads.num_heads),
            f"{name} has shape {tuple(tensor.shape)}; the first dimension must be {case.heads.num_heads} heads or 1",
        )
    return f"{len(tensors)} tensors"


def heads_are_computed_alone_or_in_another_order(case: MethodCase) -> str:
    """Permuting heads and their own tensors permutes weights; a head's weights need no other head."""
    state = case.state(1)
    for name, mask in case.masks.items():
        q_BHQD, k_BHKD = case.queries_and_keys(6, mask)
        whole = case.weights(q_BHQD, k_BHKD, mask, state)
        for order in ([2, 0, 1], [1], [0, 2]):
            order_H = torch.tensor(order)
            own = {n: x[order_H] if x.ndim and len(x) == case.heads.num_heads else x for n, x in state.items()}
            some = case.weights(q_BHQD[:, order_H], k_BHKD[:, order_H], mask, own)
            what = f"a head reads others: weights of heads {order} alone, under the mask {name},"
            require_close(some, whole[:, order_H], what, rtol=1e-12, atol=1e-15)
    return "3 orders"


def looking_in_parts_equals_the_whole(case: MethodCase) -> str:
    """What probes measure of all heads and sequences at once, and of one head and sequence after the other."""
    mask, state, probes = case.method.restrict(case.masks["causal"]), case.state(1), build_probes(None)
    q_BHQD, k_BHKD = case.prepared(*case.queries_and_keys(7, mask), state)
    whole = observe_attention(probes, case.method, q_BHQD, k_BHKD, mask, state)
    parts = observe_attention(probes, case.method, q_BHQD, k_BHKD, mask, state, max_elements=1)
    require(is_finite(whole), "a probe's quantity is not finite")
    return require_close(parts, whole, "quantities of parts", rtol=1e-12, atol=1e-14)


def single_precision_is_near_double(case: MethodCase) -> str:
    """P in float32 and in float64."""
    single, evidence = replace(case, is_single=True), ""
    for seed in range(3):
        for name, mask in case.masks.items():
            exact = case.weights(*case.queries_and_keys(seed, mask), mask, case.state(seed))
            actual = single.weights(*single.queries_and_keys(seed, mask), mask, single.state(seed))
            require(actual.dtype == single.dtype, f"{actual.dtype} from queries in {single.dtype}")
            what = f"weights in float32 under the mask {name}"
            evidence = require_close(actual.double(), exact, what, rtol=1e-4, atol=1e-5)
    return evidence


WEIGHT_PROPERTIES: dict[str, Property] = {
    "lanes equal a loop": Property(of="weights", check=lanes_equal_a_loop, is_basic=True),
    "weights and gradients are finite at extremes": Property(of="weights", check=are_finite_at_extremes, is_basic=True),
    "later tokens change nothing": Property(of="weights", check=later_tokens_change_nothing),
    "linear layers equal a loop": Property(of="linear", check=linear_layers_equal_a_loop),
    "learned tensors are by head or shared": Property(of="init_params", check=tensors_are_by_head_or_shared),
    "heads are computed alone or in another order": Property(
        of="weights", check=heads_are_computed_alone_or_in_another_order
    ),
    "looking in parts equals the whole": Property(of="weights", check=looking_in_parts_equals_the_whole),
    "float32 is near float64": Property(of="weights", check=single_precision_is_near_double),
}
