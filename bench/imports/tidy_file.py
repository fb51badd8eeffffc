"""Reads a tidy file, CSV or Parquet, as a frame of text: the file is data alone, and is read once.

Cells stay text, so that whoever checks them can quote what the file says. Every complaint names the file and the place.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UsageError
from bench.imports.columns import (
    MAX_BYTES,
    MAX_CELLS,
    MAX_NAME,
    MAX_RUNS,
    REQUIRED,
    check_size,
    checked_names,
    kept_places,
    printable,
)
from bench.imports.event_files import event_files, read_scalars
from bench.imports.parquet_file import read_parquet
from bench.trace import TRACE_COLUMNS

# What was measured by step: the place of the run's row, from 0, and TRACE_COLUMNS.
TRACE_ROWS: dict[str, Any] = {"row": pl.Int64, **{name: getattr(pl, kind) for name, kind in TRACE_COLUMNS.items()}}

MAX_LINE = 2**20  # letters of a line of CSV

_PARQUET = b"PAR1"
_QUOTED_FORMULA = r"^'([=+\-@\t\r])"  # as analysis.tables.csv_text writes it
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def no_traces() -> pl.DataFrame:
    """No rows of TRACE_ROWS."""
    return pl.DataFrame(schema=TRACE_ROWS)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Cells of a file, a row a run, what was made of it in words, and TRACE_ROWS where it holds values by step."""

    cells: pl.DataFrame
    notes: tuple[str, ...] = ()
    traces: pl.DataFrame = field(default_factory=no_traces)


@dataclass(frozen=True, kw_only=True)
class TidyFile(Rows):
    """What a file says. `cells` holds text alone, null where a cell is empty; rows count from 1 below the header."""

    shown: str  # the path as messages show it
    name: str  # of the file, without its folder
    sha256: str
    place: str  # hash of the whole path, which tells files of one name apart and says nothing of folders


def read_tidy(path: Path, ignore: Collection[str] = ()) -> TidyFile:
    """The cells of a CSV, JSON or Parquet file, told apart by what is in it; columns in `ignore` are left out.

    Of TensorBoard's event files, or a folder with such, a row a run and step.

    A first column of CSV without a name that counts 0 ... n - 1 is an index of pandas: left out, as `notes` say.

    Raises UsageError with the first problem: no such file, too large, neither CSV nor Parquet, a row of another length,
    a column without a name, of a name that was there already, or without rows.
    """
    shown = printable(str(path))
    place = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    if files := event_files(path):
        names, columns, digest = read_scalars(path, files, shown)
        cells = pl.DataFrame(dict(zip(checked_names(names, shown), columns, strict=True)))
        return TidyFile(shown=shown, name=printable(path.resolve().name), sha256=digest, place=place, cells=cells)
    content = _read(path, shown)
    first = content.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    read = read_parquet if content.startswith(_PARQUET) else _read_json if first in (b"{", b"[") else _read_csv
    names, columns = read(content, shown, ignore)
    notes = ()
    if names[0] == "":
        if list(columns[0]) != [str(place) for place in range(len(columns[0]))]:
            raise UsageError(f"{shown}: column 1 has no name; required one in the header")
        names, columns, notes = names[1:], columns[1:], ("column 1 has no name and counts rows: left out as an index",)
    cells = pl.DataFrame(dict(zip(names, columns, strict=True)), schema=dict.fromkeys(names, pl.String))
    stripped = cells.with_columns(pl.all().str.strip_chars().str.replace(_QUOTED_FORMULA, "$1"))
    stripped = stripped.with_columns(pl.all().replace("", None))
    digest = hashlib.sha256(content).hexdigest()
    return TidyFile(shown=shown, name=printable(path.name), sha256=digest, place=place, cells=stripped, notes=notes)


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
    _check_text(content, shown)
    reader = csv.reader(_lines(content, shown), strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader)
        while not header:
            header = next(reader)
        names = checked_names(header, shown)
        kept = kept_places(names, ignore, shown)
        for row in reader:
            if row and len(row) != len(names):
                where = f"{shown}: row {len(rows) + 1} (line {reader.line_num})"
                raise UsageError(f"{where}: {len(row)} cells; required {len(names)}, as many as the header has")
            if row:
                rows.append([row[place] for place in kept])
            if len(rows) > MAX_RUNS:
                raise UsageError(f"{shown}: over {MAX_RUNS:,} rows; required at most that: a row a run, not a step")
            check_size(len(rows), len(kept), shown)
    except csv.Error as error:
        raise UsageError(f"{shown}: line {reader.line_num}, after row {len(rows)}: not CSV ({error})") from None
    if not rows:
        raise UsageError(f"{shown}: no rows below the header; {REQUIRED}")
    return [names[place] for place in kept], list(map(list, zip(*rows, strict=True)))


def _check_text(content: bytes, shown: str) -> None:
    """Raises UsageError for what is no text in UTF-8."""
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{shown}: line {line}: neither text in UTF-8 nor Parquet; {REQUIRED}") from None
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise UsageError(f"{shown}: line {line}: a binary file; {REQUIRED}")


def _lines(content: bytes, shown: str) -> Iterator[str]:
    """The lines, each with its end, one at a time. Raises UsageError for one that is longer than MAX_LINE."""
    with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
        number = 0
        while line := text.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise UsageError(f"{shown}: line {number}: over {MAX_LINE:,} letters; required at most that")
            yield line


def _read_json(content: bytes, shown: str, ignore: Collection[str]) -> tuple[list[str], list[Sequence[str | None]]]:
    """Objects, one a line or in one list; an object within one spreads its names, with / between as Ray Tune does."""
    if content.count(b",") > MAX_CELLS:  # before each becomes an object of Python
        raise UsageError(f"{shown}: over {MAX_CELLS:,} values; required at most that: a row a run")
    try:
        rows = [_flat(one, shown) for one in _json_objects(content, shown)]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown}: can't be read as JSON, one object a line or a list of them: {error}") from None
    if not 1 <= len(rows) <= MAX_RUNS:
        raise UsageError(f"{shown}: {len(rows):,} rows; required 1 to {MAX_RUNS:,}: a row a run, not a step")
    header = list(dict.fromkeys(name for row in rows for name in row))
    names = checked_names(header, shown)
    kept = kept_places(names, ignore, shown)
    check_size(len(rows), len(kept), shown)
    columns: list[Sequence[str | None]] = []
    for place in kept:
        values = [row.get(header[place]) for row in rows]
        columns.append([None if value is None else value if isinstance(value, str) else str(value) for value in values])
    return [names[place] for place in kept], columns


def _json_objects(content: bytes, shown: str) -> list[dict[str, Any]]:
    """Raises UsageError for what is no object, ValueError or RecursionError for what is no JSON."""
    if content.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"["):
        found = json.loads(content.decode("utf-8-sig"))
    else:
        found = []
        for line in io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig"):
            if line.strip():
                found.append(json.loads(line))
            if len(found) > MAX_RUNS:
                raise UsageError(f"{shown}: over {MAX_RUNS:,} rows; required at most that: a row a run, not a step")
    wrong = next((place for place, one in enumerate(found, 1) if not isinstance(one, dict)), None)
    if wrong is not None:
        raise UsageError(f"{shown}: row {wrong}: required a JSON object, a row a run")
    return found


def _flat(plain: dict[str, Any], shown: str, before: str = "") -> dict[str, Any]:
    """Raises UsageError for names that get longer than MAX_NAME."""
    if len(before) > MAX_NAME:
        raise UsageError(f"{shown}: an object in others, whose names have over {MAX_NAME} letters; at most that")
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat |= _flat(value, shown, f"{before}{name}/") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat
