"""Reads CSV as text cells, with commas, tabs or semicolons between them, in UTF-8 or, as Excel writes it, UTF-16."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence

import polars as pl

from bench.errors import UsageError
from bench.imports.columns import MAX_RUNS, REQUIRED, Table, check_size, checked_names, kept_places

MAX_LINE = 2**20  # letters of a line
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_DECIMAL_COMMA = r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$"


def read_csv(content: bytes, shown: str, ignore: Collection[str]) -> Table:
    """The cells, and what they are separated by if not by commas. With semicolons 0,5 is a half.

    Raises UsageError for what is no text, a row of another length than the header, and as `checked_names` does.
    """
    content = _as_utf_8(content, shown)
    separator = _separator(content, shown)
    names, rows = _rows(content, separator, shown, ignore)
    columns: list[Sequence[str | None]] = list(map(list, zip(*rows, strict=True)))
    if separator == ",":
        return Table(names=names, columns=columns)
    notes = [f"cells are separated by {SEPARATORS[separator]}"]
    if separator == ";":
        series = [pl.Series(column, dtype=pl.String) for column in columns]
        columns = [one.str.replace(_DECIMAL_COMMA, "$1.$2").to_list() for one in series]
        if num := sum(int(one.str.contains(_DECIMAL_COMMA).sum()) for one in series):
            notes.append(f"{num:,} numbers have a decimal comma")
    return Table(names=names, columns=columns, notes=tuple(notes))


def _rows(content: bytes, separator: str, shown: str, ignore: Collection[str]) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(_lines(content, shown), delimiter=separator, strict=True)
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
    return [names[place] for place in kept], rows


def _separator(content: bytes, shown: str) -> str:
    """What the header has most of, commas where it has none. Quoted parts of it count as nothing."""
    header = next((line for line in _lines(content, shown) if line.strip()), "")
    bare = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def _as_utf_8(content: bytes, shown: str) -> bytes:
    """Raises UsageError for what is no text in UTF-8, nor in UTF-16 with its mark."""
    try:
        if content.startswith(_UTF_16):
            return content.decode("utf-16").encode()
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{shown}: line {line}: neither text in UTF-8 nor Parquet; {REQUIRED}") from None
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise UsageError(f"{shown}: line {line}: a binary file; {REQUIRED}")
    return content


def _lines(content: bytes, shown: str) -> Iterator[str]:
    """The lines, each with its end, one at a time. Raises UsageError for one that is longer than MAX_LINE."""
    with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
        number = 0
        while line := text.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise UsageError(f"{shown}: line {number}: over {MAX_LINE:,} letters; required at most that")
            yield line
