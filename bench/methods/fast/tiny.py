"""Attention of very short sequences by very narrow heads: P is never in memory, forward or backward.

There the dense reference does almost nothing but write and read tensors of Q x K, many times larger than queries and
keys together. The kernels compute a row of P where it is needed, from queries and keys: on CUDA those of
tiny_kernels.py, on a processor those of tiny_cpu.py, where the machine has a C compiler.
A graph holds them as the operations `bench::tiny_attention` and `bench::tiny_attention_backward`, which Inductor calls
as they are. opaque.py has the rules for torch.func.vjp and torch.func.vmap, lanes as further batch. They are
differentiated once; a second derivative raises NotImplementedError.
Shapes: B batch, H heads, Q queries, K keys, D width of a head, E width of a value, W width of all three as the kernels
read them, M masks: of B H sequences the first B H / M have the first, and so on.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import Heads
from bench.methods.fast import tiny_cpu
from bench.methods.fast.fold import fold
from bench.methods.fast.opaque import opaque
from bench.methods.mask import Mask

if TYPE_CHECKING:
    from torch import Tensor

# A thread computes a row alone, without the matrix units: longer and wider ones are theirs.
TINY_MAX_KEYS = 32
TINY_MAX_WIDTH = 8
# One row a thread at width 4, half of one at width 8; of 21 keys with 45 registers forward, and 174 and 56 backward.
ROWS_PER_PROGRAM = 128
NUM_WARPS = 4
MIN_WIDTH = 4  # 16 bytes of float32, which a thread loads at once
ARGUMENTS = "Tensor q, Tensor k, Tensor v, Tensor? allowed, bool is_softmax, float eps"


def tiny_pays(heads: Heads) -> bool:
    """Whether `tiny_attention`, where its kernels run, is faster than any other path."""
    return heads.num_keys <= TINY_MAX_KEYS and heads.width <= TINY_MAX_WIDTH


def takes(q_BHQD: Tensor, k_BHKD: Tensor, v_BHKE: Tensor) -> bool:
    """Whether the kernels run on these: float32, not under autocast, where the device has kernels."""
    device = q_BHQD.device.type
    are_plain = all(x.device.type == device and x.dtype == torch.float32 for x in (q_BHQD, k_BHKD, v_BHKE))
    is_short = max(q_BHQD.shape[-2], k_BHKD.shape[-2]) <= TINY_MAX_KEYS  # longer ones need no compiler
    return are_plain and is_short and has_kernels(device) and not torch.is_autocast_enabled(device)


def has_kernels(device: str) -> bool:
    """Whether there are kernels on a kind of device here; for a processor they are compiled when first asked for."""
    return is_triton_installed() if device == "cuda" else device == "cpu" and tiny_cpu.is_compiled()


@functools.cache
def is_triton_installed() -> bool:
    """torch for Linux and CUDA brings it."""
    return importlib.util.find_spec("triton") is not None


def tiny_attention(
    q_BHQD: Tensor, k_BHKD: Tensor, v_BHKE: Tensor, mask: Mask, *, is_softmax: bool, eps: float = 0.0
) -> Tensor:
    """P V, (B, H, Q, E): rows of P are the softmax of Q K^T over the allowed keys, or those of KernelAttention.

    For the latter queries and keys are features, none negative, and eps is added to a row's sum.
    """
    allowed_BQK = None if mask.kind == "full" else mask.allowed_B1QK[:, 0].expand(-1, q_BHQD.shape[-2], -1)
    return _opaque_attention()((is_softmax, eps), q_BHQD, k_BHKD, v_BHKE, allowed_BQK)


def _is_on_processor(x: Tensor) -> bool:
    """Also Triton's interpreter, where the environment asks for it, computes on a processor."""
    return x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"


def _kernels() -> Any:
    from bench.methods.fast import tiny_kernels  # imports Triton

    return tiny_kernels


def _forward(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, is_softmax: bool, eps: float) -> Tensor:
    q_BHQW, k_BHKW, v_BHKW = _alike(q, k, v)
    if _is_on_processor(q):
        o_BHQW = tiny_cpu.forward(q_BHQW, k_BHKW, v_BHKW, allowed, is_softmax, eps)
        return o_BHQW[..., : v.shape[-1]].contiguous()
    o_BHQW = q.new_empty(q_BHQW.shape)
    shared = _shared(q_BHQW, k_BHKW, allowed, is_softmax, eps)
    num_rows = q[..., 0].numel()
    with torch.cuda.device_of(q):
        _kernels().forward[_programs(num_rows)](q_BHQW, k_BHKW, v_BHKW, o_BHQW, eps, num_rows, **shared)
    return o_BHQW[..., : v.shape[-1]].contiguous()


def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, is_softmax: bool, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    do_BHQW, *qkv = _alike(grad, q, k, v)
    if _is_on_processor(q):
        grads = tiny_cpu.backward(do_BHQW, qkv, allowed, is_softmax, eps)
    else:
        grads = _backward_on_cuda(do_BHQW, qkv, allowed, is_softmax, eps)
    pairs = zip(grads, (q, k, v), strict=True)
    dq, dk, dv = (grad_BHTW[..., : x.shape[-1]].contiguous() for grad_BHTW, x in pairs)
    return dq, dk, dv


def _backward_on_cuda(
    do_BHQW: Tensor, qkv: Sequence[Tensor], allowed: Tensor | None, is_softmax: bool, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, as wide as the kernels read them."""
    dq_BHQW, dk_BHKW, dv_BHKW = (x.new_empty(x.shape) for x in qkv)
    rows_3BHQ = do_BHQW.new_empty(3, *do_BHQW.shape[:-1])
    shared = _shared(dq_BHQW, dk_BHKW, allowed, is_softmax, eps)
    num_rows, num_keys = (x[..., 0].numel() for x in qkv[:2])
    kernels = _kernels()
    with torch.cuda.device_of(do_BHQW):
        of_queries, of_keys = kernels.backward_queries[_programs(num_rows)], kernels.backward_keys[_programs(num_keys)]
        of_queries(do_BHQW, *qkv, dq_BHQW, rows_3BHQ, eps, num_rows, **shared)
        of_keys(do_BHQW, *qkv, rows_3BHQ, dk_BHKW, dv_BHKW, num_rows, num_keys, **shared)
    return dq_BHQW, dk_BHKW, dv_BHKW


def _alike(*tensors: Tensor) -> list[Tensor]:
    """As the kernels read them: contiguous, and with zeros to one width, a power of two."""
    width = MIN_WIDTH
    while width < max(x.shape[-1] for x in tensors):
        width *= 2
    pad = torch.nn.functional.pad
    return [x.contiguous() if x.shape[-1] == width else pad(x, (0, width - x.shape[-1])) for x in tensors]


def _shared(q_BHQW: Tensor, k_BHKW: Tensor, allowed_MQK: Tensor | None, is_softmax: bool, eps: float) -> dict[str, Any]:
    """Arguments that all kernels have, by name. A full mask is not read: any tensor may stand for it."""
    num_sequences = q_BHQW.shape[0] * q_BHQW.shape[1]
    return {
        "allowed_MQK": q_BHQW if allowed_MQK is None else allowed_MQK.to(torch.uint8).contiguous(),
        "sequences_per_mask": num_sequences if allowed_MQK is None else num_sequences // allowed_MQK.shape[0],
        "Q": q_BHQW.shape[2],
        "K": k_BHKW.shape[2],
        "W": q_BHQW.shape[3],
        "HAS_MASK": allowed_MQK is not None,
        "IS_SOFTMAX": is_softmax,
        "HAS_UNIFORM_ROWS": not is_softmax and eps == 0,
        "ROWS": ROWS_PER_PROGRAM,
        "num_warps": NUM_WARPS,
    }


def _programs(num_rows: int) -> tuple[int]:
    return (-(-num_rows // ROWS_PER_PROGRAM),)


@functools.cache
def _library() -> Any:
    """The two operations, which exist as long as what this gives.

    Not of torch.library.custom_op: a call of what that makes imports Dynamo, seconds of every process that trains.
    """
    library = torch.library.Library("bench", "FRAGMENT")
    operations = {
        f"tiny_attention({ARGUMENTS}) -> Tensor": (
            _forward,
            lambda q, k, v, *settings: q.new_empty(*q.shape[:-1], v.shape[-1]),
        ),
        f"tiny_attention_backward(Tensor grad, {ARGUMENTS}) -> (Tensor, Tensor, Tensor)": (
            _backward,
            lambda grad, q, k, v, *settings: tuple(x.new_empty(x.shape) for x in (q, k, v)),
        ),
    }
    for schema, (kernel, without_values) in operations.items():
        name = library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        for device in ("CPU", "CUDA"):
            library.impl(name, kernel, device)
        library.impl(name, without_values, "Meta")
    return library


@functools.cache
def _opaque_attention() -> Callable[..., Tensor]:
    """The operations as a differentiable function, with the rule for lanes."""
    _library()

    def forward(settings: tuple[bool, float], *tensors: Tensor | None) -> Tensor:
        return torch.ops.bench.tiny_attention.default(*tensors, *settings)

    def backward(settings: tuple[bool, float], grad: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        return torch.ops.bench.tiny_attention_backward.default(grad, *tensors, *settings)

    return opaque(forward, backward, _fold_inputs)


def _fold_inputs(num_lanes: int, in_dims: Sequence[int | None], tensors: Sequence[Any]) -> list[Any]:
    """q, k, v and the masks, the lanes folded into the batch; a mask that all of them share stays one."""
    *qkv, allowed = tensors
    folded = [fold(x, dim, num_lanes) for x, dim in zip(qkv, in_dims[:3], strict=True)]
    if allowed is not None and (in_dims[3] is not None or allowed.shape[0] > 1):
        allowed = fold(allowed, in_dims[3], num_lanes)
    return [*folded, allowed]
