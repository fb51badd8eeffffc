"""Columns of a file of runs: their names, and how many cells there may be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bench.errors import UsageError

MAX_BYTES = 64 * 2**20
MAX_RUNS = 100_000
MAX_COLUMNS = 200
MAX_CELLS = 4_000_000  # of about 60 bytes each once they are text
MAX_VALUES = 2_000_000  # of all lists of a file
MAX_NAME = 500  # letters
MAX_MEMORY = 2**30  # bytes that reading a file takes beyond the program itself, whatever is in it
REQUIRED = "required a CSV or Parquet file, a row a run"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OBJECTS = ("knobs",)  # columns of ours whose cells are objects


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of a file as text, None where one is empty, by column; notes: what was made of it, in words."""

    names: list[str]
    columns: Sequence[Sequence[str | None]]
    notes: tuple[str, ...] = ()


def printable(text: str) -> str:
    """Text as a message shows it on one line."""
    return text if text.isprintable() else repr(text)


def check_size(num_rows: int, num_columns: int, file_name: str) -> None:
    """Raises UsageError for a table that would not fit into a quarter of a gigabyte as text."""
    if num_rows * num_columns > MAX_CELLS:
        raise UsageError(f"{file_name}: {num_rows * num_columns:,} cells; required at most {MAX_CELLS:,}: a row a run")


def checked_names(header: Sequence[str], file_name: str) -> list[str]:
    """The names of columns without spaces around. Raises UsageError for one that is missing, odd or there twice."""
    names = [name.strip() for name in header]
    if len(names) > MAX_COLUMNS:
        raise UsageError(f"{file_name}: {len(names)} columns; required at most {MAX_COLUMNS}: a row a run")
    for place, name in enumerate(names):
        if not name and (place or len(names) == 1):
            raise UsageError(f"{file_name}: column {place + 1} has no name; required one in the header")
        if len(name) > MAX_NAME:
            raise UsageError(f"{file_name}: column {place + 1} has a name of {len(name):,} letters; at most {MAX_NAME}")
        if not name.isprintable():
            raise UsageError(f"{file_name}: column {place + 1} is named {printable(name[:60])}; required plain text")
        if name in names[:place]:
            first = names.index(name) + 1
            raise UsageError(
                f"{file_name}: columns {first} and {place + 1} are both named {name!r}; required one of each"
            )
    return names


def kept_places(names: Sequence[str], ignore: Collection[str], file_name: str) -> list[int]:
    """Places of the columns that are not ignored. Raises UsageError for one to ignore that is not there."""
    for name in ignore:
        if name not in names:
            raise UsageError(f"{file_name}: no column {name!r} to ignore; it has {', '.join(names)}")
    return [place for place, name in enumerate(names) if name not in ignore]
