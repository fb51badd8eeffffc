"""RAdam: Adam that moves by its mean alone until its second moment says something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.optimizers.adam import Adam, correction
from bench.optimizers.base import Tensors

if TYPE_CHECKING:
    from torch import Tensor


_FEWEST = 5  # length of the average from which on the variance of 1/sqrt(v) is rectified


@dataclass(frozen=True, kw_only=True)
class RAdam(Adam):
    """p - lr r m / (sqrt(v) + eps), both moments corrected for their start, once the average of v is 5 steps long.

    Until then p - lr m. r = sqrt((n - 4)(n - 2) N / ((N - 4)(N - 2) n)) for an average that is n of at most
    N = 2/(1 - beta2) - 1 steps long. Weight decay is added to the gradient. Source: Liu et al. 2020, Alg. 2, as
    torch.optim.RAdam, which adds eps before v is corrected.
    """

    source = "Liu et al. 2020, Alg. 2, as torch.optim.RAdam"
    sources = ("liu2020variance",)
    ignores_scale = False  # early steps are those of momentum

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        decayed = self.with_decay(name, p, grad, knobs)
        mean, _, moments = self._moments(decayed, state, step)
        root = correction(self.beta2, step, grad.dtype).sqrt()
        rectified, is_long = self._rectification(step)
        adapted = rectified.to(grad.dtype) * root * mean / (moments["second"].sqrt() + self.eps)
        return p - knobs["lr"] * torch.where(is_long, adapted, mean), moments

    def _rectification(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """r, and whether the average is long enough for it."""
        num_steps = (step + 1).double()
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * num_steps * self.beta2**num_steps / (1 - self.beta2**num_steps)
        share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        is_long = length > _FEWEST
        return torch.where(is_long, share, 1).sqrt(), is_long
