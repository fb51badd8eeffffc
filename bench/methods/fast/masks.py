"""Masks of dropout on CUDA by one kernel: the words of bench.randomness, drawn in registers.

In tensors of 64-bit integers the ten rounds take hundreds of times the memory of a mask, and most of a step of a small
language model. A graph holds the kernel as the operation `bench::keep_mask`, which Inductor calls as it is.
Shapes: N seeds (lanes), W words of four bytes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.fast.tiny import is_triton_installed
from bench.randomness import integers, stream_id

if TYPE_CHECKING:
    from torch import Tensor

NUM_VALUES = 2**24  # that a draw has: the upper bits of a word, exact in float32
BLOCK = 512  # threads' words of a program


def keep_mask(seed: Tensor, stream: str, step: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
    """Elements to keep, bool, of shape (*broadcast(seed, step).shape, *shape): each is False with probability `rate`.

    seed, step: int64 tensors of one number, or of one a lane; 0 <= step < 2^32. The same on every device.
    """
    threshold = threshold_of(rate)
    assert max(seed.ndim, step.ndim) <= 1, "one number, or one of each lane"
    if takes(seed):
        return _operation()(seed, step, stream_id(stream), threshold, shape)
    return integers(seed, stream, step, shape, NUM_VALUES) >= threshold


def threshold_of(rate: float) -> int:
    """The least draw that is kept: the first whole number that reaches the share `rate` of NUM_VALUES, in float32."""
    import numpy

    return math.ceil(numpy.float32(rate * NUM_VALUES))


def takes(seed: Tensor) -> bool:
    """Whether the kernel runs where this is."""
    return seed.device.type == "cuda" and is_triton_installed()


def _kernels() -> Any:
    from bench.methods.fast import tiny_kernels  # imports Triton

    return tiny_kernels


def _keep(seed: Tensor, step: Tensor, stream: int, threshold: int, shape: Sequence[int]) -> Tensor:
    seeds, numel = torch.broadcast_shapes(seed.shape, step.shape), math.prod(shape)
    num_seeds, num_words = math.prod(seeds), -(-numel // 4)
    kept_NW = torch.empty((num_seeds, num_words), dtype=torch.int32, device=seed.device)
    with torch.cuda.device_of(seed):
        _kernels().keep[-(-num_words // BLOCK), num_seeds](
            kept_NW,
            seed.contiguous(),
            step.contiguous(),
            stream - (stream >> 31 << 32),  # as a signed number of 32 bits, so that one kernel serves all
            threshold,
            num_words,
            SEED_STRIDE=int(seed.ndim > 0),
            STEP_STRIDE=int(step.ndim > 0),
            BLOCK=BLOCK,
        )
    return kept_NW.view(torch.bool)[:, :numel].reshape(*seeds, *shape).contiguous()


@functools.cache
def _operation() -> Callable[..., Tensor]:
    """The operation, with the rule for lanes; at the first call it is registered."""
    keep = torch.library.custom_op(
        "bench::keep_mask",
        _keep,
        mutates_args=(),
        schema="(Tensor seed, Tensor step, int stream, int threshold, SymInt[] shape) -> Tensor",
    )

    @keep.register_fake
    def _(seed: Tensor, step: Tensor, stream: int, threshold: int, shape: Sequence[int]) -> Tensor:
        seeds = torch.broadcast_shapes(seed.shape, step.shape)
        return seed.new_empty((*seeds, *shape), dtype=torch.bool)

    @keep.register_vmap
    def _(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[Tensor, int]:
        seed, step = (
            x if dim is None else x.movedim(dim, 0) for x, dim in zip(arguments[:2], in_dims[:2], strict=True)
        )
        return keep(seed, step, *arguments[2:]), 0

    return keep
