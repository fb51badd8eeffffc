"""How runs ended, where a column of any name says so: lost ones are left out and counted, none is a divergence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import polars as pl

from bench.errors import UsageError
from bench.imports.columns import printable
from bench.imports.names import plain_name
from bench.imports.tidy_file import Rows, moved

_NAMES = ("state", "status", "run_state", "run_status", "trial_state", "job_state")
_FINISHED = ("finished", "complete", "completed", "success", "succeeded", "successful", "done", "ok", "terminated")
_DIVERGED = ("diverged", "nan")
_LOST = ("fail", "failed", "failure", "crashed", "killed", "running", "pruned", "error", "errored", "timeout",
         "timed out", "cancelled", "canceled", "preempted", "scheduled", "pending", "waiting", "queued",
         "out_of_memory", "oom", "stopped", "aborted", "interrupted", "node_fail")  # fmt: skip


# Columns of truth values, and their words.
_DIVERGED_FLAGS = ("diverged", "is_diverged", "has_diverged", "did_diverge")
_LOST_FLAGS = ("crashed", "is_crashed", "has_crashed", "failed", "is_failed", "has_failed", "killed", "pruned")
_TRUE = ("true", "yes", "1", "1.0", "t", "y")
_FALSE = ("false", "no", "0", "0.0", "f", "n")


def state_column(cells: pl.DataFrame) -> str | None:
    """The column that says how each run ended, in words of trackers and schedulers alone; None if there is none."""
    known = (*_FINISHED, *_DIVERGED, *_LOST)
    return next((name for name in cells.columns if plain_name(name) in _NAMES and _says(cells[name], known)), None)


def flag_columns(cells: pl.DataFrame, names: tuple[str, ...] = (*_DIVERGED_FLAGS, *_LOST_FLAGS)) -> list[str]:
    """Columns that say by truth values whether each run diverged or was lost."""
    return [name for name in cells.columns if plain_name(name) in names and _says(cells[name], (*_TRUE, *_FALSE))]


def end_columns(cells: pl.DataFrame) -> list[str]:
    """Columns that say how runs ended, in words of which one is known at least, or by truth values."""
    known = (*_FINISHED, *_DIVERGED, *_LOST)
    named = [name for name in cells.columns if plain_name(name) in _NAMES]
    return [*(name for name in named if cells[name].str.to_lowercase().is_in(known).any()), *flag_columns(cells)]


def without_lost(rows: Rows, file_name: str) -> Rows:
    """The runs that finished or diverged, without the columns that say so; the same where there are none.

    Raises UsageError for a word that is not known among others that are.
    """
    _refuse_unknown(rows.cells, file_name)
    for name in flag_columns(rows.cells, _LOST_FLAGS):
        rows = _kept(rows, name, ~_is(name, _TRUE), pl.lit(name))
    for name in flag_columns(rows.cells, _DIVERGED_FLAGS):
        rows = _with_diverged(rows, name, _is(name, _TRUE))
    name = state_column(rows.cells)
    if name is None:
        return rows
    rows = _with_diverged(rows, name, _is(name, _DIVERGED))
    return _kept(rows, name, _is(name, (*_FINISHED, *_DIVERGED)), pl.col(name).fill_null("without a state"))


def _refuse_unknown(cells: pl.DataFrame, file_name: str) -> None:
    for name in end_columns(cells):
        words = cells[name].drop_nulls()
        unknown = words.filter(~words.str.to_lowercase().is_in([*_FINISHED, *_DIVERGED, *_LOST, *_TRUE, *_FALSE]))
        if len(unknown):
            raise UsageError(
                f"{file_name}: column {name!r}: {printable(unknown[0][:60])!r} may be a finished run or a lost one; "
                f"required words such as {_FINISHED[0]}, {_DIVERGED[0]} or {_LOST[1]}, or --ignore {name} once lost "
                "runs are left out"
            )


def _says(column: pl.Series, words: tuple[str, ...]) -> bool:
    said = column.drop_nulls().str.to_lowercase()
    return len(said) > 0 and said.is_in(words).all()


def _is(name: str, words: tuple[str, ...]) -> pl.Expr:
    return pl.col(name).fill_null("").str.to_lowercase().is_in(words)


def _with_diverged(rows: Rows, name: str, is_diverged: pl.Expr) -> Rows:
    """Rows with the outcome 'diverged' where `is_diverged` and no column says one; without a column of flags."""
    diverged = pl.when(is_diverged).then(pl.lit("diverged"))
    num_diverged = int(rows.cells.select(is_diverged.sum()).item())
    if not num_diverged:
        cells = rows.cells
    elif "outcome" in rows.cells.columns:
        cells = rows.cells.with_columns(pl.coalesce("outcome", diverged).alias("outcome"))
    else:
        cells = rows.cells.with_columns(diverged.alias("outcome"))
    if name in flag_columns(rows.cells, _DIVERGED_FLAGS):
        return replace(rows, cells=cells.drop(name), notes=(*rows.notes, f"diverged by {name!r}: {num_diverged}"))
    return replace(rows, cells=cells)


def _kept(rows: Rows, name: str, is_kept: pl.Expr, said: pl.Expr) -> Rows:
    """The rows of runs that were not lost, without the column `name`; `said` is how a note calls a lost one."""
    kept = rows.cells.with_row_index("place").filter(is_kept)
    lost = Counter(rows.cells.filter(~is_kept).select(said.alias("said"))["said"].to_list())
    words = ", ".join(f"{number} {one}" for one, number in sorted(lost.items()))
    note = f"left out by {name!r}, lost and no results: {words}" if lost else f"{name!r} says that no run was lost"
    traces = moved(rows.traces, kept["place"].to_list())
    return Rows(cells=kept.drop("place", name), notes=(*rows.notes, note), traces=traces)
