"""Activation checkpointing that works under torch.func: a block's inner tensors are computed again going backwards.

torch.utils.checkpoint rests on saved-tensor hooks, which torch.func refuses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def checkpoint(
    function: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, Tensor | None]], x: Tensor, params: dict[str, Tensor]
) -> tuple[Tensor, Tensor | None]:
    """function(x, params), of which only x and params are kept; its second output passes no gradient."""
    names = list(params)
    seen: list[Tensor | None] = []

    def flat(x: Tensor, *tensors: Tensor) -> Tensor:
        y, aside = function(x, dict(zip(names, tensors, strict=True)))
        seen[:] = [aside]
        return y

    y = _recomputed().apply(flat, x, *params.values())
    assert y is not None
    return y, seen[0]


@functools.cache
def _recomputed() -> Any:
    """Two Functions that run below all transforms, so that none records what is inside a block for later."""

    class Recomputed(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
            return function(*tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            ctx.function = inputs[0]
            ctx.autocast = {
                "device_type": output.device.type,
                "dtype": torch.get_autocast_dtype(output.device.type),
                "enabled": torch.is_autocast_enabled(output.device.type),
            }
            ctx.save_for_backward(*inputs[1:])

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            return None, *Pullback.apply(ctx.function, ctx.autocast, grads[0], *ctx.saved_tensors)

    class Pullback(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(function: Callable[..., Tensor], autocast: dict[str, Any], grad: Tensor, *tensors: Tensor) -> Any:
            with torch.autocast(cache_enabled=False, **autocast):
                return torch.func.vjp(function, *tensors)[1](grad)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            raise NotImplementedError("second derivatives")

    return Recomputed
