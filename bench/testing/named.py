"""entries_named(): the entries that a word of the command line names, with parameters given beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bench.entry import build, load_class
from bench.errors import UsageError, did_you_mean
from bench.suite.entry import resolve
from bench.suite.entry_class import import_own
from bench.suite.errors import explain
from bench.suite.file import parse_document
from bench.suite.kinds import ENTRY_FIELDS


@dataclass(frozen=True, kw_only=True)
class Named:
    """An entry and the field of a suite that holds entries of its kind; or why it can't be one, in words."""

    field: str
    label: str
    entry: Any = None
    refusal: str = ""

    @property
    def words(self) -> str:
        """Its label and kind."""
        return f"{self.label} ({ENTRY_FIELDS[self.field].word})"


def entries_named(text: str, settings: Sequence[str]) -> list[Named]:
    """What is named `module:Class`, all entries that a module defines, or what is shipped or installed under a name.

    settings: `parameter=value` each, the value as in a suite file. Raises UsageError, but for one of several entries of
    a module that can't be one, whose `refusal` says why.
    """
    given = _given(settings)
    if fields := [field for field, kind in ENTRY_FIELDS.items() if text in kind.entries or text in kind.plug_ins]:
        return [_named(field, text, given) for field in fields]
    if ":" in text:
        return [_named(_field_of(text, import_own(text, "entry")), text, given)]
    targets = [
        f"{text}:{name}"
        for name, thing in vars(_module(text)).items()
        if inspect.isclass(thing) and thing.__module__ == text and _fields(thing) and not name.startswith("_")
    ]
    if not targets:
        raise UsageError(f"{text} defines no {_words()}; required a subclass of one of {', '.join(_bases())}")
    fields = {target: _field_of(target, load_class(target)) for target in targets}
    return [_named_or_refused(field, target, given) for target, field in fields.items()]


def _named_or_refused(field: str, name: str, given: Mapping[str, Any]) -> Named:
    try:
        return _named(field, name, given)
    except UsageError as error:
        return Named(field=field, label=name, refusal=str(error).removeprefix(f"{name}: "))


def _named(field: str, name: str, given: Mapping[str, Any]) -> Named:
    kind = ENTRY_FIELDS[field]
    try:
        choice = resolve(kind, {"name": name, **given}, allow_code=True)
    except ValidationError as error:
        raise explain(error, (), None, of=name) from None
    return Named(field=field, label=choice.label, entry=build(kind.entries, choice))


def _module(name: str) -> Any:
    try:
        return import_own(name, "entry")
    except UsageError as error:
        if getattr(error.__cause__, "name", None) != name:  # it was found, and raised something
            raise
        known = [each for kind in ENTRY_FIELDS.values() for each in kind.entries]
        raise UsageError(f"{error}{did_you_mean(name, known)}") from None


def _field_of(name: str, thing: Any) -> str:
    fields = _fields(thing)
    if not fields:
        raise UsageError(f"{name} is no {_words()}; required a subclass of one of {', '.join(_bases())}")
    return fields[0]


def _fields(thing: Any) -> list[str]:
    """The fields of a suite that may hold an entry of this class."""
    if not isinstance(thing, type):
        return []
    return [field for field, kind in ENTRY_FIELDS.items() if issubclass(thing, load_class(kind.base))]


def _words() -> str:
    *words, last = (kind.word for kind in ENTRY_FIELDS.values())
    return f"{', '.join(words)} or {last}"


def _bases() -> list[str]:
    return [kind.base.replace(":", ".") for kind in ENTRY_FIELDS.values()]


def _given(settings: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--set {setting!r}: required parameter=value, such as scale=2.0")
        given |= parse_document(f"{name}: {value}", f"--set {setting}").data
    return given
