"""Finds declared parameters that change nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from torch.utils import _pytree as pytree

from bench.entry import parameters
from bench.errors import UsageError
from bench.lazy import torch


def ignored_parameters(entry: Any, observe: Callable[[Any], Any], *, left_out: Collection[str] = ()) -> set[str]:
    """Names of an entry's parameters of which no other valid value changes what `observe` returns.

    A parameter counts as used if it acts under one option of the entry's choices (parameters of type Literal). Not
    among them: those of `left_out`, and those of which no other value is known (`untried_parameters`).
    """
    declared = parameters(type(entry))
    bases = [entry]
    for name, (annotation, _) in declared.items():
        bases += [changed for option in options(annotation) if (changed := _replaced(entry, name, option)) is not None]
    ignored = set(declared) - untried_parameters(entry) - set(left_out)
    for base in bases:
        if not ignored:
            break
        seen = _observed(observe, base)
        for name in sorted(ignored):
            others = (_replaced(base, name, value) for value in other_values(declared[name][0], getattr(base, name)))
            if any(differ(seen, _observed(observe, other)) for other in others if other is not None):
                ignored.discard(name)
    return ignored


def untried_parameters(entry: Any) -> set[str]:
    """Names of the parameters of which no other valid value is known, such as text."""
    return {
        name
        for name, (annotation, _) in parameters(type(entry)).items()
        if not any(True for _ in other_values(annotation, getattr(entry, name)))
    }


def other_values(annotation: Any, value: Any) -> Iterator[Any]:
    """Valid values of a parameter near and far from `value`."""
    if isinstance(value, bool):
        candidates = [not value]
    elif isinstance(value, int):
        candidates = [value - 1, value + 1, value // 2, value * 2, 1]
    elif isinstance(value, float):
        candidates = [value / 2, value * 2, value + 0.1, value - 0.1, value / 1000, value * 1000]
    else:
        candidates = [option for option in options(annotation) if option != value]
    for candidate in candidates:
        try:
            valid = TypeAdapter(annotation).validate_python(candidate, strict=True)
        except ValidationError:
            continue
        if valid != value:
            yield valid


def options(annotation: Any) -> tuple[Any, ...]:
    """What a Literal admits; nothing for any other annotation."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def differ(one: Any, other: Any) -> bool:
    """Whether two nests of tensors differ in structure, shape or any value."""
    leaves, spec = pytree.tree_flatten(one)
    other_leaves, other_spec = pytree.tree_flatten(other)
    return spec != other_spec or not all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(leaves, other_leaves, strict=True)
    )


def _observed(observe: Callable[[Any], Any], entry: Any) -> Any:
    """What is observed of an entry; the words with which it refuses its parameters, if it does."""
    try:
        return observe(entry)
    except UsageError as error:
        return str(error)


def _replaced(entry: Any, name: str, value: Any) -> Any:
    """The entry with another value of a parameter; None where it refuses it."""
    try:
        return dataclasses.replace(entry, **{name: value})
    except (TypeError, ValueError):
        return None
