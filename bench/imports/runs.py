"""Other people's runs, a row a run, as results: every cell is checked, every complaint names file, row and column.

What a file does not say is filled in by whoever reads it, and `assumed` tells what: by itself, a knob counts as off
and a workload, optimizer or schedule is 'unknown' (ABSENT). A column that is not known is refused, unless it is named
as a setting, which keeps runs apart as knobs do, or ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.spelling import with_one_spelling
from bench.errors import UsageError
from bench.held_out import HELD_OUT, HELD_OUT_COLUMNS
from bench.imports.cells import checked_cells, spread_knobs, wrong_cell
from bench.imports.names import ALIASES, KNOWN_COLUMNS, REQUIRED_COLUMNS
from bench.imports.tidy_file import TidyFile
from bench.imports.unknown_columns import missing_columns, unknown_columns
from bench.outcome import RESULT_COLUMNS, Outcome, Result
from bench.trace import TRACE_COLUMNS
from bench.trial import KINDS, KNOB_NAMES, UNNAMED, Choice, Knobs, Trial, import_mark

# Of a trial, where the file says nothing.
ABSENT: dict[str, Any] = {
    **{kind: label for kind, label in UNNAMED.items() if kind != "method"},
    **{name: getattr(Knobs(lr=1.0), name) for name in KNOB_NAMES if name != "lr"},
    "num_steps": None,
}
MAX_SOURCES = 10

_IMPORT_SCHEMA = {"trial_id": pl.String, "import": pl.String}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a file leaves to whoever reads it.

    name: of the import, part of every trial's id. workload: of all runs, where the file has no such column.
    initial_loss: the same. settings: columns that keep runs apart. absent: what holds where the file says nothing.
    label: what tables call a method.
    """

    name: str
    workload: str | None = None
    initial_loss: float | None = None
    settings: Collection[str] = ()
    absent: Mapping[str, Any]
    label: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class ImportedRuns:
    """A file's runs as results; its sources, as it cites them; and what it does not say, with what counts instead.

    traces: TRACE_COLUMNS by trial id, of the runs that the file has values by step of.
    """

    results: tuple[Result, ...]
    sources: tuple[str, ...]
    assumed: dict[str, Any]
    traces: Mapping[str, pl.DataFrame]

    @property
    def frame(self) -> pl.DataFrame:
        """RESULT_COLUMNS, a row a run."""
        schema = {column: getattr(pl, kind) for column, kind in RESULT_COLUMNS.items()}
        return pl.DataFrame([result.row() for result in self.results], schema=schema)

    def trace_lots(self, trial_ids: Collection[str], quantities: Collection[str] | None) -> list[pl.DataFrame]:
        """The traces as a Subject reads them, a frame a trial."""
        wanted = {trial_id: self.traces[trial_id] for trial_id in trial_ids if trial_id in self.traces}
        kept = pl.lit(True) if quantities is None else pl.col("quantity").is_in(list(quantities))
        return [
            trace.filter(kept).select(pl.lit(trial_id).alias("trial_id"), *TRACE_COLUMNS)
            for trial_id, trace in wanted.items()
        ]


def plain_reading(name: str) -> Reading:
    """A file that stands for itself, its methods called as it calls them."""
    return Reading(name=name, absent=ABSENT, label=str)


def imported_runs(file: TidyFile, reading: Reading) -> ImportedRuns:
    """The runs of a tidy file. Raises UsageError with the first problem.

    Columns: REQUIRED_COLUMNS, and any other of KNOWN_COLUMNS. A run diverged if `outcome` says so or its final loss is
    not finite; lost runs are no results and are refused. `knobs` is text such as 'depth=4, warmup_steps=100', as our
    curves.csv has it. Knobs are in one spelling (analysis.spelling). Two rows of one run (all but losses the same) are
    refused.
    """
    named = _known_columns(file, reading)
    cells, settings = spread_knobs(named, file.file_name, reading.settings)
    _require(cells, file.file_name, reading, file.notes)
    checked = checked_cells(cells, file.file_name)
    sources = tuple(sorted({source for source in checked.get("source", []) if source is not None}))
    if len(sources) > MAX_SOURCES:
        raise UsageError(
            f"{file.file_name}: column 'source': {len(sources)} sources; required at most {MAX_SOURCES} a file"
        )
    absent = dict(reading.absent)
    if reading.workload is not None:
        absent["workload"] = reading.workload
    if reading.initial_loss is not None:
        checked["initial_loss"] = [reading.initial_loss] * cells.height
        if file.is_held_out_alone:
            checked.setdefault("initial_val_loss", checked["initial_loss"])
    rows = with_one_spelling(pl.DataFrame(checked))[0].to_dicts()
    _check_outcomes(rows, file.file_name)
    _refuse_duplicates(rows, settings, file.file_name)
    results = tuple(_result(row, of_row, absent, reading) for row, of_row in zip(rows, settings, strict=True))
    assumed = {name: value for name, value in absent.items() if name not in cells.columns and value != ""}
    if reading.workload is not None:
        del assumed["workload"]
    by_row = file.traces.partition_by("row", as_dict=True, include_key=False)
    traces = {result.trial.id: by_row[(row,)] for row, result in enumerate(results) if (row,) in by_row}
    return ImportedRuns(results=results, sources=sources, assumed=assumed, traces=traces)


def _known_columns(file: TidyFile, reading: Reading) -> pl.DataFrame:
    """The cells under our names. Raises UsageError for a column that is neither known nor a setting."""
    columns = file.cells.columns
    for name in reading.settings:
        if name not in columns:
            raise UsageError(f"{file.file_name}: no column {name!r} to keep as a setting; it has {', '.join(columns)}")
        if name in KNOWN_COLUMNS or name in ALIASES:
            raise UsageError(f"{file.file_name}: column {name!r} is known as it is; required no setting of that name")
    for theirs, ours in ALIASES.items():
        if theirs in columns and ours in columns:
            raise UsageError(
                f"{file.file_name}: columns {ours!r} and {theirs!r} mean the same; required one of them: --ignore the "
                "other (of two rates, the one that a schedule changes)"
            )
    if unknown := [name for name in columns if name not in (*KNOWN_COLUMNS, *ALIASES, *reading.settings)]:
        raise UsageError(
            unknown_columns(columns, unknown, file.file_name, has_initial_loss=reading.initial_loss is not None)
        )
    return file.cells.rename(ALIASES, strict=False)


def _require(cells: pl.DataFrame, file_name: str, reading: Reading, notes: Sequence[str]) -> None:
    """Raises UsageError for a column that lacks, or is there beside the option that stands for it.

    notes: what was said of the file; which of its columns were left out is said again, as one may be what lacks.
    """
    for name, given, option in (
        ("initial_loss", reading.initial_loss, "--initial-loss"),
        ("workload", reading.workload, "--workload"),
    ):
        if given is not None and name in cells.columns:
            what = f"column {name!r} is there already"
            advice = "" if name == "workload" else " (--ignore initial_loss leaves out what the file says)"
            raise UsageError(f"{file_name}: {what}; required it or {option}, not both{advice}")
    if reading.initial_loss is not None and not math.isfinite(reading.initial_loss):
        raise UsageError(f"--initial-loss must be a finite number, got {reading.initial_loss}")
    given = {"initial_loss"} if reading.initial_loss is not None else set()
    missing = [name for name in REQUIRED_COLUMNS if name not in cells.columns and name not in given]
    if missing:
        raise UsageError(missing_columns(cells.columns, missing, file_name, notes))


def _check_outcomes(rows: list[dict[str, Any]], file_name: str) -> None:
    """Fills the outcome of every row, and +inf as the final loss of those that diverged."""
    for number, row in enumerate(rows, 1):
        loss, outcome = row["final_loss"], (row.get("outcome") or "").lower() or None
        if outcome not in (None, Outcome.COMPLETED, Outcome.DIVERGED):
            required = "'completed' or 'diverged', or empty (a lost run is no result: leave its row out)"
            raise wrong_cell(file_name, number, "outcome", repr(row["outcome"]), required)
        if loss is None and outcome != Outcome.DIVERGED:
            required = "a number; where it was NaN --without-loss diverged, where it was lost --without-loss lost"
            raise wrong_cell(
                file_name, number, "final_loss", "empty, which can't tell what became of the run", required
            )
        is_finite = loss is not None and math.isfinite(loss)
        if outcome == Outcome.COMPLETED and not is_finite:
            got = f"'completed', but its final loss is {loss}"
            raise wrong_cell(file_name, number, "outcome", got, "'diverged'")
        diverged = outcome == Outcome.DIVERGED or not is_finite
        row["outcome"] = Outcome.DIVERGED if diverged else Outcome.COMPLETED
        if diverged:
            row["final_loss"] = math.inf
            row |= {name: measure.diverged for name, measure in HELD_OUT.items() if row.get(name) is not None}
        elif row.get("diverged_step") is not None:
            got = f"{row['diverged_step']}, but the run completed"
            raise wrong_cell(file_name, number, "diverged_step", got, "it empty")


def _refuse_duplicates(rows: list[dict[str, Any]], settings: list[dict[str, Any]], file_name: str) -> None:
    names = [name for name in (*KINDS, "lr", *KNOB_NAMES[1:], "num_steps", "seed") if name in rows[0]]
    first: dict[tuple[Any, ...], int] = {}
    for number, (row, of_row) in enumerate(zip(rows, settings, strict=True), 1):
        key = (*(row[name] for name in names), json.dumps(of_row, sort_keys=True))
        if key in first:
            run = ", ".join(f"{name} {row[name]}" for name in ("method", "lr", "seed"))
            raise UsageError(
                f"{file_name}: row {number}, columns {', '.join(names)}: the same run as row {first[key]} ({run}); "
                "required one row a run, with a column for whatever else tells runs apart, or one named `step` where "
                "rows are checkpoints"
            )
        first[key] = number


def _result(row: dict[str, Any], settings: dict[str, Any], absent: Mapping[str, Any], reading: Reading) -> Result:
    of = {**absent, **{name: value for name, value in row.items() if name in (*absent, "lr")}}
    others: dict[str, Any] = {
        kind: Choice(name=of[kind], params={}) for kind in KINDS if kind not in ("workload", "method") and of[kind]
    }
    trial = Trial(
        workload=Choice(name=of["workload"], params={"num_steps": of["num_steps"]}),
        method=Choice(
            name=import_mark(reading.name),
            params={**settings, "method": row["method"]},
            label=reading.label(row["method"]),
            swept=tuple(settings),
        ),
        **others,
        knobs=Knobs(**{name: of[name] for name in KNOB_NAMES}),
        seed=row["seed"],
        probe_every=0,
    )
    return Result(
        trial=trial,
        outcome=row["outcome"],
        initial_loss=row["initial_loss"],
        final_loss=row["final_loss"],
        diverged_step=row.get("diverged_step"),
        held_out={name: row.get(name) for name in HELD_OUT_COLUMNS},
        wall_s=row.get("wall_s") or 0.0,
    )


def named_apart(results: pl.DataFrame, imported: Mapping[str, str]) -> pl.DataFrame:
    """`results` with imported methods renamed `softmax(imported=NAME)` where others share their name and workload.

    `imported` is the name of its import by trial id.
    """
    names = pl.DataFrame({"trial_id": list(imported), "import": list(imported.values())}, schema=_IMPORT_SCHEMA)
    with_names = results.join(names, on="trial_id", how="left", maintain_order="left")
    is_shared = pl.col("import").fill_null("").n_unique().over("workload", "method") > 1
    renamed = pl.format("{}(imported={})", pl.col("method"), pl.col("import"))
    method = pl.when(is_shared & pl.col("import").is_not_null()).then(renamed).otherwise(pl.col("method"))
    return with_names.with_columns(method=method).drop("import")
