"""Exports of trackers and tuners, a row a run with its state: Weights & Biases, MLflow, Optuna, Ray Tune.

Finished runs stay. What was lost (crashed, failed, stopped, still running, pruned) is left out and counted: it is
neither a result nor a divergence. Columns that tell no runs apart are left out and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from bench.imports.checkpoints import last_of
from bench.imports.names import SYNONYMS, likely_columns
from bench.imports.tidy_file import Rows, moved
from bench.imports.wishes import Wishes

_POINT = ("method", "lr", "seed")
_PLACE = "place"  # of a row in the file, while some are left out


@dataclass(frozen=True, kw_only=True)
class Export:
    """How a tool writes its runs.

    title: what it is. marks: columns that its exports have. begins: beginnings of names, each of which some column has.
    states: all that its state may say, in lower case, where names alone tell little. state: the column with how a run
    ended, None if there is none; finished: values of it that are results, in lower case. untold: those that may be a
    loss that was not finite or a crash. prefixes: before the names of settings and of measures. record: whether a
    column is about the run and nothing that it was given or measured. measure: whether it is something measured, which
    tells no runs apart.
    names: columns of its own by ours. empty: what a finished run without a final loss may be. run: the column that
    tells runs apart where they have several rows, the last of which is final.
    """

    title: str
    marks: frozenset[str] = frozenset()
    begins: tuple[str, ...] = ()
    states: frozenset[str] = frozenset()
    state: str | None = None
    finished: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    record: Callable[[str], bool]
    measure: Callable[[str], bool]
    names: Mapping[str, str] = field(default_factory=dict)
    empty: str = "NaN or never logged"
    run: str | None = None


def is_of(export: Export, cells: pl.DataFrame) -> bool:
    """Whether text cells under their own names are an export of this tool."""
    has_all = all(any(name.startswith(head) for name in cells.columns) for head in export.begins)
    if not has_all or not export.marks <= set(cells.columns):
        return False
    return not export.states or cells[str(export.state)].fill_null("-").str.to_lowercase().is_in(export.states).all()


def read_export(cells: pl.DataFrame, wishes: Wishes, file_name: str, *, export: Export) -> Rows:
    """Our columns of the finished runs, and what was made of the rest, in words.

    `cells` is text with the columns of `wishes` under our names already. Raises UsageError as `last_of` does.
    """
    notes = [f"read as {export.title}"]
    last = Rows(cells=cells)
    if export.run is not None and export.run in cells.columns:
        last = last_of(cells, export.run, file_name)
        notes += last.notes
    rows = _renamed(export, last.cells, wishes, notes).with_row_index(_PLACE)
    rows = _finished(export, rows, notes)
    rows = _with_outcome(export, rows, wishes, notes)
    traces = moved(last.traces, rows[_PLACE].to_list())
    return Rows(cells=_telling(export, rows.drop(_PLACE), notes), notes=tuple(notes), traces=traces)


def _renamed(export: Export, cells: pl.DataFrame, wishes: Wishes, notes: list[str]) -> pl.DataFrame:
    """Settings and measures without prefixes, and all that can be told under our names.

    Where a tool tells settings from measures, a rate that was measured, as the last of a schedule, is left out.
    """
    if export.prefixes:
        asked = {*wishes.columns, *wishes.constants}
        measured = [name for name in cells.columns if name not in asked and export.measure(name)]
        rates = [one for one in measured if _without_prefix(export, one) in SYNONYMS["lr"]]
        notes += [f"columns left out: rates that were measured ({', '.join(rates)})"] if rates else []
        cells = cells.drop(rates)
    known = set(SYNONYMS)
    kept = [name for name in cells.columns if name in known or name == export.state or not export.record(name)]
    plain = {name: _without_prefix(export, name) for name in kept if name not in known}
    wanted = [ours for ours in SYNONYMS if ours not in cells.columns]
    of_tool = {ours: name for ours, name in export.names.items() if ours in wanted and name in plain}
    candidates = [short for name, short in plain.items() if name not in of_tool.values() and not _is_empty(cells[name])]
    likely = likely_columns(candidates, [ours for ours in wanted if ours not in of_tool])
    by_short = {short: name for name, short in reversed(plain.items())}
    renamed = of_tool | {ours: by_short[short] for ours, short in likely.items()}
    if renamed:
        notes.append("columns: " + ", ".join(f"{ours} from {theirs}" for ours, theirs in renamed.items()))
    return cells.select(kept).rename({theirs: ours for ours, theirs in renamed.items()})


def _without_prefix(export: Export, name: str) -> str:
    for prefix in export.prefixes:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _finished(export: Export, rows: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    if export.state is None:
        return rows
    if export.state not in rows.columns:
        notes.append(f"no column {export.state!r}: which runs were lost can't be told")
        return rows
    state = pl.col(export.state).fill_null("").str.to_lowercase()
    kept = rows.filter(state.is_in([*export.finished, *export.untold]))
    lost = rows.filter(~state.is_in([*export.finished, *export.untold]))
    if lost.height:
        counts = Counter(lost[export.state].fill_null("without a state").to_list())
        words = ", ".join(f"{number} {one}" for one, number in sorted(counts.items()))
        notes.append(f"left out, lost and no results: {words}{_not_repeated(lost, kept)}")
    return kept


def _not_repeated(lost: pl.DataFrame, kept: pl.DataFrame) -> str:
    """In words, which lost runs no other run made up for, as far as method, lr and seed tell."""
    names = [name for name in _POINT if name in kept.columns]
    if len(names) < len(_POINT):
        return ""
    missing = lost.select(names).unique(maintain_order=True).join(kept.select(names).unique(), on=names, how="anti")
    if missing.is_empty():
        return " (all were repeated)"
    words = "; ".join(f"{row['method']}, lr {row['lr']}, seed {row['seed']}" for row in missing.head(8).to_dicts())
    more = f" and {missing.height - 8} more" if missing.height > 8 else ""
    return f" (no other run of {words}{more})"


def _with_outcome(export: Export, rows: pl.DataFrame, wishes: Wishes, notes: list[str]) -> pl.DataFrame:
    """Rows with a final loss, and those without as `wishes.without_loss` says."""
    if "final_loss" not in rows.columns:
        return rows
    has_state = export.state is not None and export.state in rows.columns
    is_untold = pl.lit(False) if not has_state else pl.col(str(export.state)).str.to_lowercase().is_in(export.untold)
    is_without = pl.col("final_loss").is_null() | is_untold
    without = rows.filter(is_without)
    if without.is_empty():
        return rows
    names = [name for name in _POINT if name in rows.columns]
    words = "; ".join(", ".join(f"{name} {row[name]}" for name in names) for row in without.head(8).to_dicts())
    what = f"{without.height} finished without a final loss ({words}): {export.empty}, which the file can't tell"
    if wishes.without_loss == "diverged":
        notes.append(f"{what}; taken as diverged, as asked")
        outcome = pl.when(is_without).then(pl.lit("diverged"))
        return rows.with_columns(outcome.alias("outcome"), pl.when(~is_without).then("final_loss").alias("final_loss"))
    advice = "" if wishes.without_loss == "lost" else "; --without-loss diverged if they diverged"
    notes.append(f"left out: {what}{advice}")
    return rows.filter(~is_without)


def _telling(export: Export, rows: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Columns of ours, and settings that differ between runs, under their short names."""
    own = [name for name in rows.columns if name not in SYNONYMS and name not in ("outcome", "source")]
    dropped: dict[str, list[str]] = {"empty": [], "the same in every run": [], "measured, not known": []}
    for name in own:
        if name == export.state:
            continue
        if _is_empty(rows[name]):
            dropped["empty"].append(name)
        elif rows[name].n_unique() == 1:
            dropped["the same in every run"].append(name)
        elif export.measure(name):
            dropped["measured, not known"].append(name)
    words = [f"{len(names)} {why} ({', '.join(names)})" for why, names in dropped.items() if names]
    if words:
        notes.append(f"columns left out: {'; '.join(words)}")
    without = [name for names in dropped.values() for name in names]
    empty = [name for name in rows.columns if name in SYNONYMS and _is_empty(rows[name])]
    kept = rows.drop([*without, *empty, *([export.state] if export.state in rows.columns else [])])
    return kept.rename(
        {name: short for name in kept.columns if (short := _without_prefix(export, name)) not in kept.columns}
    )


def _is_empty(column: pl.Series) -> bool:
    return column.is_null().all()


_WANDB = frozenset([
    "Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "ID", "Group", "Job Type", "Commit",
    "Description", "GPU Count", "GPU Type", "Host Name", "Hostname", "Updated", "End Time", "Project",
    "Start Time", "Username", "Python Version", "OS", "Github Repository",
])  # fmt: skip
_MLFLOW_PAGE = frozenset(
    ["Start Time", "Duration", "Run ID", "Name", "Source Type", "Source Name", "User", "Status", "Dataset", "Models"]
)
_RAY = frozenset([
    "trial_id", "date", "timestamp", "pid", "hostname", "node_ip", "done", "logdir", "experiment_tag",
    "time_total_s", "time_this_iter_s", "time_since_restore", "iterations_since_restore", "training_iteration",
    "checkpoint_dir_name", "should_checkpoint", "timesteps_total", "episodes_total", "trial_name", "status",
    "experiment_id", "timesteps_since_restore",
])  # fmt: skip

EXPORTS: dict[str, Export] = {
    "wandb runs": Export(
        title="a runs table of Weights & Biases",
        marks=frozenset({"Name", "State"}),
        states=frozenset(
            {"finished", "crashed", "failed", "killed", "running", "preempted", "preempting", "pending", "-"}
        ),
        state="State",
        finished=frozenset({"finished"}),
        record=lambda name: name in _WANDB or name.startswith("_"),
        measure=lambda name: "/" in name,
    ),
    "mlflow runs": Export(
        title="MLflow's search_runs",
        begins=("params.", "metrics."),
        state="status",
        finished=frozenset({"finished"}),
        prefixes=("params.", "metrics."),
        record=lambda name: not name.startswith(("params.", "metrics.")),
        measure=lambda name: name.startswith("metrics."),
    ),
    "mlflow page": Export(
        title="runs that MLflow's page downloads",
        marks=frozenset({"Run ID", "Status", "Start Time"}),
        state="Status",
        finished=frozenset({"finished"}),
        record=lambda name: name in _MLFLOW_PAGE,
        measure=lambda name: False,
    ),
    "optuna trials": Export(
        title="Optuna's trials_dataframe",
        begins=("params_", "value"),
        state="state",
        finished=frozenset({"complete"}),
        untold=frozenset({"fail"}),
        prefixes=("params_", "user_attrs_", "values_"),
        record=lambda name: not name.startswith(("params_", "user_attrs_", "value")),
        measure=lambda name: name.startswith("value"),
        names={"final_loss": "value"},
        empty="Optuna fails a trial whose value is NaN as it does one that crashed",
    ),
    "optuna dashboard": Export(
        title="trials that Optuna's dashboard downloads",
        marks=frozenset({"Number", "State"}),
        state="State",
        finished=frozenset({"complete"}),
        untold=frozenset({"fail"}),
        prefixes=("Param ", "UserAttribute "),
        record=lambda name: name == "Number",
        measure=lambda name: not name.startswith(("Param ", "UserAttribute ")),
        names={"final_loss": "Value"},
        empty="Optuna fails a trial whose value is NaN as it does one that crashed",
    ),
    "ray results": Export(
        title="results of Ray Tune",
        marks=frozenset({"trial_id", "training_iteration"}),
        prefixes=("config/",),
        record=lambda name: name in _RAY,
        measure=lambda name: not name.startswith("config/"),
        run="trial_id",
    ),
    "wandb api": Export(
        title="runs of Weights & Biases' API, with their config and summary",
        state="state",
        finished=frozenset({"finished"}),
        begins=("config/", "summary/"),
        prefixes=("config/", "summary/"),
        record=lambda name: not name.startswith(("config/", "summary/")) or name.split("/")[1].startswith("_"),
        measure=lambda name: name.startswith("summary/"),
    ),
}
