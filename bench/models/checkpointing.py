"""Activation checkpointing that works under torch.func: a block's inner tensors are computed again going backwards.

torch.utils.checkpoint rests on saved-tensor hooks, which torch.func refuses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.fast.opaque import opaque

if TYPE_CHECKING:
    from torch import Tensor


def checkpoint(
    function: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, Tensor | None]], x: Tensor, params: dict[str, Tensor]
) -> tuple[Tensor, Tensor | None]:
    """function(x, params), of which only x and params are kept; its second output passes no gradient.

    Raises RuntimeError under torch.func.vmap: lanes can't be folded into the batch of what is computed again.
    """
    names = list(params)
    watched: list[Tensor | None] = []

    def first_output(x: Tensor, *tensors: Tensor) -> Tensor:
        y, second = function(x, dict(zip(names, tensors, strict=True)))
        watched[:] = [second]
        return y

    kind = x.device.type
    dtype, is_enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    block = _Block(function=first_output, autocast={"device_type": kind, "dtype": dtype, "enabled": is_enabled})
    y = _recomputed()(block, x, *params.values())
    return y, watched[0]


@dataclass(frozen=True, kw_only=True)
class _Block:
    """What is computed again, and how autocast was set the first time."""

    function: Callable[..., Tensor]
    autocast: dict[str, Any]


@functools.cache
def _recomputed() -> Callable[..., Tensor]:
    """A block of which nothing inside is recorded for later."""

    def forward(block: _Block, *tensors: Tensor) -> Tensor:
        return block.function(*tensors)

    def backward(block: _Block, grad: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(cache_enabled=False, **block.autocast):
            return torch.func.vjp(block.function, *tensors)[1](grad)

    def fold_inputs(num_lanes: int, in_dims: Sequence[Any], tensors: Sequence[Any]) -> list[Any]:
        raise RuntimeError("a block that is computed again trains one lane")

    return opaque(forward, backward, fold_inputs)
