"""How runs ended, where a column of any name says so: lost ones are left out and counted, none is a divergence."""

from __future__ import annotations

from collections import Counter

import polars as pl

from bench.imports.names import plain_name
from bench.imports.tidy_file import Rows

_NAMES = ("state", "status", "run_state", "run_status", "trial_state", "job_state")
_FINISHED = ("finished", "complete", "completed", "success", "succeeded", "successful", "done", "ok", "terminated")
_DIVERGED = ("diverged", "nan")
_LOST = ("fail", "failed", "failure", "crashed", "killed", "running", "pruned", "error", "errored", "timeout",
         "timed out", "cancelled", "canceled", "preempted", "scheduled", "pending", "waiting", "queued",
         "out_of_memory", "oom", "stopped", "aborted", "interrupted", "node_fail")  # fmt: skip


def state_column(cells: pl.DataFrame) -> str | None:
    """The column that says how each run ended, in words of trackers and schedulers alone; None if there is none."""
    known = (*_FINISHED, *_DIVERGED, *_LOST)
    for name in cells.columns:
        words = cells[name].drop_nulls().str.to_lowercase()
        if plain_name(name) in _NAMES and len(words) and words.is_in(known).all():
            return name
    return None


def without_lost(rows: Rows) -> Rows:
    """The runs that finished or diverged, without the column of `state_column`; the same where there is none."""
    name = state_column(rows.cells)
    if name is None:
        return rows
    state = pl.col(name).fill_null("").str.to_lowercase()
    kept = rows.cells.with_row_index("place").filter(state.is_in([*_FINISHED, *_DIVERGED]))
    if "outcome" not in kept.columns and (diverged := state.is_in(_DIVERGED)) is not None:
        kept = kept.with_columns(outcome=pl.when(diverged).then(pl.lit("diverged")))
        kept = kept.drop("outcome") if kept["outcome"].is_null().all() else kept
    lost = Counter(rows.cells.filter(~state.is_in([*_FINISHED, *_DIVERGED]))[name].fill_null("without a state"))
    words = ", ".join(f"{number} {one}" for one, number in sorted(lost.items()))
    note = f"left out by {name!r}, lost and no results: {words}" if lost else f"{name!r} says that no run was lost"
    places = {place: row for row, place in enumerate(kept["place"])}
    traces = rows.traces.filter(pl.col("row").is_in(list(places)))
    traces = traces.with_columns(pl.col("row").replace_strict(places, return_dtype=pl.Int64))
    return Rows(cells=kept.drop("place", name), notes=(*rows.notes, note), traces=traces)
