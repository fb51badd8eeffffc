"""Reads a suite file: YAML 1.2 to plain data, with the place in the file of every key and value.

Only what a suite needs is read: mappings with text as keys, lists, and the scalars of YAML's core schema. Tags,
anchors, aliases, directives and further documents are refused, so a file can neither name code nor unfold to more
than what it shows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from bench.errors import UsageError

MAX_BYTES = 65_536  # about 2,000 entries; the parser reads some 100 kB a second
MAX_VALUES = 5_000
MAX_DEPTH = 8  # a suite needs 3: knobs, lr, log
INT64 = range(-(2**63), 2**63)

# Source: YAML 1.2.2, Sec. 10.3.2 (core schema). `no`, `off`, `1_000` and dates are text.
CORE_SCHEMA: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"(null|Null|NULL|~|)"), lambda text: None),
    (re.compile(r"(true|True|TRUE|false|False|FALSE)"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: float("nan")),
)

Loc = tuple[str | int, ...]  # the way to a value: ("methods", 1, "width")
Position = tuple[int, int]  # line and column, both counted from 1


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file's data and where each part of it stands."""

    file_name: str  # the path as messages show it
    text: str
    data: dict[str, Any]
    keys: dict[Loc, Position]
    values: dict[Loc, Position]
    folder: Path | None = None  # that the file lies in; None of a text that lies in none

    def position(self, loc: Loc, *, at_key: bool) -> Position:
        """Where the key or the value at `loc` stands; the nearest value around it if the file does not write it."""
        if at_key and loc in self.keys:
            return self.keys[loc]
        while loc not in self.values:
            loc = loc[:-1]
        return self.values[loc]


def read_document(path: str | Path) -> Document:
    """The data of a suite file. Raises UsageError with the first problem of reading or of YAML."""
    document = parse_document(_read_text(Path(path)), _printable(str(path)))
    return dataclasses.replace(document, folder=Path(path).resolve().parent)


def parse_document(text: str, file_name: str) -> Document:
    """The data of a suite's text, which messages call `file_name`. Raises UsageError with the first problem of YAML."""
    reader = _Reader(file_name=file_name, text=text)
    data = reader.document()
    return Document(file_name=file_name, text=text, data=data, keys=reader.keys, values=reader.values)


def shipped_suites() -> dict[str, str]:
    """Name -> description of every suite that comes with the package."""
    paths = {name: _shipped_path(name) for name in shipped_names()}
    return {name: " ".join(str(read_document(path).data["description"]).split()) for name, path in paths.items()}


def find_suite(name_or_path: str | Path) -> Path:
    """The file of a shipped suite's bare name (`quickstart`), or the path as given. Raises UsageError if none exists.

    A bare name means the shipped suite; write `./quickstart` for a file of that name.
    """
    path = Path(name_or_path)
    if str(name_or_path) in shipped_names():
        return _shipped_path(str(name_or_path))
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise UsageError(f"{_printable(str(path))}: no such suite file; shipped suites: {', '.join(shipped_names())}")
    return path


def shipped_names() -> list[str]:
    """The names of the suites that come with the package, which `shipped_suites` reads."""
    files = resources.files("suites").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def _shipped_path(name: str) -> Path:
    return Path(str(resources.files("suites") / f"{name}.yaml"))


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _read_text(path: Path) -> str:
    file_name = _printable(str(path))
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{file_name}: a suite must be a file, got a {'directory' if path.is_dir() else 'device'}")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{file_name}: no such suite file; bench list suites has those that are shipped") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{file_name}: can't be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{file_name}: too large for a suite; it must be at most {MAX_BYTES // 1024} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position_of_offset(raw[: error.start].decode("utf-8", errors="replace"))
        raise UsageError(f"{file_name}:{line}:{column}: not text; a suite must be in UTF-8") from None


def _position_of_offset(before: str) -> Position:
    lines = re.split(r"\r\n|[\r\n]", before)
    return len(lines), len(lines[-1]) + 1


@dataclass(kw_only=True)
class _Reader:
    """Turns the parser's events into data; a bounded recursion, since MAX_DEPTH is checked on the way down."""

    file_name: str
    text: str
    keys: dict[Loc, Position] = field(default_factory=dict)
    values: dict[Loc, Position] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._events = self._checked_events()

    def document(self) -> dict[str, Any]:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), StreamEndEvent):
            raise self._error((1, 1), "the file is empty; a suite must be a mapping of keys such as 'name'")
        first = next(self._events)
        data = self._value(first, ())
        if not isinstance(data, dict):
            raise self._error(_position(first), "a suite must be a mapping of keys such as 'name' and 'methods'")
        self.values[()] = (1, 1) if not data else self.values[()]
        next(self._events)  # the document's end
        following = next(self._events)
        if not isinstance(following, StreamEndEvent):
            raise self._error(_position(following), "a second document; a file must hold one suite")
        return data

    def _checked_events(self) -> Iterator[Event]:
        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                self._refuse(event)
                yield event
        except ReaderError as error:
            position = _position_of_offset(self.text[: error.position])
            message = f"control character {chr(error.character)!r}" if isinstance(error.character, int) else "not text"
            raise self._error(position, f"{message}; a suite must be plain text") from None
        except MarkedYAMLError as error:
            raise self._syntax_error(error) from None
        except (YAMLError, ValueError, OverflowError) as error:
            reason = str(error).splitlines()[0]
            raise self._error((1, 1), f"not valid YAML: {reason}; expected YAML 1.2") from None

    def _refuse(self, event: Event) -> None:
        position = _position(event)
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            raise self._error(position, "YAML directives (%) are not read; remove the line, YAML 1.2 is expected")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise self._error(position, "anchors (&) and aliases (*) are not read; write the value out, or quote it")
        if getattr(event, "tag", None):
            raise self._error(position, "tags (!) are not read; remove the tag, or quote the text")

    def _value(self, event: Event, loc: Loc) -> Any:
        self.values[loc] = _position(event)
        if len(self.values) > MAX_VALUES:
            raise self._error(_position(event), f"more than {MAX_VALUES:,} values; a suite must be shorter")
        if len(loc) > MAX_DEPTH:
            raise self._error(_position(event), f"nested deeper than {MAX_DEPTH} levels; a suite must be flatter")
        if isinstance(event, MappingStartEvent):
            return self._mapping(loc)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(loc)
        assert isinstance(event, ScalarEvent), event
        return self._scalar(event)

    def _mapping(self, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for event in iter(self._events.__next__, None):
            if isinstance(event, MappingEndEvent):
                break
            key = self._scalar(event) if isinstance(event, ScalarEvent) else None
            position = _position(event)
            if not isinstance(key, str):
                raise self._error(position, "a key must be text; quote it")
            if key in data:
                first = self.keys[(*loc, key)][0]
                raise self._error(position, f"duplicate key {key!r}; remove it or the first one, on line {first}")
            self.keys[(*loc, key)] = position
            data[key] = self._value(next(self._events), (*loc, key))
            if data[key] is None:
                self.values[(*loc, key)] = position  # a value that is left out would stand at the next token
        return data

    def _sequence(self, loc: Loc) -> list[Any]:
        data: list[Any] = []
        for event in iter(self._events.__next__, None):
            if isinstance(event, SequenceEndEvent):
                break
            data.append(self._value(event, (*loc, len(data))))
        return data

    def _scalar(self, event: ScalarEvent) -> Any:
        text = event.value
        if not event.implicit[0]:
            return text
        convert = next((convert for pattern, convert in CORE_SCHEMA if pattern.fullmatch(text)), str)
        try:
            value = convert(text)
        except ValueError:
            value = INT64.stop  # Python refuses to read integers of over 4,300 digits
        if isinstance(value, int) and value not in INT64:
            raise self._error(_position(event), "an integer must fit in 64 bits")
        return value

    def _syntax_error(self, error: MarkedYAMLError) -> UsageError:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        opened = error.context_mark
        context = " ".join((error.context or "").split())
        if context and opened and opened.line + 1 != position[0]:
            context += f" that starts on line {opened.line + 1}"
        reason = ": ".join(part for part in (context, " ".join((error.problem or "").split())) if part)
        lines = enumerate(self.text.splitlines()[: position[0]], 1)
        odd = [(number, line.index(letter) + 1) for number, line in lines for letter in _ODD_SPACES if letter in line]
        if odd:
            return self._error(odd[-1], "a space of another kind, as copied from a page; expected a plain one")
        return self._error(position, f"not valid YAML: {reason}; expected YAML 1.2, indented by spaces")

    def _error(self, position: Position, message: str) -> UsageError:
        return UsageError(f"{self.file_name}:{position[0]}:{position[1]}: {message}")


_ODD_SPACES = "\u00a0\u2007\u200b\u202f\u3000\ufeff"


def _position(event: Event) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1
