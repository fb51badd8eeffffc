"""A property of entries: which function it is about, and a check that gives numbers or says what to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils import _pytree as pytree

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class PropertyError(AssertionError):
    """An entry lacks a property; the message says what was found and, where that is known, what to change.

    of: the function that is at fault, where it is not the one that the property is about.
    """

    def __init__(self, message: str, of: str = "") -> None:
        super().__init__(message)
        self.of = of


@dataclass(frozen=True, kw_only=True)
class Property:
    """check: numbers that were found, in words; raises PropertyError. of: the function that it is about, "" if none.

    is_sampled: whether it is tried of a user's own entry before training, too. is_basic: whether all others rest on it.
    """

    of: str
    check: Callable[[Any], str]
    is_sampled: bool = False
    is_basic: bool = False


def require(holds: bool | Tensor, message: str, of: str = "") -> None:
    """Raises PropertyError with the message, about the function `of`, unless it holds."""
    if not holds:
        raise PropertyError(message, of)


def require_close(actual: Any, expected: Any, what: str, *, rtol: float, atol: float) -> str:
    """The largest difference of two nests of tensors, in words.

    Raises PropertyError if their structures, shapes or dtypes differ, or values by more than atol + rtol |expected|.
    """
    leaves, structure = pytree.tree_flatten(actual)
    others, other_structure = pytree.tree_flatten(expected)
    require(structure == other_structure, f"{what}: {structure} instead of {other_structure}")
    largest = 0.0
    for one, other in zip(leaves, others, strict=True):
        kinds = [f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in (one, other)]
        require(kinds[0] == kinds[1], f"{what}: {kinds[0]} instead of {kinds[1]}")
        difference = (one.double() - other.double()).abs()
        is_near = torch.isclose(one, other, rtol=rtol, atol=atol)
        worst = difference[~is_near].nan_to_num(nan=float("inf")).max().item() if not is_near.all() else 0.0
        require(bool(is_near.all()), f"{what}: differ by {worst:.2g}, {atol:g} + {rtol:g} of the value is allowed")
        largest = max(largest, difference.max().item() if difference.numel() else 0.0)
    return f"differ by {largest:.1g} at most"


def stacked(trees: list[Any]) -> Any:
    """Nests of tensors of one structure as one nest, each tensor with a first dimension of their number."""
    return pytree.tree_map(lambda *leaves: torch.stack(leaves), *trees)


def is_finite(tree: Any) -> bool:
    """Whether all numbers of a nest of tensors are finite."""
    return all(bool(leaf.isfinite().all()) for leaf in pytree.tree_leaves(tree))
