"""Reads a tidy file, CSV or Parquet, as a frame of text: the file is data alone, and is read once.

Cells stay text, so that whoever checks them can quote what the file says. Every complaint names the file and the place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from analysis.text import counted
from bench.errors import UsageError
from bench.imports.columns import MAX_BYTES, OBJECTS, REQUIRED, Table, checked_names, printable
from bench.imports.csv_file import read_csv
from bench.imports.encodings import as_utf_8
from bench.imports.event_files import event_files, read_scalars
from bench.imports.json_file import read_json, spread
from bench.imports.parquet_file import read_parquet
from bench.imports.unpacking import unpacked
from bench.trace import TRACE_COLUMNS

# What was measured by step: the place of the run's row, from 0, and TRACE_COLUMNS.
TRACE_ROWS: dict[str, Any] = {"row": pl.Int64, **{name: getattr(pl, kind) for name, kind in TRACE_COLUMNS.items()}}

_PARQUET = b"PAR1"
_MISSING = ("na", "n/a", "<na>", "null", "none", "#n/a", "#num!", "#value!", "#div/0!", "-", "\N{EN DASH}",
            "\N{EM DASH}", ".", "?")  # fmt: skip
_LARGEST = r"^([+-]?)1\.79769313486231\d*[eE]\+?308$"  # of 64 bits: how MLflow keeps inf
_INDEX_OF_PARQUET = r"__index_level_\d+__"  # how pandas calls an index without a name there
_QUOTED_FORMULA = r"^'([=+\-@\t\r])"  # as analysis.tables.forms.csv_text writes it


def no_traces() -> pl.DataFrame:
    """No rows of TRACE_ROWS."""
    return pl.DataFrame(schema=TRACE_ROWS)


def moved(traces: pl.DataFrame, places: Sequence[int]) -> pl.DataFrame:
    """TRACE_ROWS of the rows at `places` alone, each under its place in that list."""
    of = {place: row for row, place in enumerate(places)}
    kept = traces.filter(pl.col("row").is_in(list(of)))
    return kept.with_columns(pl.col("row").replace_strict(of, return_dtype=pl.Int64))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Cells of a file, a row a run, what was made of it in words, and TRACE_ROWS where it holds values by step."""

    cells: pl.DataFrame
    notes: tuple[str, ...] = ()
    traces: pl.DataFrame = field(default_factory=no_traces)


@dataclass(frozen=True, kw_only=True)
class TidyFile(Rows):
    """What a file says. `cells` holds text alone, null where a cell is empty; rows count from 1 below the header."""

    file_name: str  # the path as messages show it
    name: str  # of the file, without its folder
    sha256: str
    is_held_out_alone: bool = False  # its held-out losses stand for those of training, which it lacks
    place: str  # hash of the whole path, which tells files of one name apart and says nothing of folders


def read_tidy(path: Path, ignore: Collection[str] = ()) -> TidyFile:
    """The cells of a CSV, JSON or Parquet file, told apart by what is in it; columns in `ignore` are left out.

    Of TensorBoard's event files, or a folder with such, a row a run and step.

    A column without a name that counts 0 ... n - 1 is an index of pandas: left out, as `notes` say. A column whose
    cells are all objects becomes a column for each name in them.

    Raises UsageError with the first problem: no such file, too large, neither CSV nor Parquet, a row of another length,
    a column without a name, of a name that was there already, or without rows.
    """
    file_name = printable(str(path))
    place = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    if files := event_files(path):
        table, digest = read_scalars(path, files, file_name)
        cells = pl.DataFrame(dict(zip(checked_names(table.names, file_name), table.columns, strict=True)))
        name = printable(path.resolve().name)
        return TidyFile(file_name=file_name, name=name, sha256=digest, place=place, cells=cells, notes=table.notes)
    packed = _read(path, file_name)
    content, packed_by = unpacked(packed, file_name)
    notes = (f"unpacked from {packed_by}",) if packed_by else ()
    read = read_parquet
    if not content.startswith(_PARQUET):
        content, encoded = as_utf_8(content, file_name, packed_by)
        notes += encoded
        if not content.strip():
            raise UsageError(f"{file_name}: the file is empty; {REQUIRED}")
        read = read_json if content.lstrip()[:1] in (b"{", b"[") else read_csv
    table = spread(_without_index(read(content, file_name, ignore), file_name), file_name, OBJECTS)
    columns = dict(zip(table.names, table.columns, strict=True))
    cells = pl.DataFrame(columns, schema=dict.fromkeys(table.names, pl.String))
    stripped = cells.with_columns(pl.all().str.strip_chars().str.replace(_QUOTED_FORMULA, "$1"))
    stripped, missing = _without_missing(stripped.with_columns(pl.all().replace("", None)))
    stripped = stripped.with_columns(pl.all().str.replace(_LARGEST, "${1}inf"))
    digest = hashlib.sha256(packed).hexdigest()
    notes = (*notes, *table.notes, *missing)
    return TidyFile(
        file_name=file_name, name=printable(path.name), sha256=digest, place=place, cells=stripped, notes=notes
    )


def _without_missing(cells: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The cells with what stands for nothing among numbers (NA, null, -) empty, and how many, in words."""
    num_cells = 0
    for name in cells.columns:
        column = cells[name]
        is_missing = column.str.to_lowercase().is_in(_MISSING).fill_null(False)
        if is_missing.any():
            others = column.set(is_missing, None).drop_nulls()
            if len(others) and others.cast(pl.Float64, strict=False).is_not_null().all():
                cells = cells.with_columns(column.set(is_missing, None))
                num_cells += int(is_missing.sum())
    return cells, (f"{counted(num_cells, 'cell')} such as NA or null, empty",) if num_cells else ()


def _read(path: Path, file_name: str) -> bytes:
    try:
        if not path.exists():
            raise UsageError(f"{file_name}: no such file; {REQUIRED}")
        if not path.is_file():
            raise UsageError(f"{file_name}: {REQUIRED}, got a {'folder' if path.is_dir() else 'device'}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(
                f"{file_name}: {size / 1e6:,.0f} MB; required at most {MAX_BYTES / 1e6:.0f} MB: a row a run, not a step"
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file_name}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not content.strip():
        raise UsageError(f"{file_name}: the file is empty; {REQUIRED}")
    return content


def _without_index(table: Table, file_name: str) -> Table:
    """The table without indices of pandas or R.

    A first column without a name whose whole numbers differ, as pandas writes it of rows that were chosen or sorted,
    and R from 1 on; and columns that count rows from 0 and are named as pandas names an index that it reads or resets.
    """
    if not table.columns:
        raise UsageError(f"{file_name}: no columns; {REQUIRED}")
    counted_rows = [str(place) for place in range(len(table.columns[0]))]
    is_index = [
        (
            re.fullmatch(r"Unnamed: [\d.]+|index|level_0", name) is not None and list(column) == counted_rows
            if name and not re.fullmatch(_INDEX_OF_PARQUET, name)
            else all(re.fullmatch(r"\d{1,18}", cell or "") for cell in column) and len(set(column)) == len(column)
        )
        for name, column in zip(table.names, table.columns, strict=True)
    ]
    if table.names and table.names[0] == "" and not is_index[0]:
        raise UsageError(f"{file_name}: column 1 has no name; required one in the header")
    if not any(is_index) or all(is_index):
        return table
    notes = tuple(
        f"column {place} {f'({name})' if name else 'has no name and'} "
        f"{'counts rows' if list(column) == counted_rows else 'numbers rows'}: left out as an index"
        for place, (name, column, is_one) in enumerate(zip(table.names, table.columns, is_index, strict=True), 1)
        if is_one
    )
    kept = [place for place, is_one in enumerate(is_index) if not is_one]
    return Table(
        names=[table.names[place] for place in kept],
        columns=[table.columns[place] for place in kept],
        notes=(*table.notes, *notes),
    )
