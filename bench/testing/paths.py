"""The ways in which a method computes attention: its fast path, and mixed precision, against the dense reference.

Shapes: B batch, H heads, T tokens, K keys, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Heads, Method, State
from bench.methods.fast.fused import CHUNK_TOKENS, SDPA_MIN_KEYS
from bench.methods.mask import Mask, MaskKind
from bench.methods.precision import as_multiplied
from bench.models.attention import Mode, attend
from bench.testing.method_case import MethodCase
from bench.testing.properties import Property, require, require_close

if TYPE_CHECKING:
    from torch import Tensor

NUM_HEADS, WIDTH = 2, 4
SHORT, LONG = 20, 2 * CHUNK_TOKENS + 13  # below and above every threshold; no multiple of a chunk
KINDS: tuple[MaskKind, ...] = ("full", "causal", "padded", "custom")
EXACT = 1e-13  # of float64, by the largest of what is compared: sums of some hundred terms in another order

MIXED_HEADS = Heads(num_heads=2, width=32, num_keys=128)
# Standard deviations of queries and keys: near the start, logits of 1, and collapsed rows, logits of 40.
SCALES = (0.02, 1.0, 40**0.5)
# Root of the mean squared error of P V by that of P V: bfloat16 rounds by 2^-9 = 0.2%; three such roundings are allowed
# for (queries and keys, P, what is given back), and one of logits of 40 moves a weight by up to 40 * 2^-9 = 8%.
BOUND = {0.02: 0.005, 1.0: 0.005, 40**0.5: 0.01}


def randn(seed: int, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """Standard normals in float64, or in `dtype`."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn if dtype is None else drawn.to(dtype)


def mask_of(kind: MaskKind, num_tokens: int) -> Mask:
    """A mask of a kind; a custom one hides half of the keys, never a query's own, a padded one is of two examples."""
    if kind == "padded":
        return Mask.padded(torch.arange(num_tokens) < torch.tensor([[num_tokens], [num_tokens - num_tokens // 3]]))
    allowed_TT = torch.ones(num_tokens, num_tokens, dtype=torch.bool)
    if kind == "causal":
        allowed_TT = allowed_TT.tril()
    if kind == "custom":
        allowed_TT = (randn(9, num_tokens, num_tokens) > 0) | torch.eye(num_tokens, dtype=torch.bool)
    return Mask.shared(allowed_TT, kind)


def state_of(method: Method, num_tokens: int, dtype: torch.dtype) -> State:
    """Learned tensors a little away from their start, and buffers."""
    heads = Heads(num_heads=NUM_HEADS, width=WIDTH, num_keys=num_tokens)
    buffers = method.init_buffers(heads, lambda name, shape: randn(7, *shape))
    learned = {name: t.double() + 0.1 * randn(8, *t.shape) for name, t in method.init_params(heads).items()}
    return {name: t.to(dtype) for name, t in (buffers | learned).items()} | {"step": torch.tensor(3)}


def inputs(num_tokens: int, *, seed: int = 0, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (2, H, T, D); queries small enough for rows of some hundred keys to differ."""
    q, k, v = (randn(seed + i, 2, NUM_HEADS, num_tokens, WIDTH, dtype=dtype) for i in range(3))
    return q / 2, k, v


def output_and_gradients(run: Callable[..., Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
    """run(*tensors) and, for a fixed cotangent without a pattern, its gradients."""

    def objective(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        output = run(*tensors)
        cotangent = torch.arange(output.numel(), dtype=torch.float64).square().cos().reshape(output.shape)
        return (output * cotangent.to(output.dtype)).sum(), output

    grads, (_, output) = torch.func.grad_and_value(objective, tuple(range(len(tensors))), has_aux=True)(*tensors)
    return output, *grads


def runs(method: Method, mask: Mask, state: State, is_mixed: bool = False) -> tuple[Callable, Callable]:
    """The dense reference and the automatic path, as functions of q, k, v and the method's floating state.

    is_mixed: as a model under autocast calls them, whose gradients are taken outside of it.
    """
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]

    def run(attend: Callable) -> Callable:
        def of(q: Tensor, k: Tensor, v: Tensor, *tensors: Tensor) -> Tensor:
            own = state | dict(zip(names, tensors, strict=True))
            q, k = method.normalize(q, k, own)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed, cache_enabled=False):
                q, k, v = (as_multiplied(x, like=v) for x in (q, k, v))
                return attend(method, q, k, v, method.restrict(mask), own)

        return of

    return run(Method.attend), run(type(method).attend)


def both_paths(
    method: Method, mask: Mask, qkv: tuple[Tensor, ...], *, is_mixed: bool = False
) -> tuple[tuple[Tensor, ...], ...]:
    """Output and gradients with respect to q, k, v and state: of the dense reference, and of the automatic path."""
    state = state_of(method, mask.num_keys, qkv[0].dtype)
    floating = [tensor for tensor in state.values() if tensor.is_floating_point()]
    reference, automatic = (output_and_gradients(run, *qkv, *floating) for run in runs(method, mask, state, is_mixed))
    return reference, automatic


def fast_path_equals_the_reference(case: MethodCase) -> str:
    """`attend` and `weights(...) @ v`, with gradients, below and above every threshold of a fast path."""
    largest = 0.0
    for num_tokens in (SHORT, SDPA_MIN_KEYS, LONG):
        for kind in KINDS:
            reference, automatic = both_paths(case.method, mask_of(kind, num_tokens), inputs(num_tokens))
            for fast, dense in zip(automatic, reference, strict=True):
                size = max(dense.abs().max().item(), 1e-30)
                what = f"attend and weights @ v, of {num_tokens} tokens under a {kind} mask,"
                require_close(fast, dense, what, rtol=0, atol=EXACT * size)
                largest = max(largest, (fast - dense).abs().max().item() / size)
    return f"to {largest:.1g} of the largest value"


def attended(case: MethodCase, scale: float, mode: Mode, *, is_exact: bool = False) -> tuple[Tensor, Tensor]:
    """P V and P as a model in mixed precision has them, or in float64 from the same numbers."""
    single = replace(case, heads=MIXED_HEADS, is_single=True)
    state = {**single.method.init_params(MIXED_HEADS), **single.fixed(0)}
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(2, 2, MIXED_HEADS.num_keys, MIXED_HEADS.width, generator=generator) for _ in range(3)]
    q_BHTD, k_BHTD, v_BHTD = ((factor * x).bfloat16() for factor, x in zip((scale, scale, 1), drawn, strict=True))
    if is_exact:
        state = {name: x.double() if x.is_floating_point() else x for name, x in state.items()}
        q_BHTD, k_BHTD, v_BHTD = q_BHTD.double(), k_BHTD.double(), v_BHTD.double()
    mask = case.method.restrict(mask_of("causal", MIXED_HEADS.num_keys))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not is_exact, cache_enabled=False):
        scaled = MIXED_HEADS.width**-0.5
        output, weights = attend(case.method, q_BHTD, k_BHTD, v_BHTD, mask, state, mode, logit_scale=scaled)
    assert weights is not None
    return output, weights


def relative_error(approximate: Tensor, exact: Tensor) -> float:
    """Root of the mean squared error by that of the exact values."""
    return ((approximate.double() - exact).square().mean() / exact.square().mean()).sqrt().item()


def bfloat16_errors_are_bounded(case: MethodCase) -> str:
    """P V in mixed precision, dense and by the fast path, against float64; rows of P are in float32."""
    largest = 0.0
    for scale, bound in BOUND.items():
        exact = attended(case, scale, Mode(keeps_weights=True), is_exact=True)[0]
        for is_reference in (True, False):
            mode = Mode(keeps_weights=True, is_reference=is_reference)
            output, weights = attended(case, scale, mode)
            require(weights.dtype == torch.float32, f"weights are in {weights.dtype}, required torch.float32")
            require(output.dtype == torch.bfloat16, f"the output is in {output.dtype}, required torch.bfloat16")
            error = relative_error(output, exact)
            path = "weights @ v" if is_reference else "attend"
            what = f"{path} is off by {error:.2%} where queries and keys have a deviation of {scale:.2g}"
            require(error <= bound, f"{what}; {bound:.1%} is allowed")
            largest = max(largest, error)
    return f"off by {largest:.2%} at most"


PATH_PROPERTIES: dict[str, Property] = {
    "the fast path equals the reference": Property(of="attend", check=fast_path_equals_the_reference),
    "errors of bfloat16 are bounded": Property(of="weights", check=bfloat16_errors_are_bounded),
}
