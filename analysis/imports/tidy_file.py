"""Reads a tidy file, CSV or Parquet, as a frame of text: the file is data alone, and is read once.

Cells stay text, so that whoever checks them can quote what the file says. Every complaint names the file and the place.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from bench.errors import UsageError

if TYPE_CHECKING:
    import pyarrow

MAX_BYTES = 64 * 2**20
MAX_RUNS = 100_000
MAX_COLUMNS = 200
REQUIRED = "required a CSV or Parquet file, a row a run"

_PARQUET = b"PAR1"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class TidyFile:
    """What a file says. `cells` holds text alone, null where a cell is empty; rows count from 1 below the header."""

    shown: str  # the path as messages show it
    name: str  # of the file, without its folder
    sha256: str
    place: str  # hash of the whole path, which tells files of one name apart and says nothing of folders
    cells: pl.DataFrame
    notes: tuple[str, ...] = ()  # what was made of the file, in words


def read_tidy(path: Path, ignore: Collection[str] = ()) -> TidyFile:
    """The cells of a CSV, JSON or Parquet file, told apart by what is in it; columns in `ignore` are left out.

    A first column of CSV without a name that counts 0 ... n - 1 is an index of pandas: left out, as `notes` say.

    Raises UsageError with the first problem: no such file, too large, neither CSV nor Parquet, a row of another length,
    a column without a name, of a name that was there already, or without rows.
    """
    shown = printable(str(path))
    content = _read(path, shown)
    first = content.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    read = _read_parquet if content.startswith(_PARQUET) else _read_json if first in (b"{", b"[") else _read_csv
    names, columns = read(content, shown, ignore)
    notes = ()
    if names[0] == "":
        if list(columns[0]) != [str(place) for place in range(len(columns[0]))]:
            raise UsageError(f"{shown}: column 1 has no name; required one in the header")
        names, columns, notes = names[1:], columns[1:], ("column 1 has no name and counts rows: left out as an index",)
    cells = pl.DataFrame(dict(zip(names, columns, strict=True)), schema=dict.fromkeys(names, pl.String))
    stripped = cells.with_columns(pl.all().str.strip_chars()).with_columns(pl.all().replace("", None))
    digest = hashlib.sha256(content).hexdigest()
    place = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    return TidyFile(shown=shown, name=printable(path.name), sha256=digest, place=place, cells=stripped, notes=notes)


def printable(text: str) -> str:
    """Text as a message shows it on one line."""
    return text if text.isprintable() else repr(text)


def _read(path: Path, shown: str) -> bytes:
    try:
        if not path.exists():
            raise UsageError(f"{shown}: no such file; {REQUIRED}")
        if not path.is_file():
            raise UsageError(f"{shown}: {REQUIRED}, got a {'folder' if path.is_dir() else 'device'}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(
                f"{shown}: {size / 1e6:,.0f} MB; required at most {MAX_BYTES / 1e6:.0f} MB: a row a run, not a step"
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not content.strip():
        raise UsageError(f"{shown}: the file is empty; {REQUIRED}")
    return content


def _read_csv(content: bytes, shown: str, ignore: Collection[str]) -> tuple[list[str], list[Sequence[str | None]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{shown}: line {line}: neither text in UTF-8 nor Parquet; {REQUIRED}") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UsageError(f"{shown}: line {line}: a binary file; {REQUIRED}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader)
        while not header:
            header = next(reader)
        names = _checked_names(header, shown)
        for row in reader:
            if row and len(row) != len(names):
                where = f"{shown}: row {len(rows) + 1} (line {reader.line_num})"
                raise UsageError(f"{where}: {len(row)} cells; required {len(names)}, as many as the header has")
            if row:
                rows.append(row)
            if len(rows) > MAX_RUNS:
                raise UsageError(f"{shown}: over {MAX_RUNS:,} rows; required at most that: a row a run, not a step")
    except csv.Error as error:
        raise UsageError(f"{shown}: line {reader.line_num}, after row {len(rows)}: not CSV ({error})") from None
    if not rows:
        raise UsageError(f"{shown}: no rows below the header; {REQUIRED}")
    kept = _kept(names, ignore, shown)
    columns: list[Sequence[str | None]] = [[row[place] for row in rows] for place in kept]
    return [names[place] for place in kept], columns


def _read_json(content: bytes, shown: str, ignore: Collection[str]) -> tuple[list[str], list[Sequence[str | None]]]:
    """Objects, one a line or in one list; an object within one spreads its names, with / between as Ray Tune does."""
    rows = [_flat(one) for one in _json_objects(content, shown)]
    if not 1 <= len(rows) <= MAX_RUNS:
        raise UsageError(f"{shown}: {len(rows):,} rows; required 1 to {MAX_RUNS:,}: a row a run, not a step")
    header = list(dict.fromkeys(name for row in rows for name in row))
    names = _checked_names(header, shown)
    kept = _kept(names, ignore, shown)
    columns: list[Sequence[str | None]] = []
    for place in kept:
        values = [row.get(header[place]) for row in rows]
        if any(isinstance(value, list) for value in values):
            raise UsageError(f"{shown}: column {place + 1} ({names[place]!r}) holds lists; required numbers or text")
        columns.append([None if value is None else value if isinstance(value, str) else str(value) for value in values])
    return [names[place] for place in kept], columns


def _json_objects(content: bytes, shown: str) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
        if text.lstrip().startswith("["):
            found = json.loads(text)
        else:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown}: can't be read as JSON, one object a line or a list of them: {error}") from None
    wrong = next((place for place, one in enumerate(found, 1) if not isinstance(one, dict)), None)
    if wrong is not None:
        raise UsageError(f"{shown}: row {wrong}: required a JSON object, a row a run")
    return found


def _flat(plain: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat |= _flat(value, f"{before}{name}/") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat


def _read_parquet(content: bytes, shown: str, ignore: Collection[str]) -> tuple[list[str], list[Sequence[str | None]]]:
    # Polars' own reader panics, with a backtrace, on some damaged files.
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        num_rows = file.metadata.num_rows
        header = list(file.schema_arrow.names)
        if not 1 <= num_rows <= MAX_RUNS:
            raise UsageError(f"{shown}: {num_rows:,} rows; required 1 to {MAX_RUNS:,}: a row a run, not a step")
        names = _checked_names(header, shown)
        kept = _kept(names, ignore, shown)
        table = file.read(columns=[header[place] for place in kept])
        columns: list[Sequence[str | None]] = [
            _text_cells(table.column(header[place]), shown, place, names[place]) for place in kept
        ]
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{shown}: damaged, can't be read as Parquet ({reason}); {REQUIRED}") from None
    return [names[place] for place in kept], columns


def _text_cells(column: pyarrow.ChunkedArray, shown: str, place: int, name: str) -> list[str | None]:
    """The shortest text that gives each number back: 0.001, whether it was kept in 32 or in 64 bits."""
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_floating(kind):
        narrow = pl.Float64 if types.is_float64(kind) else pl.Float32
        return pl.Series(column.to_pylist(), dtype=narrow).cast(pl.String).to_list()
    readable = (types.is_integer, types.is_string, types.is_large_string, types.is_boolean, types.is_decimal)
    if not (types.is_null(kind) or types.is_string_view(kind) or any(check(kind) for check in readable)):
        raise UsageError(f"{shown}: column {place + 1} ({name!r}) holds {kind}; required numbers or text")
    return [None if value is None else str(value) for value in column.to_pylist()]


def _checked_names(header: Sequence[str], shown: str) -> list[str]:
    names = [name.strip() for name in header]
    if len(names) > MAX_COLUMNS:
        raise UsageError(f"{shown}: {len(names)} columns; required at most {MAX_COLUMNS}: a row a run")
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in header[0]:
            raise UsageError(f"{shown}: line 1: cells are separated by {word}; required commas")
    for place, name in enumerate(names):
        if not name and (place or len(names) == 1):
            raise UsageError(f"{shown}: column {place + 1} has no name; required one in the header")
        if not name.isprintable():
            raise UsageError(f"{shown}: column {place + 1} is named {printable(name[:60])}; required plain text")
        if name in names[:place]:
            first = names.index(name) + 1
            raise UsageError(f"{shown}: columns {first} and {place + 1} are both named {name!r}; required one of each")
    return names


def _kept(names: Sequence[str], ignore: Collection[str], shown: str) -> list[int]:
    """Places of the columns that are not ignored. Raises UsageError for one to ignore that is not there."""
    for name in ignore:
        if name not in names:
            raise UsageError(f"{shown}: no column {name!r} to ignore; it has {', '.join(names)}")
    return [place for place, name in enumerate(names) if name not in ignore]
