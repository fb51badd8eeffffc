"""The cells of a file of runs, column by column: text and numbers within what a run can have."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.curves import CIRCUMSTANCES
from analysis.text import counted
from bench.errors import UsageError
from bench.held_out import HELD_OUT, INITIAL, Measure
from bench.imports.tidy_file import printable
from bench.trial import KINDS, OPTIONAL_KINDS, UNNAMED

MAX_TEXT = 2000  # a workload with many settings has a long label
MAX_SOURCE = 500
MAX_PROBLEMS = 12  # that are told at once
MAX_OF_COLUMN = 3  # of them

_NOT_FINITE = r"^[+-]?(1\.#(QNAN|SNAN|IND|INF)\d*|nan\((ind|snan)\))$"  # as C libraries of Windows write them
_PERCENTAGE = r"^[+-]?[\d.]+([eE][+-]?\d+)?[ \u00a0]?%$"
_WHOLE = 2**32  # seeds and steps lie below it

Settings = list[dict[str, Any]]  # of each row


@dataclass(frozen=True, kw_only=True)
class Number:
    """What a column's numbers must be. has_gaps: a row may lack it; else every row has it, or no row does."""

    required: str
    is_right: Callable[[float], bool]
    is_whole: bool = False
    has_gaps: bool = False


_POSITIVE = Number(required="a finite number above 0", is_right=lambda x: 0 < x < math.inf)
_NOT_NEGATIVE = Number(required="a finite number of at least 0", is_right=lambda x: 0 <= x < math.inf)
_LOSS = Number(required="a number; inf or nan where the run diverged", is_right=lambda x: True, has_gaps=True)
_STEP = "a whole number below 2^32"


def _measured(measure: Measure) -> Number:
    """What a column of HELD_OUT must be; of a measure without an upper bound, such as a loss, anything."""
    if measure.step_of_least:
        return Number(required=f"{_STEP}, at least 0", is_right=lambda x: 0 <= x < _WHOLE, is_whole=True, has_gaps=True)
    if measure.high == math.inf:
        return _LOSS
    low, high = measure.low, measure.high
    return Number(required=f"a number from {low:g} to {high:g}", is_right=lambda x: low <= x <= high, has_gaps=True)


_STEP_OR_GAP = Number(required=f"{_STEP}, at least 0", is_right=lambda x: 0 <= x < _WHOLE, is_whole=True, has_gaps=True)
NUMBERS: dict[str, Number] = {
    "lr": _POSITIVE,
    "seed": Number(required=f"{_STEP}, at least 0", is_right=lambda x: 0 <= x < _WHOLE, is_whole=True),
    "final_loss": _LOSS,
    "initial_loss": Number(required="the loss before any update; inf or nan where it was", is_right=lambda x: True),
    "warmup_steps": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "grad_clip": Number(required="a number above 0; inf for no clipping", is_right=lambda x: x > 0),
    "init_scale": _POSITIVE,
    "num_steps": Number(required=f"{_STEP}, at least 1", is_right=lambda x: 1 <= x < _WHOLE, is_whole=True),
    "diverged_step": _STEP_OR_GAP,
    "aborted_step": _STEP_OR_GAP,
    **dict.fromkeys(INITIAL, Number(required="a finite number", is_right=math.isfinite, has_gaps=True)),
    **{name: _measured(measure) for name, measure in HELD_OUT.items()},
    "wall_s": Number(required="a finite number of at least 0", is_right=lambda x: 0 <= x < math.inf, has_gaps=True),
}

TEXTS = (*KINDS, "outcome", "source")
_TEXTS_WITH_GAPS = (*OPTIONAL_KINDS, "outcome", "source")


def checked_cells(cells: pl.DataFrame, file_name: str) -> dict[str, list[Any]]:
    """The columns of TEXTS and NUMBERS that are there, as text and numbers. Raises UsageError, a line a wrong cell."""
    problems: list[UsageError] = []
    columns: dict[str, list[Any]] = {}
    for check in (_checked_text, _checked_numbers):
        for name in (*TEXTS, *NUMBERS):
            if name in cells.columns:
                of_column: list[UsageError] = []
                columns |= check(cells.select(name), file_name, of_column)
                problems += of_column[:MAX_OF_COLUMN]
                if (more := len(of_column) - MAX_OF_COLUMN) > 0:
                    words = f"and {counted(more, 'more cell')} like it, which need the same"
                    problems.append(UsageError(f"{file_name}: column {name!r}: {words}"))
    if problems:
        lines = [*map(str, problems[:MAX_PROBLEMS])]
        if len(problems) > MAX_PROBLEMS:
            lines.append(f"{file_name}: and {len(problems) - MAX_PROBLEMS} more problems")
        raise UsageError("\n".join(lines))
    return columns


def _checked_text(cells: pl.DataFrame, file_name: str, problems: list[UsageError]) -> dict[str, list[Any]]:
    """The columns of TEXTS; `problems` gets every empty, overlong or unprintable cell."""
    columns = {}
    for name in TEXTS:
        if name in cells.columns:
            values = cells[name].to_list()
            limit = MAX_SOURCE if name == "source" else MAX_TEXT
            for row, value in enumerate(values, 1):
                if value is None and name not in _TEXTS_WITH_GAPS:
                    problems.append(_wrong(file_name, row, name, None, "text in every row, or no such column"))
                if value is not None and (len(value) > limit or not value.isprintable()):
                    problems.append(_wrong(file_name, row, name, value, f"at most {limit} printable letters"))
            columns[name] = values
    return columns


def _checked_numbers(cells: pl.DataFrame, file_name: str, problems: list[UsageError]) -> dict[str, list[Any]]:
    """The columns of NUMBERS, as numbers; `problems` gets every cell that is no such number."""
    columns = {}
    for name, rule in NUMBERS.items():
        if name in cells.columns:
            texts = cells[name].to_list()
            values = _numbers(cells[name])
            for number, (text, value) in enumerate(zip(texts, values, strict=True), 1):
                if text is None and not rule.has_gaps:
                    problems.append(_wrong(file_name, number, name, None, f"{rule.required}, in every row"))
                if text is not None and not _is_right(rule, value):
                    hint = ", with a decimal point" if re.fullmatch(r"[+-]?\d*,\d+", text) else ""
                    problems.append(_wrong(file_name, number, name, text, f"{rule.required}{hint}"))
            if rule.is_whole and not problems:
                values = [None if value is None else int(value) for value in values]
            columns[name] = values
    return columns


def spread_knobs(
    cells: pl.DataFrame, file_name: str, setting_columns: Collection[str]
) -> tuple[pl.DataFrame, Settings]:
    """The cells with a column for each knob that `knobs` names, and the settings of every row.

    A knob that only some rows name counts as off in the others: it varies within those alone. Raises UsageError for
    text that is no list of knobs, for a knob that has a column of its own as well, and for two settings of one name.
    """
    settings: Settings = [{} for _ in range(cells.height)]
    for name in setting_columns:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise UsageError(f"{file_name}: the setting {printable(name)!r}; required a name of letters, digits, _ . -")
        for row, text in enumerate(cells[name]):
            if text is not None:
                settings[row][name] = _plain(text)
    if "knobs" in cells.columns:
        cells = _with_spread(cells, file_name, settings)
    for row, of_row in enumerate(settings, 1):
        last = [name.rpartition(".")[2] for name in of_row]
        if len(set(last)) < len(last) or "method" in last:
            raise _wrong(
                file_name, row, "knobs", ", ".join(of_row), "settings whose last words differ, none of them 'method'"
            )
    return cells, settings


def _with_spread(cells: pl.DataFrame, file_name: str, settings: Settings) -> pl.DataFrame:
    columns: dict[str, list[str | None]] = {}
    for row, text in enumerate(cells["knobs"]):
        for name, value in _pairs(text or "", file_name, row + 1):
            if name in cells.columns and name not in columns:
                raise _wrong(
                    file_name, row + 1, "knobs", text, f"{name!r} there or in a column of its own, not in both"
                )
            if name in NUMBERS or name in CIRCUMSTANCES:
                columns.setdefault(name, [None] * cells.height)[row] = value
            else:
                settings[row][name] = _plain(value)
    fill = {"warmup_steps": "0", "weight_decay": "0", "grad_clip": "inf", "init_scale": "1", **UNNAMED}
    spread = [pl.Series(name, values, pl.String).fill_null(fill.get(name, "")) for name, values in columns.items()]
    return cells.with_columns(column.replace("", None) for column in spread)


def _pairs(text: str, file_name: str, row: int) -> list[tuple[str, str]]:
    """('depth', '4'), ... of 'depth=4, warmup_steps=100'; a value may hold commas."""
    pairs = re.findall(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*?)(?:, (?=[A-Za-z_][A-Za-z0-9_.-]*=)|$)", text)
    names = [name for name, _ in pairs]
    is_whole = ", ".join(f"{name}={value}" for name, value in pairs) == text
    if not is_whole or len(set(names)) < len(names) or not all(value.strip() for _, value in pairs):
        raise _wrong(file_name, row, "knobs", text, "such as 'depth=4, warmup_steps=100', each knob once")
    return [(name, value.strip()) for name, value in pairs]


def _plain(text: str) -> Any:
    """A setting's value: a whole number, a finite number, a truth value, or else text."""
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    value = _numbers(pl.Series([text]))[0]
    if value is not None and math.isfinite(value):
        return value
    return {"true": True, "false": False}.get(text, text)


def _numbers(texts: pl.Series) -> list[float | None]:
    """Numbers, None where a cell is none; where all are percentages, as 45.2% or 5 %, they are parts of 1."""
    if len(texts) > texts.null_count() and texts.drop_nulls().str.contains(_PERCENTAGE).all():
        parts = texts.str.strip_chars(" %\u00a0").cast(pl.Float64, strict=False).to_list()
        return [None if part is None else part / 100 for part in parts]
    return texts.str.replace(_NOT_FINITE, "nan").cast(pl.Float64, strict=False).to_list()


def _is_right(rule: Number, value: float | None) -> bool:
    if value is None or not rule.is_right(value):
        return False
    return not rule.is_whole or value.is_integer()


def wrong_cell(file_name: str, row: int, column: str, got: str, required: str) -> UsageError:
    """What is wrong with one cell of the file."""
    return UsageError(f"{file_name}: row {row}, column {column!r}: {got}; required {required}")


def _wrong(file_name: str, row: int, column: str, value: str | None, required: str) -> UsageError:
    return wrong_cell(file_name, row, column, "empty" if value is None else repr(value[:60]), required)
