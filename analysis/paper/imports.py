"""What a bundle says of runs of others: which they are, where they come from, what was assumed, when they diverged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import polars as pl

from analysis.curves import ENTRY, with_knobs
from analysis.paper.prose import Text, cited, listed_knob, listed_lrs, listed_seeds
from analysis.scores.flags import has_flag
from analysis.text import counted
from bench.outcome import Outcome
from bench.trial import KNOB_NAMES

_OF_IMPORT = r"\(imported=([A-Za-z0-9_.-]+)\)$"  # ends the label of a method that stands in company
_DIGEST_DIGITS = 12
_LABELS = {"workload": "on", "optimizer": "with the optimizer", "schedule": "with the learning-rate schedule"}


def imported_rows(results: pl.DataFrame, board: pl.DataFrame) -> pl.DataFrame:
    """The results of those entries that the leaderboard flags as imported."""
    entries = board.filter(has_flag("imported")).select(ENTRY)
    return with_knobs(results).join(entries, on=ENTRY, how="semi", maintain_order="left").select(results.columns)


def divergence_rule(*, has_own: bool, has_imported: bool) -> str:
    """When a trial of ours, or an imported run, has diverged, and what a score makes of it."""
    own = "A trial has diverged as soon as its loss or gradient norm is not finite"
    imported = "where its file says so or its final loss is not finite"
    both = f"{own}, an imported run {imported}"
    rule = f"A run has diverged {imported}" if not has_own else both if has_imported else own
    return f"{rule}; its final loss then counts as infinite, so that a score sees the loss at init in its place."


def imported_text(rows: pl.DataFrame, records: Mapping[str, Mapping[str, Any]]) -> Text:
    """Sentences that say source, runs and assumptions of each import; none for no rows.

    `rows` has RESULT_COLUMNS, of imported runs alone. `records` is what a manifest has of imports, by name.
    """
    names = rows["method"].str.extract(_OF_IMPORT)
    others = [name for name in records if name not in names]  # whose methods are called what their file calls them
    named = rows.with_columns(names.fill_null(others[0] if len(others) == 1 else "").alias("import"))
    text: Text = []
    for (name,), runs in named.group_by("import", maintain_order=True):
        text += _of_import(runs, records.get(str(name)))
    return text


def _of_import(runs: pl.DataFrame, record: Mapping[str, Any] | None) -> Text:
    assumed: Mapping[str, Any] = {} if record is None else record["assumed"]
    methods = runs["method"].unique().sort().to_list()
    text: Text = [f"We imported {counted(runs.height, 'run')} that others trained, of ", *cited("method", methods)]
    for kind, words in _LABELS.items():
        if kind not in assumed:
            text += [f"; {words} ", *cited(kind, runs[kind].unique().sort())]
    return [*text, "; ", "; ".join(_facts(runs, assumed)), f". {_source(record)}{_assumed(assumed)}"]


def _facts(runs: pl.DataFrame, assumed: Collection[str]) -> Iterator[str]:
    """Steps, learning rates, seeds, knobs and outcomes, as far as the file states them."""
    steps = runs["num_steps"].drop_nulls().unique().sort().to_list()
    if steps and "num_steps" not in assumed:
        yield f"for {', '.join(f'{number:,}' for number in steps)} steps"
    yield f"with {listed_lrs(runs['lr'])} and {listed_seeds(runs['seed'])}"
    knobs = [listed_knob(runs[name]) for name in KNOB_NAMES if name != "lr" and name not in assumed]
    if knobs:
        yield f"with {', '.join(knobs)}"
    numbers = (runs.filter(outcome=outcome.value).height for outcome in (Outcome.COMPLETED, Outcome.DIVERGED))
    yield "{:,} completed and {:,} diverged".format(*numbers)


def _source(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "Where they are from is not recorded. "
    sources = "; ".join(record["sources"])
    said = f"whose stated source is {sources}" if sources else "which states no source"
    return f"They are from the file {record['file']} (SHA-256 {record['sha256'][:_DIGEST_DIGITS]}...), {said}. "


def _assumed(assumed: Mapping[str, Any]) -> str:
    """Values as records have them: numbers or text."""
    values = ", ".join(
        f"{name} {f'{value:g}' if isinstance(value, float) else value}" for name, value in assumed.items()
    )
    return f"What the file does not state was taken to be: {values}. " if values else ""
