"""Named entries: from a target `package.module:Class` to the class, its parameters and an instance."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, get_type_hints

from bench.trial import Choice


def load_class(target: str) -> type:
    """The class at `package.module:Class`. Raises ImportError or AttributeError where there is none."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def parameters(entry_class: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of every parameter that an entry declares as a dataclass field."""
    hints = get_type_hints(entry_class, include_extras=True)
    return {field.name: (hints[field.name], field.default) for field in dataclasses.fields(entry_class)}


def build(entries: Mapping[str, str], choice: Choice) -> Any:
    """The instance that a validated choice names: one of `entries`, or a `package.module:Class` of the user's."""
    return load_class(entries.get(choice.name, choice.name))(**choice.params)
