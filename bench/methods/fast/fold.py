"""Lanes as further batch, for custom autograd Functions under torch.func.vmap. Shapes: L lanes, B batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def fold(x: Tensor, dim: int | None, num_lanes: int) -> Tensor:
    """(B, ...) of all lanes as one batch, (L B, ...); dim is where the lanes are, None if all have the same."""
    x_LB = x.expand(num_lanes, *x.shape) if dim is None else x.movedim(dim, 0)
    return x_LB.flatten(0, 1)
