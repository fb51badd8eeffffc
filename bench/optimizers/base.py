"""What an optimizer is: a pure function from parameters and gradients to parameters, for one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Subclass it, declare constants as fields, override `init` and `update`."""

    source: ClassVar[str] = "not stated"
    knobs: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")  # the lane knobs that `update` reads

    def init(self, params: Tensors) -> dict[str, Tensors]:
        """State before the first step: name of a moment -> tensors by the parameters' names."""
        return {}

    def update(
        self, params: Tensors, grads: Tensors, state: dict[str, Tensors], knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        """Parameters and state after one step; step counts from 0.

        knobs: scalars; lr is the peak learning rate times the schedule's factor, which is lr_factor.
        """
        raise NotImplementedError
