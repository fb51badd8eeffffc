"""Dropout whose masks are those of the trial's seed, whatever trains beside it, on every device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.fast.masks import keep_mask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Dropout whose mask is a function of (seed, step, stream); with rate 0 or no seed it does nothing."""

    rate: float = 0.0
    seed: Tensor | None = None
    step: Tensor | None = None

    @property
    def acts(self) -> bool:
        """Whether it drops anything."""
        return self.rate > 0 and self.seed is not None and self.step is not None

    def with_rate(self, rate: float) -> Dropout:
        """Dropout of the same seed and step with another rate."""
        return replace(self, rate=rate)

    def either(self, stream: str, kept: Tensor, dropped: Tensor) -> Tensor:
        """The second of two tensors at the rate, else the first, whole and unscaled: one draw for each stream."""
        if not self.acts:
            return kept
        assert self.seed is not None
        assert self.step is not None
        return torch.where(keep_mask(self.seed, "dropout." + stream, self.step, (1,), self.rate), kept, dropped)

    def __call__(self, stream: str, x: Tensor) -> Tensor:
        """`x` with elements of 0 at the rate, the others times 1 / (1 - rate): a mask for each stream."""
        if not self.acts:
            return x
        assert self.seed is not None
        assert self.step is not None
        kept = keep_mask(self.seed, "dropout." + stream, self.step, tuple(x.shape), self.rate)
        return _scaled_where()(x, kept, 1 / (1 - self.rate))


@functools.cache
def _scaled_where() -> Callable[..., Tensor]:
    """x times `scale` where kept, else 0: one pass over x, forward and backward.

    As a product and a quotient it is four passes, two of them by PyTorch's kernel for mixed types: with the mask 14% of
    a step of nanoGPT's recipe. The operation is that of a gradient of dropout, which is the same function of its input.
    """

    class ScaledWhere(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor, kept: Tensor, scale: float) -> Tensor:
            return torch.ops.aten.native_dropout_backward.default(x, kept, scale)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            _, kept, ctx.scale = inputs
            ctx.save_for_backward(kept)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            (kept,) = ctx.saved_tensors
            return ScaledWhere.apply(*grads, kept, ctx.scale), None, None

    return ScaledWhere.apply
