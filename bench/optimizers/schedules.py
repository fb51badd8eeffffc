"""Learning-rate schedules: the factor on the learning rate at a step. Each follows a linear warmup.

Warmup: the factor grows as (step + 1) / warmup_steps up to 1; warmup_steps = 0 means none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Le

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Subclass it and override `decay`."""

    source: ClassVar[str] = "not stated"

    def factor(self, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        """The factor on the learning rate at `step` (counted from 0), a scalar in [0, 1]."""
        warmup = ((step + 1) / warmup_steps.clamp_min(1)).clamp_max(1)
        progress = ((step - warmup_steps) / (num_steps - warmup_steps).clamp_min(1)).clamp(0, 1)
        return warmup * self.decay(progress)

    def decay(self, progress: Tensor) -> Tensor:
        """The factor after warmup; progress runs from 0 at the end of warmup to 1 at the last step."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """1 after warmup."""

    source = "no decay"

    def decay(self, progress: Tensor) -> Tensor:
        return torch.ones_like(progress)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from 1 to `final_fraction`. Source: Loshchilov & Hutter 2017, Eq. 5, one period."""

    source = "Loshchilov & Hutter 2017, Eq. 5"

    final_fraction: Annotated[float, Ge(0), Le(1)] = 0.0

    def decay(self, progress: Tensor) -> Tensor:
        return self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + (math.pi * progress).cos())
