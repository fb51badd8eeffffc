"""Named entries: from a target `package.module:Class` to the class, its parameters and an instance."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
from collections.abc import Mapping
from typing import Any, get_type_hints

from bench.trial import EARLIER, Choice


def load_class(target: str) -> type:
    """The class at `package.module:Class`. Raises ImportError or AttributeError where there is none."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def parameters(entry_class: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of every parameter that an entry declares as a dataclass field."""
    hints = get_type_hints(entry_class, include_extras=True)
    fields = dataclasses.fields(entry_class)
    made = {one.name: one.default_factory() for one in fields if one.default_factory is not dataclasses.MISSING}
    return {one.name: (hints[one.name], made.get(one.name, one.default)) for one in fields}


def odd_overrides(entry_class: type, base: type) -> dict[str, tuple[str, str]]:
    """Functions of `base` that the class overrides so that a call of the base's can't reach them.

    Name -> (the arguments that the class takes, those that it is called with), as text.
    """
    odd = {}
    for name, called in inspect.getmembers(base, inspect.isfunction):
        override = inspect.getattr_static(entry_class, name)
        if name.startswith("_") or override is called or not inspect.isfunction(override):
            continue
        expected, taken = inspect.signature(called), inspect.signature(override)
        by_name = [p.name for p in expected.parameters.values() if p.kind is p.KEYWORD_ONLY]
        try:
            taken.bind(*[None] * (len(expected.parameters) - len(by_name)), **dict.fromkeys(by_name))
        except TypeError:
            odd[name] = (_arguments(taken), _arguments(expected))
    return odd


def _arguments(signature: inspect.Signature) -> str:
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(inspect.Signature(bare))


def build(entries: Mapping[str, str], choice: Choice) -> Any:
    """The instance that a validated choice names: one of `entries`, or a `package.module:Class` of the user's.

    A choice of an earlier version, without a parameter that there is now, stands for what was done then.
    """
    entry_class = load_class(entries.get(choice.name, choice.name))
    earlier = {field.name: EARLIER[field.name] for field in dataclasses.fields(entry_class) if field.name in EARLIER}
    return entry_class(**{**earlier, **located(entry_class, choice.params, choice.folder)})


def located(entry_class: type, params: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Parameters of an entry, each of its `paths` that lies in `folder` as the path there; others are left as they are.

    So data beside a suite are found wherever a command runs, and those in the current directory as well.
    """
    beside = {name: os.path.join(folder, params[name]) for name in data_paths(entry_class, params)} if folder else {}
    return {**params, **{name: path for name, path in beside.items() if os.path.exists(path)}}


def data_paths(entry_class: type, params: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that name data by a path: of a class's `paths` those whose value is not among its `built_in`."""
    paths = {name: params[name] for name in getattr(entry_class, "paths", ())}
    return {name: path for name, path in paths.items() if path and path not in entry_class.built_in}
