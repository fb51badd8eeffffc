"""find_class(): the class that a name of a suite stands for: shipped, of an installed package, or a user's own.

A user's own, `package.module:Class`, is imported only if code is allowed.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.entry import load_class, odd_overrides
from bench.errors import UsageError
from bench.suite.errors import problem, reject, show, suggest
from bench.suite.file import Loc
from bench.suite.kinds import Kind
from bench.suite.plug_ins import TARGET, PlugIn
from bench.suite.search_path import as_target, refuse_namesake, search_in

PACKAGE = Path(__file__).parents[1]
LOOKED_IN = "looked in"  # says of code or data of a suite that it was not found where `places` says


@dataclass(frozen=True, kw_only=True)
class FoundClass:
    """name: what a trial keeps, the name of what is shipped, else `package.module:Class`. label: what tables say."""

    entry_class: type
    name: str
    label: str


def find_class(kind: Kind, name: str, loc: Loc, *, allow_code: bool, folder: Path | None) -> FoundClass:
    """The class of an entry. Raises ValidationError where there is none, or none that can be an entry of this kind."""
    if name in kind.entries:
        return FoundClass(entry_class=load_class(kind.entries[name]), name=name, label=name)
    plug_in = kind.plug_in_at(name) if ":" in name else kind.plug_ins.get(name)
    if plug_in is not None:
        label = plug_in.target if plug_in.refusal else plug_in.name
        entry_class = _checked(kind, label, _of_plug_in(plug_in, loc), loc)
        return FoundClass(entry_class=entry_class, name=plug_in.target, label=label)
    if ":" not in name:
        _reject_name(kind, name, loc, folder)
    if not TARGET.fullmatch(name) or as_target(name):
        meant = as_target(name)
        hint = f", as {meant}, whose folder is searched" if meant else " in letters, digits and _"
        reject(problem(f"a {kind.word} of your own must be package.module:Class{hint}, got {show(name)}", loc=loc))
    if not allow_code:
        message = f"{kind.word} {show(name)} is code that would be imported; pass --allow-code if you trust it"
        reject(problem(message, value=name, loc=loc))
    try:
        thing = import_own(name, kind.word, folder)
    except UsageError as error:
        raise ValidationError.from_exception_data("suite", [problem(str(error), value=name, loc=loc)]) from error
    return FoundClass(entry_class=_checked(kind, name, thing, loc), name=name, label=name)


def _reject_name(kind: Kind, name: str, loc: Loc, folder: Path | None) -> None:
    for refused in (one for one in kind.refused_plug_ins if one.name == name):
        message = f"{show(name)} of {refused.package} can't be named so: {refused.refusal}; write {refused.target}"
        reject(problem(message, value=name, loc=loc))
    hint = suggest(name, [*kind.entries, *kind.plug_ins], existing=f"{kind.word}s that exist")
    if any((one / f"{name}.py").is_file() for one in (folder or Path(), Path())):
        hint = f"a class of {name}.py is named {name}:CLASS"
    reject(problem(f"unknown {kind.word} {show(name)}; {hint}", value=name, loc=loc))


def _of_plug_in(plug_in: PlugIn, loc: Loc) -> Any:
    try:
        return load_class(plug_in.target)
    except (Exception, SystemExit) as error:  # whatever the package raises
        message = f"{show(plug_in.name)} of {plug_in.package} can't be imported: {import_reason(error)}"
        raise ValidationError.from_exception_data("suite", [problem(message, loc=loc)]) from error


def import_reason(error: BaseException) -> str:
    """What an import raised, in one line, with the place in code that is nobody's library, if it came by there."""
    text = " ".join(str(error).split())
    if "attempted relative import" in text:
        text += "; a file beside the suite imports others by their names alone, without a point"
    if "non-frozen dataclass" in text:
        text += "; decorate it with @dataclass(frozen=True, kw_only=True)"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not _is_of_a_library(one.filename)]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {(text or 'no message')[:200]}{place}"


def _is_of_a_library(filename: str) -> bool:
    path = Path(filename)
    return filename.startswith("<") or any(
        path.is_relative_to(folder)
        for folder in (PACKAGE, sysconfig.get_path("stdlib"), *map(sysconfig.get_path, ("purelib", "platlib")))
    )


def import_own(name: str, expected: str, folder: Path | None = None) -> Any:
    """What `module`, or `module:Class`, of a user's own names, of which code of an `expected` kind is hoped for.

    The folder of the suite and then the current directory are searched before all else. Raises UsageError, of one line.
    """
    search_in([Path.cwd(), *([folder] if folder is not None else [])])
    if folder is not None:
        refuse_namesake(name.partition(":")[0].partition(".")[0], folder)
    try:
        return load_class(name) if ":" in name else importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise UsageError(
            f"{show(name)} can't be imported: {import_reason(error)}; expected {expected} code; "
            f"{LOOKED_IN} {places(folder)} and where Python does"
        ) from error


def _checked(kind: Kind, name: str, entry_class: Any, loc: Loc) -> type:
    """What was imported, if it can be an entry of this kind."""
    base = load_class(kind.base)
    shown_base = kind.base.replace(":", ".")
    if not (isinstance(entry_class, type) and issubclass(entry_class, base)):
        reject(problem(f"{show(name)} must be a subclass of {shown_base}, got {_described(entry_class)}", loc=loc))
    if "__dataclass_fields__" not in vars(entry_class):
        reject(problem(f"{show(name)} must be a dataclass: decorate it with @dataclass(frozen=True)", loc=loc))
    if kind.word == "method" and inspect.getattr_static(entry_class, "weights") is vars(base)["weights"]:
        reject(problem(f"{show(name)} must override `weights`, which gives the attention probabilities", loc=loc))
    odd = odd_overrides(entry_class, base)
    if odd:
        words = [f"{of}{taken} must be {of}{expected}" for of, (taken, expected) in odd.items()]
        reject(problem(f"{show(name)} can't be called as {shown_base} is: {'; '.join(words)}", loc=loc))
    return entry_class


def places(folder: str | Path | None) -> str:
    """Where code and data of a suite in `folder` are looked for, in this order."""
    return " and ".join(dict.fromkeys(map(str, filter(None, (folder, os.getcwd())))))


def _described(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"an object of {type(thing).__name__}"
