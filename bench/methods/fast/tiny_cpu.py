"""The kernels of tiny.py on a processor: tiny_cpu.c, compiled by the C compiler of this machine, where it has one.

Compiling takes about half a second, once for a compiler, a processor and a width (bench.native).
Shapes: B batch, H heads, Q queries, K keys, W width of all three, M masks.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.native import c_library

if TYPE_CHECKING:
    from torch import Tensor

MAX_KEYS = 32  # and queries: the kernels keep a block's rows on the stack
FLAGS = ("-O2",)


class Settings(ctypes.Structure):
    """The struct of this name in the source."""

    _fields_ = (
        ("num_sequences", ctypes.c_int64),
        ("sequences_per_mask", ctypes.c_int64),
        ("num_queries", ctypes.c_int64),
        ("num_keys", ctypes.c_int64),
        ("allowed_MQK", ctypes.c_void_p),
        ("is_softmax", ctypes.c_int64),
        ("eps", ctypes.c_float),
    )


def is_compiled() -> bool:
    """Whether this machine has the kernels; the first time that it is asked, it compiles them."""
    return library(4) is not None


def forward(
    q_BHQW: Tensor, k_BHKW: Tensor, v_BHKW: Tensor, allowed_MQK: Tensor | None, is_softmax: bool, eps: float
) -> Tensor:
    """P V, (B, H, Q, W). All are contiguous and float32; as many sequences have each mask."""
    o_BHQW = torch.empty_like(q_BHQW)
    _call("forward", (q_BHQW, k_BHKW, v_BHKW, o_BHQW), q_BHQW, k_BHKW, allowed_MQK, is_softmax, eps)
    return o_BHQW


def backward(
    do_BHQW: Tensor,
    qkv: Sequence[Tensor],
    allowed_MQK: Tensor | None,
    is_softmax: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v from that of the output, as `forward` takes and gives them."""
    dq, dk, dv = (torch.empty_like(x) for x in qkv)
    _call("backward", (do_BHQW, *qkv, dq, dk, dv), qkv[0], qkv[1], allowed_MQK, is_softmax, eps)
    return dq, dk, dv


def _call(
    name: str,
    tensors: Sequence[Tensor],
    q_BHQW: Tensor,
    k_BHKW: Tensor,
    allowed_MQK: Tensor | None,
    is_softmax: bool,
    eps: float,
) -> None:
    kernels = library(q_BHQW.shape[-1])
    assert kernels is not None, "no C compiler"
    num_sequences, num_queries, num_keys = q_BHQW.shape[0] * q_BHQW.shape[1], q_BHQW.shape[2], k_BHKW.shape[2]
    assert max(num_queries, num_keys) <= MAX_KEYS
    allowed = None if allowed_MQK is None else allowed_MQK.to(torch.uint8).contiguous()
    settings = Settings(
        num_sequences=num_sequences,
        sequences_per_mask=num_sequences if allowed is None else num_sequences // allowed.shape[0],
        num_queries=num_queries,
        num_keys=num_keys,
        allowed_MQK=None if allowed is None else allowed.data_ptr(),
        is_softmax=is_softmax,
        eps=eps,
    )
    assert all(x.is_contiguous() and x.dtype == torch.float32 for x in tensors)
    getattr(kernels, name)(ctypes.byref(settings), *(ctypes.c_void_p(x.data_ptr()) for x in tensors))


@functools.cache
def library(width: int) -> ctypes.CDLL | None:
    """The kernels for one width, compiled if they were not yet; None where there is no compiler that can."""
    source = Path(__file__).with_suffix(".c").read_text(encoding="utf-8")
    return c_library("tiny", source, (*FLAGS, f"-DWIDTH={width}", f"-DMAX_KEYS={MAX_KEYS}"))
