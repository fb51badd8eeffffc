"""Interventions on updates: the learning rate, the gradients, and which parameters are left as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from bench.interventions.base import Numbers, OnUpdates
from bench.lanczos import largest_singular_value
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LrFactor(OnUpdates):
    """The learning rate times `factor`."""

    strength: ClassVar = "factor"

    factor: Annotated[float, Ge(0)] = 0.1

    def lr(self, lr: Tensor, acts: Tensor, strength: Tensor) -> Tensor:
        return torch.where(acts, lr * strength.to(lr), lr)


@dataclass(frozen=True, kw_only=True)
class GradientNoise(OnUpdates):
    """Normal noise added to the gradient of every parameter, its norm expected to be `share` of the gradient's own."""

    strength: ClassVar = "share"

    share: Annotated[float, Gt(0)] = 1.0

    def grads(self, name: str, grad: Tensor, noise: Tensor, acts: Tensor, strength: Tensor) -> Tensor:
        scale = strength.to(grad) * grad.square().mean().sqrt()
        return torch.where(acts, grad + scale * noise, grad)


@dataclass(frozen=True, kw_only=True)
class Frozen(OnUpdates):
    """Parameters of chosen layers left as they are, what the optimizer keeps of them goes on.

    what: the projections to queries and keys with all that the method adds to them, or the tensors that the method adds
    anywhere in the layer, such as gammas.
    """

    what: Literal["query_key", "method"] = "query_key"
    layers: Numbers | None = None

    @property
    def where(self) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        return self.layers, None

    @property
    def variant(self) -> str:
        return self.what

    def kept(self, name: str, before: Tensor, after: Tensor) -> Tensor:
        projection, _, own = name.rpartition(".")
        if self.what == "query_key":
            return before if projection in ("query", "key") else after
        return before if name.startswith("method.") or own not in ("weight", "bias") else after


@dataclass(frozen=True, kw_only=True)
class SpectralNormHeld(OnUpdates):
    """Query and key weights of chosen layers scaled after each update to the spectral norm that they had before it.

    As Lanczos has both norms, from the same start: their directions go on, how far logits can spread does not.
    """

    layers: Numbers | None = None

    @property
    def where(self) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        return self.layers, None

    def kept(self, name: str, before: Tensor, after: Tensor) -> Tensor:
        if name not in ("query.weight", "key.weight"):
            return after
        norms = [_spectral_norm(weight_IO) for weight_IO in (before, after)]
        return after * (norms[0] / norms[1].clamp_min(torch.finfo(after.dtype).tiny))


@dataclass(frozen=True, kw_only=True)
class BatchShare(OnUpdates):
    """Gradients of the first `share` of a batch's examples alone, each repeated: the noise of a smaller batch."""

    strength: ClassVar = "share"
    repeats_examples: ClassVar = True

    share: Annotated[float, Gt(0), Le(1)] = 0.125

    def batch(self, batch: dict[str, Tensor], acts: Tensor, strength: Tensor) -> dict[str, Tensor]:
        size = len(next(iter(batch.values())))
        place_B = torch.arange(size, device=acts.device)
        num_kept = (strength * size).ceil().clamp(1, size).to(place_B.dtype)
        place_B = torch.where(acts, place_B % num_kept, place_B)
        return {name: tensor[place_B] for name, tensor in batch.items()}


def _spectral_norm(weight_IO: Tensor) -> Tensor:
    exact_IO = weight_IO.double()
    start_I = torch.linspace(1, 2, weight_IO.shape[0], dtype=torch.float64, device=weight_IO.device)
    return largest_singular_value(exact_IO, start_I, 12).to(weight_IO.dtype)
