"""Reads JSON as text cells: objects, one a line or in one list. And the objects that other files have in cells."""

from __future__ import annotations

import ast
import io
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.errors import UsageError
from bench.imports.columns import (
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_NAME,
    MAX_RUNS,
    Table,
    check_size,
    checked_names,
    kept_places,
)
from bench.imports.json_shapes import rows_of, with_histories

_LONGEST_OBJECT = 2**16  # letters of a cell
_MOST_TEXT = 2**23  # letters of a column
_OVERRIDE = r"\+{0,2}[A-Za-z_][\w./@-]*="  # as Hydra keeps what was set: ["model.attn=softmax", "seed=0"]
_NAMED = {"nan": float("nan"), "inf": float("inf"), "NaN": float("nan"), "Infinity": float("inf"), "null": None,
          "true": True, "false": False}  # fmt: skip


def read_json(content: bytes, file_name: str, ignore: Collection[str]) -> Table:
    """Objects, one a line or in one list; an object within one spreads its names, with / between as Ray Tune does."""
    if content.count(b",") > MAX_CELLS:  # before each becomes an object of Python
        raise UsageError(f"{file_name}: over {MAX_CELLS:,} values; required at most that: a row a run")
    try:
        rows = [_flat(one, file_name) for one in _json_objects(content, file_name)]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file_name}: can't be read as JSON, one object a line or a list of them: {error}") from None
    if not 1 <= len(rows) <= MAX_RUNS:
        raise UsageError(f"{file_name}: {len(rows):,} rows; required 1 to {MAX_RUNS:,}: a row a run, not a step")
    return _table(rows, ignore, file_name)


def spread(table: Table, file_name: str, kept: Collection[str]) -> Table:
    """The table with a column for each name within cells that are objects, of JSON or as Python prints them.

    As `pandas` writes what Weights & Biases' API returns: {'loss': 1.5} in a column `summary` is 1.5 in `summary/loss`,
    {'model': {'depth': 2}} in `config` is 2 in `config/model.depth`, and so is ['model.depth=2'], as Hydra keeps it. A
    column of which one cell is no object, or one of `kept`, stays.
    """
    of_objects = {
        place: objects
        for place, (name, column) in enumerate(zip(table.names, table.columns, strict=True))
        if name not in kept and (objects := _objects(column)) is not None
    }
    if not of_objects:
        return table
    rows = []
    for number in range(len(table.columns[0])):
        row: dict[str, Any] = {}
        for place, name in enumerate(table.names):
            if place in of_objects:
                row |= {f"{name}/{key}": value for key, value in of_objects[place][number].items()}
            else:
                row[name] = table.columns[place][number]
        rows.append(row)
    names = ", ".join(table.names[place] for place in of_objects)
    spread_out = _table(rows, (), file_name)
    return Table(
        names=spread_out.names,
        columns=spread_out.columns,
        notes=(*table.notes, f"cells of {names} are objects: a column for each name in them"),
    )


def _objects(column: Sequence[str | None]) -> list[dict[str, Any]] | None:
    """What each cell holds, an empty one nothing; None if one is no object, or all are empty."""
    rows: list[dict[str, Any]] = []
    names: set[str] = set()
    if sum(len(cell or "") for cell in column) > _MOST_TEXT:
        return None
    for cell in column:
        text = (cell or "").strip()
        if not text:
            rows.append({})
            continue
        if not (text[:1] + text[-1:] in ("{}", "[]") and len(text) <= _LONGEST_OBJECT):
            return None
        if text[0] == "[" and "=" not in text:
            return None
        try:
            value = _flat(_object(text), "a cell", separator=".")
        except (ValueError, SyntaxError, RecursionError, MemoryError, UsageError):
            return None
        names |= value.keys()
        if len(names) > MAX_COLUMNS or len(names) * len(column) > MAX_CELLS:
            return None
        rows.append(value)
    return rows if names else None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        with warnings.catch_warnings(action="ignore"):  # of `1a`, which is no literal, Python warns
            value = _literal(ast.parse(text, mode="eval").body)
    if isinstance(value, list) and value and all(isinstance(one, str) and re.match(_OVERRIDE, one) for one in value):
        return dict(one.lstrip("+").split("=", 1) for one in value)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _literal(node: ast.expr) -> Any:
    """The value of a literal of JSON or Python, nan and inf among them.

    Raises ValueError for anything else, and for a list or an object of more than MAX_COLUMNS.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in _NAMED:
            return _NAMED[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand) if isinstance(number := _literal(operand), int | float):
            return -number
        case ast.List(elts=elements) | ast.Tuple(elts=elements) if len(elements) <= MAX_COLUMNS:
            return [_literal(one) for one in elements]
        case ast.Dict(keys=keys, values=values) if len(keys) <= MAX_COLUMNS and None not in keys:
            return {str(_literal(key)): _literal(one) for key, one in zip(keys, values, strict=True) if key is not None}
    raise ValueError("no literal")


def _table(rows: Sequence[Mapping[str, Any]], ignore: Collection[str], file_name: str) -> Table:
    header = list(dict.fromkeys(name for row in rows for name in row))
    names = checked_names(header, file_name)
    kept = kept_places(names, ignore, file_name)
    check_size(len(rows), len(kept), file_name)
    columns: list[Sequence[str | None]] = []
    for place in kept:
        values = [row.get(header[place]) for row in rows]
        columns.append([None if value is None else value if isinstance(value, str) else str(value) for value in values])
    return Table(names=[names[place] for place in kept], columns=columns)


def _json_objects(content: bytes, file_name: str) -> list[dict[str, Any]]:
    """Raises UsageError for what is no object, ValueError or RecursionError for what is no JSON."""
    text = content.decode().strip()
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    first, end = decoder.raw_decode(text)
    if end == len(text):
        objects = rows_of(first, file_name)
    else:
        objects = []
        for line in io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"):
            if line.strip():
                objects.append(decoder.decode(line.strip()))
            if len(objects) > MAX_RUNS:
                raise UsageError(f"{file_name}: over {MAX_RUNS:,} rows; required at most that: a row a run, not a step")
    objects = with_histories(objects)
    wrong = next((place for place, one in enumerate(objects, 1) if not isinstance(one, dict)), None)
    if wrong is not None:
        raise UsageError(f"{file_name}: row {wrong}: required a JSON object, a row a run")
    return objects


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a name that an object has twice."""
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise ValueError(f"an object has the name {twice[:60]!r} twice")
    return names


def _flat(plain: dict[str, Any], file_name: str, *, separator: str = "/", before: str = "") -> dict[str, Any]:
    """Raises UsageError for names that get longer than MAX_NAME."""
    if len(before) > MAX_NAME:
        raise UsageError(f"{file_name}: an object in others, whose names have over {MAX_NAME} letters; at most that")
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            flat |= _flat(value, file_name, separator=separator, before=f"{before}{name}{separator}")
        else:
            flat[f"{before}{name}"] = value
    return flat
