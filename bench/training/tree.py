"""Nested dicts, lists and tuples of tensors: mapped, listed, copied into."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def map_tensors(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """The tree with `function` of each tensor in its place."""
    if isinstance(tree, dict):
        return {name: map_tensors(branch, function) for name, branch in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)([map_tensors(branch, function) for branch in tree])
    return function(tree)


def tensors_of(tree: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    map_tensors(tree, tensors.append)
    return tensors


def has_form(tree: Any, other: Any) -> bool:
    """Whether both have the same names, lengths, shapes and dtypes all the way down."""
    if isinstance(tree, dict):
        same = isinstance(other, dict) and tree.keys() == other.keys()
        return same and all(has_form(branch, other[name]) for name, branch in tree.items())
    if isinstance(tree, list | tuple):
        same = isinstance(other, list | tuple) and len(tree) == len(other)
        return same and all(has_form(*pair) for pair in zip(tree, other, strict=True))
    return hasattr(other, "shape") and (tree.shape, tree.dtype) == (other.shape, other.dtype)


def copy_tensors(target: Any, source: Any) -> None:
    """Into the tensors of `target`, in place, those of a `source` of the same form."""
    for to, value in zip(tensors_of(target), tensors_of(source), strict=True):
        to.copy_(value)
