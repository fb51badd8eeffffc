"""Dropout whose masks are those of the trial's seed, whatever trains beside it, on every device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
        """The same seed and step, another rate."""
        return replace(self, rate=rate)

    def __call__(self, stream: str, x: Tensor) -> Tensor:
        """`x` with elements of 0 at the rate, the others times 1 / (1 - rate): a mask for each stream."""
        if not self.acts:
            return x
        assert self.seed is not None
        assert self.step is not None
        kept = keep_mask(self.seed, "dropout." + stream, self.step, tuple(x.shape), self.rate)
        return x * kept / (1 - self.rate)
