"""Named entries of a suite: from `softmax` or {name: window_softmax, width: 4} to a Choice with every parameter.

Parameters are checked against the annotations of the entry's dataclass: strictly, but a whole number may stand for a
float.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import InitErrorDetails

from bench.entry import data_paths, load_class, located, parameters
from bench.errors import UsageError
from bench.suite.entry_class import LOOKED_IN, find_class, places
from bench.suite.errors import problem, reject, relocated, show, suggest
from bench.suite.file import Loc
from bench.suite.kinds import Kind
from bench.suite.own_code import code_digest
from bench.trial import Choice, canonical_json

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_RECORDED = contextvars.ContextVar[Mapping[str, str]]("recorded data", default=MappingProxyType({}))


@contextlib.contextmanager
def data_as_recorded(digests: Mapping[str, str]) -> Iterator[None]:
    """Within it the data of shipped workloads are those of these digests, by `identity`, and nothing of them is read.

    Code is never taken so: a user's workload, or one of another revision, is what it is here.
    """
    token = _RECORDED.set(digests)
    try:
        yield
    finally:
        _RECORDED.reset(token)


def identity(name: str, params: Mapping[str, Any]) -> str:
    """An entry by its name and every parameter, as text."""
    return canonical_json({"name": name, "params": dict(sorted(params.items()))})


def resolve(kind: Kind, value: Any, *, allow_code: bool, folder: Path | None = None) -> Choice:
    """The choice that an entry of a suite stands for; code and data are looked for in `folder`, too.

    Raises ValidationError with every problem of the entry.
    """
    if isinstance(value, Choice):
        value = {"name": value.name, **value.params}
    loc: Loc = ("name",) if isinstance(value, Mapping) else ()
    given = dict(value) if isinstance(value, Mapping) else {"name": value}
    if "name" not in given:
        reject(problem(f"name is required: which {kind.word}?", value=value))
    name = given.pop("name")
    if isinstance(name, type):  # in Python only: the class itself, which is imported already
        name, allow_code = f"{name.__module__}:{name.__qualname__}", True
    if not isinstance(name, str) or not name:
        reject(problem(f"a {kind.word} must be a name or a mapping with one, got {show(name)}", value=name, loc=loc))
    known = find_class(kind, name, loc, allow_code=allow_code, folder=folder)
    entry_class, label = known.entry_class, known.label
    defaults, params = _params(kind, label, entry_class, given)
    home = str(folder) if folder is not None and getattr(entry_class, "paths", ()) else ""
    entry = _construct(label, entry_class, located(entry_class, params, home))
    is_shipped_workload = kind.word == "workload" and known.name in kind.entries
    recorded = _RECORDED.get().get(identity(known.name, params)) if is_shipped_workload else None
    if recorded is not None and not recorded.startswith(_revision(entry)):
        recorded = None
    differing = [f"{key}={_plain(params[key])}" for key in params if params[key] != defaults.get(key)]
    return Choice(
        name=known.name,
        params=params,
        digest=_digest(kind, known.name, entry, loc, home) if recorded is None else recorded,
        label=f"{label}({', '.join(differing)})" if differing else label,
        folder=home,
    )


def entry_schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema of an entry: the names that exist, then one object for each with its parameters."""
    names = [*kind.entries, *kind.plug_ins]
    named = {"enum": names, "description": f"a {kind.word} with its default parameters"}
    own: dict[str, Any] = {
        "type": "string",
        "pattern": ":",
        "description": "package.module:Class, read with --allow-code",
    }
    if kind.plug_ins:
        own = {"anyOf": [own, {"enum": list(kind.plug_ins), "description": "of an installed package"}]}
    schemas: list[dict[str, Any]] = [named, own]
    for name, target in kind.entries.items():
        entry_class = load_class(target)
        properties: dict[str, Any] = {"name": {"const": name}}
        for key, (adapter, default) in _adapters(entry_class).items():
            properties[key] = adapter.json_schema() | {"default": default}
        summary = (inspect.getdoc(entry_class) or name).split("\n\n")[0]
        schemas.append(_object(properties, description=" ".join(summary.split()), closed=True))
    schemas.append(_object({"name": own}, description=f"a {kind.word} of your own with its parameters", closed=False))
    return {"anyOf": schemas}


def _object(properties: dict[str, Any], *, description: str, closed: bool) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": ["name"],
        "additionalProperties": not closed,
    }


@functools.cache
def _adapters(entry_class: type) -> dict[str, tuple[TypeAdapter[Any], Any]]:
    """Name -> (check, default) of each parameter; the default is dataclasses.MISSING where there is none."""
    return {
        name: (TypeAdapter(annotation, config=STRICT), default)
        for name, (annotation, default) in parameters(entry_class).items()
    }


def _params(kind: Kind, name: str, entry_class: type, given: dict[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Defaults and values of all parameters, in the order of their declaration."""
    try:
        adapters = _adapters(entry_class)
    except (PydanticUserError, NameError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"parameters of {show(name)} can't be read: {reason}; expected annotations such as int or float"
        raise ValidationError.from_exception_data("suite", [problem(message)]) from error
    problems: list[InitErrorDetails] = []
    for key in given.keys() - adapters.keys():
        hint = suggest(str(key), adapters, existing="its parameters")
        if (plain := vars(entry_class).get(key)) is not None and isinstance(plain, bool | int | float | str):
            hint = f"its class has it without a type: {key}: {type(plain).__name__} = {plain!r}"
        message = f"unknown parameter {show(key)} of {kind.word} {show(name)}; {hint}"
        if key in (refused := getattr(entry_class, "refused", {})):
            message = f"{kind.word} {show(name)} has no {key}, remove it: {refused[key]}"
        problems.append(problem(message, value=given[key], loc=(str(key),), at_key=True))
    defaults, params = {}, {}
    for key, (adapter, default) in adapters.items():
        if default is not dataclasses.MISSING:
            defaults[key] = _checked(adapter, default, key, problems)
        elif key not in given:
            problems.append(
                problem(f"parameter {key!r} of {kind.word} {show(name)} is required; its class gives no default")
            )
        params[key] = _checked(adapter, given[key], key, problems) if key in given else defaults.get(key)
    if problems:
        reject(*problems)
    return defaults, params


def _checked(adapter: TypeAdapter[Any], value: Any, key: str, problems: list[InitErrorDetails]) -> Any:
    """The value as its annotation has it; else None, and what is wrong is added to `problems`."""
    try:
        # A list of a suite stands for a tuple, too, as one of JSON does.
        is_list = isinstance(value, list)
        checked = adapter.validate_json(canonical_json(value)) if is_list else adapter.validate_python(value)
        canonical_json(checked)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            problems.append(relocated(details, key))
        return None
    except (TypeError, ValueError):
        problems.append(problem(f"{key} must be plain data (numbers, text, true or false)", value=value, loc=(key,)))
        return None
    return checked + 0.0 if isinstance(checked, float) else checked  # -0.0 and 0.0 are one value


def _construct(name: str, entry_class: type, params: dict[str, Any]) -> Any:
    """The entry. Raises where it refuses a combination of its parameters."""
    try:
        return entry_class(**params)
    except (TypeError, ValueError) as error:
        message = f"{show(name)} refuses its parameters: {' '.join(str(error).split())[:200]}"
        raise ValidationError.from_exception_data("suite", [problem(message)]) from error


def _digest(kind: Kind, name: str, entry: Any, loc: Loc, folder: str) -> str:
    """The digest that a trial's identity has of an entry's code and files, beside its parameters.

    The code of a user's entry, the data of a workload, and the revision of an entry that changed.
    """
    digest = _revision(entry)
    if kind.word == "workload":
        try:
            digest += entry.data_digest()
        except UsageError as error:
            is_found = all(map(os.path.exists, data_paths(type(entry), vars(entry)).values()))
            message = str(error) if is_found else f"{error}; {LOOKED_IN} {places(folder)}"
            raise ValidationError.from_exception_data("suite", [problem(message, loc=loc)]) from error
    if name in kind.entries:
        return digest
    try:
        return code_digest(type(entry)) + digest
    except UsageError as error:
        raise ValidationError.from_exception_data("suite", [problem(str(error), loc=loc)]) from error
    except (OSError, TypeError, SyntaxError) as error:
        message = f"the source file of {show(name)} must be readable: {error}"
        raise ValidationError.from_exception_data("suite", [problem(message, loc=loc)]) from error


def _revision(entry: Any) -> str:
    """Which version of a shipped entry it is, where that is part of what a trial is; else empty."""
    return f"revision {entry.revision}" if getattr(entry, "revision", 0) else ""


def _plain(value: Any) -> str:
    """As in a suite file: true, 8, 0.5, learned."""
    return show(value) if isinstance(value, bool) else str(value)
