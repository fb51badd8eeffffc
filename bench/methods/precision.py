"""The precision in which attention is computed, the same for every method.

Where a model multiplies in bfloat16 (autocast), queries and keys are normalised, rotated and scaled in float32, then
rounded once to bfloat16, as a matrix unit reads them. Their products, what a method makes of these, and rows of P are
in float32, dense or fused; P is rounded once more for its product with the values, as fused kernels do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def widened(tensor: Tensor) -> Tensor:
    """In float32 at least: what has half its bits gets them, the rest stays as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(tensor: Tensor) -> Any:
    """A context in which operations keep the dtype of what they are given, on the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)


def as_multiplied(tensor: Tensor, *, like: Tensor) -> Tensor:
    """In the dtype in which a matrix product of `like` is taken: autocast's where it acts, else that of `like`."""
    kind, dtype = like.device.type, like.dtype
    if torch.is_autocast_enabled(kind) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
    return tensor.to(dtype)
