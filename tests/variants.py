"""Finds declared parameters that change nothing."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import TypeAdapter, ValidationError
from torch.utils import _pytree as pytree

from bench.entry import parameters


def ignored_parameters(entry: Any, observe: Callable[[Any], Any]) -> set[str]:
    """Names of an entry's parameters of which no other valid value changes what `observe` returns.

    A parameter counts as used if it acts under one option of the entry's choices (parameters of type Literal).
    """
    declared = parameters(type(entry))
    bases = [entry]
    for name, (annotation, _) in declared.items():
        bases += [dataclasses.replace(entry, **{name: option}) for option in options(annotation)]
    ignored = set(declared)
    for base in bases:
        seen = observe(base)
        for name in sorted(ignored):
            others = other_values(declared[name][0], getattr(base, name))
            if any(differ(seen, observe(dataclasses.replace(base, **{name: value}))) for value in others):
                ignored.discard(name)
    return ignored


def other_values(annotation: Any, value: Any) -> Iterator[Any]:
    """Valid values of a parameter near and far from `value`."""
    if isinstance(value, bool):
        candidates = [not value]
    elif isinstance(value, int):
        candidates = [value - 1, value + 1, value // 2, value * 2]
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
