"""Cells of a Parquet file as text, within bounds that are checked before Python sees a value.

A file of 29 kB may say a text of 90 kB a hundred thousand times. So columns of text stay dictionaries until the length
of all their cells is known, and what pages unpack to is summed up from the file's own metadata first.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from bench.errors import UsageError
from bench.imports.columns import (
    MAX_BYTES,
    MAX_CELLS,
    MAX_RUNS,
    MAX_VALUES,
    REQUIRED,
    Table,
    check_size,
    checked_names,
    kept_places,
)

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

MAX_UNPACKED = 4 * MAX_BYTES  # bytes of all pages


def read_parquet(content: bytes, file_name: str, ignore: Collection[str]) -> Table:
    """Names and cells of the columns that are not ignored. Raises UsageError for a damaged or a larger file."""
    # Polars' own reader panics, with a backtrace, on some damaged files.
    import pyarrow
    from pyarrow import parquet

    try:
        plain = parquet.ParquetFile(io.BytesIO(content))
        schema, metadata = plain.schema_arrow, plain.metadata
        if not 1 <= metadata.num_rows <= MAX_RUNS:
            raise UsageError(
                f"{file_name}: {metadata.num_rows:,} rows; required 1 to {MAX_RUNS:,}: a row a run, not a step"
            )
        names = checked_names(schema.names, file_name)
        kept = kept_places(names, ignore, file_name)
        check_size(metadata.num_rows, len(kept), file_name)
        unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        _check_bytes(unpacked, MAX_UNPACKED, file_name, "unpacked")
        most, num_values = MAX_CELLS + MAX_VALUES, _num_values(metadata, [schema.names[place] for place in kept])
        if num_values > most:  # a page may say one number of a list a million times
            raise UsageError(f"{file_name}: {num_values:,} values; required at most {most:,}: a row a run")
        others = [place for place in kept if not _is_readable(schema.types[place])]
        kept = [place for place in kept if place not in others]
        texts = [field.name for field in schema if _is_text(field.type)]
        file = parquet.ParquetFile(io.BytesIO(content), read_dictionary=texts)
        table = file.read(columns=[schema.names[place] for place in kept])
        held = [table.column(schema.names[place]) for place in kept]
        _check_bytes(sum(map(_text_bytes, held)), MAX_BYTES, file_name, "of text")
        cells: list[Sequence[str | None]] = [_text_cells(column) for column in held]
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{file_name}: damaged, can't be read as Parquet ({reason}); {REQUIRED}") from None
    words = ", ".join(f"{names[place]} holds {schema.types[place]}" for place in others)
    notes = (f"columns left out: {len(others)} of neither numbers nor text ({words})",) if others else ()
    return Table(names=[names[place] for place in kept], columns=cells, notes=notes)


def _check_bytes(size: int, most: int, file_name: str, what: str) -> None:
    if size > most:
        raise UsageError(f"{file_name}: {size / 1e6:,.0f} MB {what}; required at most {most / 1e6:.0f} MB: a row a run")


def _num_values(metadata: parquet.FileMetaData, names: Sequence[str]) -> int:
    """Values of these columns in all groups of rows, those in lists too."""
    paths = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
    begins = tuple(f"{name}." for name in names)
    places = [place for place, path in enumerate(paths) if f"{path}.".startswith(begins)]
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return sum(group.column(place).num_values for group in groups for place in places)


def _is_text(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_readable(kind: pyarrow.DataType) -> bool:
    """Whether values are numbers, truth values, dates or text, or lists of numbers."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        return types.is_floating(kind.value_type) or types.is_integer(kind.value_type)
    kind = kind.value_type if types.is_dictionary(kind) else kind
    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    plain = (*numbers, types.is_null, types.is_temporal, _is_text)
    return any(check(kind) for check in plain)


def _text_bytes(column: pyarrow.ChunkedArray) -> int:
    """Bytes of all texts of a column, as dictionary or plain, and 32 for each value of a list; 0 for numbers."""
    from pyarrow import compute, types

    functions: Any = compute  # made when it is imported, which type checkers don't see
    total = 0
    for chunk in column.chunks:
        if types.is_dictionary(chunk.type) and _is_text(chunk.type.value_type):
            lengths = functions.binary_length(chunk.dictionary).take(chunk.indices)
        elif types.is_list(chunk.type) or types.is_large_list(chunk.type):
            lengths = functions.multiply(functions.list_value_length(chunk).cast("int64"), 32)
        elif _is_text(chunk.type):
            lengths = functions.binary_length(chunk)
        else:
            continue
        total += functions.sum(lengths.cast("int64")).as_py() or 0
    return total


def _text_cells(column: pyarrow.ChunkedArray) -> list[str | None]:
    """The shortest text that gives each number back: 0.001, whether it was kept in 32 or in 64 bits."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_floating(kind):
        narrow = pl.Float64 if types.is_float64(kind) else pl.Float32
        return pl.Series(column.to_pylist(), dtype=narrow).cast(pl.String).to_list()
    return [None if value is None else str(value) for value in column.to_pylist()]
