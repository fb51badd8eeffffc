"""Learning-rate schedules: the factor on the learning rate at a step. Each follows a linear warmup.

Warmup: the factor grows as (step + 1) / warmup_steps up to 1; warmup_steps = 0 means none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Subclass it, declare constants as fields, override `decay`."""

    source: ClassVar[str] = "not stated"
    sources: ClassVar[tuple[str, ...]] = ()  # BibTeX keys of analysis/references/sources.bib, if `source` names any

    def factor(self, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        """The factor on the learning rate at `step` (counted from 0), a scalar in [0, 1]."""
        warmup = ((step + 1) / warmup_steps.clamp_min(1)).clamp_max(1)
        progress = ((step - warmup_steps) / (num_steps - warmup_steps).clamp_min(1)).clamp(0, 1)
        return warmup * self.decay(progress, step, warmup_steps, num_steps)

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        """The factor that follows warmup, 1 until then; progress runs from 0 at its end to 1 at that of training."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """1 after warmup."""

    source = "no decay"

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        return torch.ones_like(progress)


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """A line from 1 to `final_fraction`. Source: Devlin et al. 2019, App. A.2, as torch.optim.lr_scheduler.LinearLR."""

    source = "Devlin et al. 2019, App. A.2, as torch.optim.lr_scheduler.LinearLR"
    sources = ("devlin2019bert",)

    final_fraction: Annotated[float, Ge(0), Le(1)] = 0.0

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        return 1 - (1 - self.final_fraction) * progress


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from 1 to `final_fraction`. Source: Loshchilov & Hutter 2017, Eq. 5, one period."""

    source = "Loshchilov & Hutter 2017, Eq. 5"
    sources = ("loshchilov2017sgdr",)

    final_fraction: Annotated[float, Ge(0), Le(1)] = 0.0

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        return self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + (math.pi * progress).cos())


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(Schedule):
    """sqrt(w / t) at the t-th step (from 1), at most 1, with w = max(warmup_steps, timescale).

    Source: Vaswani et al. 2017, Eq. 3, as a share of its peak. The paper has no training without warmup: the default
    timescale then gives 1 / sqrt(t); a longer one keeps the factor at 1 for as many steps (Raffel et al. 2020: 10,000).
    """

    source = "Vaswani et al. 2017, Eq. 3"
    sources = ("vaswani2017attention",)

    timescale: Annotated[float, Gt(0)] = 1.0

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        constant_until = torch.maximum(warmup_steps, self.timescale * torch.ones_like(warmup_steps))
        return (constant_until / (step + 1)).clamp_max(1).sqrt()


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """gamma^k after the k-th of `num_drops` drops, which cut what follows warmup into equal parts.

    Source: He et al. 2016, Sec. 4.2 (two drops to a tenth), as torch.optim.lr_scheduler.MultiStepLR.
    """

    source = "He et al. 2016, Sec. 4.2, as torch.optim.lr_scheduler.MultiStepLR"
    sources = ("he2016residual",)

    num_drops: Annotated[int, Ge(1)] = 2
    gamma: Annotated[float, Gt(0), Le(1)] = 0.1

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        # Multiplied before divided: a third of 300 steps ends after 100 in float32 too.
        parts = (step - warmup_steps) * (self.num_drops + 1) / (num_steps - warmup_steps).clamp_min(1)
        return self.gamma ** parts.floor().clamp(0, self.num_drops)


@dataclass(frozen=True, kw_only=True)
class WSD(Schedule):
    """Warmup, stable, decay: 1, then a line to `final_fraction` over the last `decay_fraction` of all steps.

    A decay that would begin during warmup begins at its end. Source: Hu et al. 2024 (MiniCPM), Sec. 4, which leaves the
    form of the decay open; linear as in Hagele et al. 2024.
    """

    source = "Hu et al. 2024, Sec. 4, linear decay"
    sources = ("hu2024minicpm", "hagele2024scaling")

    decay_fraction: Annotated[float, Gt(0), Le(1)] = 0.1
    final_fraction: Annotated[float, Ge(0), Le(1)] = 0.0

    def decay(self, progress: Tensor, step: Tensor, warmup_steps: Tensor, num_steps: int) -> Tensor:
        num_decaying = (num_steps - warmup_steps).clamp_max(self.decay_fraction * num_steps).clamp_min(1)
        left = ((num_steps - step) / num_decaying).clamp_max(1)
        return self.final_fraction + (1 - self.final_fraction) * left
