"""Reads CSV in UTF-8 as text cells, with commas, tabs, semicolons or bars between."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator

import polars as pl

from analysis.text import counted
from bench.errors import UsageError
from bench.imports.columns import MAX_RUNS, REQUIRED, Table, check_size, checked_names, kept_places
from bench.imports.digits import with_points

MAX_LINE = 2**20  # letters of a line
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def read_csv(content: bytes, file_name: str, ignore: Collection[str]) -> Table:
    """The cells, and what they are separated by if not by commas, their numbers as `with_points` reads them.

    Lines before the header that begin with # are left out, and so are rows and columns without a name of empty cells.
    Raises UsageError for a row of another length than the header, and as `checked_names` does.
    """
    content, notes = _without_preamble(content.rstrip(b"\x1a"))
    separator = _separator(content, file_name)
    if separator == "|":
        content = _without_outer_bars(content)
    names, rows, num_empty = _rows(content, separator, file_name, ignore)
    if separator != ",":
        notes.append(f"cells are separated by {SEPARATORS[separator]}")
    if num_empty:
        notes.append(f"{counted(num_empty, 'row')} of empty cells left out")
    series = [pl.Series(column, dtype=pl.String) for column in zip(*rows, strict=True)]
    return Table(names=names, columns=with_points(series, notes), notes=tuple(notes))


def _without_preamble(content: bytes) -> tuple[bytes, list[str]]:
    """The text without lines of comments before the header, and without Excel's line that names the separator."""
    text, num_comments = content, 0
    while (line := text.partition(b"\n")[0]).lstrip().startswith(b"#") or re.fullmatch(rb'"?sep=."?\s*', line.lower()):
        num_comments += line.lstrip().startswith(b"#")
        text = text.partition(b"\n")[2]
    words = f"{counted(num_comments, 'line')} of comments before the header left out"
    return text, [words] if num_comments else []


def _without_outer_bars(content: bytes) -> bytes:
    """The text of a table in Markdown without the bars around its lines, and without the line below its header."""
    lines = content.splitlines()
    if not all(line.strip().startswith(b"|") for line in lines if line.strip()):
        return content
    return b"\n".join(line.strip().strip(b"|") for line in lines if not re.fullmatch(rb"[\s|:-]*-[\s|:-]*", line))


def _rows(
    content: bytes, separator: str, file_name: str, ignore: Collection[str]
) -> tuple[list[str], list[list[str]], int]:
    """Names and rows of the kept columns, and how many rows were empty."""
    reader = csv.reader(_lines(content, file_name), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    num_empty = 0
    try:
        header = next(reader)
        while not any(cell.strip() for cell in header):
            header = next(reader)
        width = 1 + max(place for place, cell in enumerate(header) if cell.strip())
        names = checked_names(header[:width], file_name)
        kept = kept_places(names, ignore, file_name)
        for row in reader:
            if not any(row):
                num_empty += bool(row)
                continue
            if any(row[width:]) and len(header) > width:
                raise UsageError(f"{file_name}: column {width + 1} has no name; required one in the header")
            if len(row) < width or any(row[width:]):
                where = f"{file_name}: row {len(rows) + 1} (line {reader.line_num})"
                raise UsageError(f"{where}: {len(row)} cells; required {width}, as many as the header has")
            rows.append([row[place] for place in kept])
            if len(rows) > MAX_RUNS:
                raise UsageError(f"{file_name}: over {MAX_RUNS:,} rows; required at most that: a row a run, not a step")
            check_size(len(rows), len(kept), file_name)
    except csv.Error as error:
        raise UsageError(f"{file_name}: line {reader.line_num}, after row {len(rows)}: not CSV ({error})") from None
    except StopIteration:
        raise UsageError(f"{file_name}: no header; {REQUIRED}") from None
    if not rows:
        raise UsageError(f"{file_name}: no rows below the header; {REQUIRED}")
    return [names[place] for place in kept], rows, num_empty


def _separator(content: bytes, file_name: str) -> str:
    """What the header has most of, commas where it has none. Quoted parts of it count as nothing."""
    header = next((line for line in _lines(content, file_name) if line.strip()), "")
    bare = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def _lines(content: bytes, file_name: str) -> Iterator[str]:
    """The lines, each with its end, one at a time. Raises UsageError for one that is longer than MAX_LINE."""
    with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="") as text:
        number = 0
        while line := text.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise UsageError(f"{file_name}: line {number}: over {MAX_LINE:,} letters; required at most that")
            yield line
