"""Interventions on updates: the learning rate, the gradients, and which parameters are left as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt

from bench.interventions.base import Numbers, OnUpdates
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

    def freezes(self, name: str) -> bool:
        projection, _, own = name.rpartition(".")
        if self.what == "query_key":
            return projection in ("query", "key")
        return name.startswith("method.") or own not in ("weight", "bias")
