"""Losses by step where a run has a name, or a cell all its values: charts of Weights & Biases, TensorBoard, lists."""

from __future__ import annotations

import re
import shlex

import polars as pl

from analysis.text import counted
from bench.errors import UsageError
from bench.imports.checkpoints import TELLING, number, one_row_a_run, read_checkpoints, step_column
from bench.imports.columns import MAX_VALUES
from bench.imports.names import STEPS, SYNONYMS, likely_columns, plain_name
from bench.imports.states import without_lost
from bench.imports.tidy_file import Rows
from bench.imports.wishes import Wishes

RUN = "run"  # the column of a run's name

_CHART_COLUMN = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?")
_AXES = ("Step", "Relative Time (Process)", "Relative Time (Wall)", "Wall Time")
_GROUP = "Group: "  # before the name of a group of runs, whose mean a chart shows
_TENSORBOARD_CSV = {"Wall time", "Step", "Value"}
_NUMBER = r"[0-9.eE+-]+"


def is_chart(cells: pl.DataFrame) -> bool:
    """Whether it is a chart of Weights & Biases: a step, then '<run> - <metric>', and the same with __MIN and __MAX."""
    axis, *others = cells.columns
    of_runs = [name for name in others if not _is_axis(name)]
    return _is_axis(axis) and bool(of_runs) and all(map(_CHART_COLUMN.fullmatch, of_runs))


def _is_axis(name: str) -> bool:
    return name in _AXES or plain_name(name) in STEPS


def is_tensorboard(cells: pl.DataFrame) -> bool:
    """Whether it has scalars of TensorBoard: what its download button writes, or event files as they are read."""
    return set(cells.columns) >= _TENSORBOARD_CSV or cells.columns[:2] == [RUN, "step"]


def has_lists(cells: pl.DataFrame) -> bool:
    """Whether a cell holds a list: all values of a run."""
    return bool(_lists(cells))


def read_chart(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    """A row a run of a chart export. Raises UsageError without a pattern for the names of runs, or with a wrong one."""
    matches = {name: match for name in cells.columns[1:] if (match := _CHART_COLUMN.fullmatch(name))}
    columns = {name: match for name, match in matches.items() if not _is_axis(match["metric"])}
    metrics = sorted({match["metric"] for match in columns.values()})
    if len(metrics) > 1:
        raise UsageError(f"{file_name}: a chart export of {', '.join(metrics)}; required one measure a file, a loss")
    runs = {name: match["run"] for name, match in columns.items() if not match["bound"]}
    if not runs:
        raise UsageError(f"{file_name}: a chart export with columns __MIN and __MAX alone; required those of the runs")
    what = f"a chart export of Weights & Biases, a row a step and a column for each of {counted(len(runs), 'run')}"
    if group := next((run for run in runs.values() if run.startswith(_GROUP)), None):
        raise UsageError(
            f"{file_name}: {what}; {group!r} is a mean over runs; required the chart without groups, a run each"
        )
    if wishes.run_names is None:
        raise UsageError(
            f"{file_name}: {what}; required the export of the runs table instead, or "
            f"{_pattern_for(next(iter(runs.values())))}"
        )
    frames = [
        cells.select(pl.lit(run).alias(RUN), *wishes.constants, step=cells.columns[0], final_loss=name)
        for name, run in runs.items()
    ]
    read = _read_named(pl.concat(frames), wishes, file_name)
    num_others = len(matches) - len(runs)
    others = f"; its {num_others} columns of steps, __MIN and __MAX are no runs" if num_others else ""
    return Rows(cells=read.cells, notes=(f"read as {what}{others}", *read.notes), traces=read.traces)


def read_tensorboard(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    """A row a run of TensorBoard's scalars. Raises UsageError where nothing says what the runs are."""
    if set(cells.columns) >= _TENSORBOARD_CSV:
        run = re.sub(r"run-(.*?)-tag-.*", r"\1", re.split(r"[/\\]", file_name)[-1].removesuffix(".csv"))
        cells = (
            cells.rename({"Step": "step", "Value": "final_loss"}).drop("Wall time").with_columns(pl.lit(run).alias(RUN))
        )
    runs = cells[RUN].unique(maintain_order=True).to_list()
    if wishes.run_names is None and (len(runs) > 1 or not {"method", "lr", "seed"} & set(cells.columns)):
        also = "" if len(runs) > 1 else "--set method=...,lr=...,seed=..., or "
        raise UsageError(
            f"{file_name}: scalars of TensorBoard of {len(runs)} runs; required {also}{_pattern_for(runs[0])}"
        )
    read = _read_named(cells, wishes, file_name)
    return Rows(
        cells=read.cells,
        notes=(f"read as scalars of TensorBoard, {counted(len(runs), 'run')}", *read.notes),
        traces=read.traces,
    )


def read_lists(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    """A row a run of a file whose cells hold all values of a run.

    Raises UsageError for lists of unequal lengths, and for one of what a run has one of.
    """
    losses = [ours for ours in ("final_loss", "val_loss") if ours not in cells.columns]
    likely = likely_columns(_lists(cells), losses)
    cells = cells.rename({theirs: ours for ours, theirs in likely.items()})
    for place, name in enumerate(cells.columns, 1):
        if name in _lists(cells) and name in TELLING:
            raise UsageError(f"{file_name}: column {place} ({name!r}) holds lists; required one number or text a run")
    num_values = sum(cells[name].str.count_matches(r"[^,\s]+").sum() for name in _lists(cells))
    if num_values > MAX_VALUES * len(_lists(cells)):
        raise UsageError(f"{file_name}: lists of {num_values:,} values; required at most {MAX_VALUES:,}")
    lists = {
        name: [_listed(text, file_name, row, name) for row, text in enumerate(cells[name], 1)] for name in _lists(cells)
    }
    lengths = [max(map(len, of_row)) for of_row in zip(*lists.values(), strict=True)]
    if sum(lengths) > MAX_VALUES:
        raise UsageError(f"{file_name}: lists of {sum(lengths):,} values; required at most {MAX_VALUES:,}")
    for name, values in lists.items():
        for row, (one, length) in enumerate(zip(values, lengths, strict=True), 1):
            if len(one) not in (0, length):
                raise UsageError(
                    f"{file_name}: row {row}: {name!r} has {len(one)} values; required {length}, as another list"
                )
    row_of = [row for row, length in enumerate(lengths) for _ in range(max(length, 1))]
    spread = [
        pl.Series(
            name, [value for one, n in zip(of, lengths, strict=True) for value in one or [None] * max(n, 1)], pl.String
        )
        for name, of in lists.items()
    ]
    rows = cells[row_of].with_columns(pl.Series(RUN, map(str, row_of)), *spread)
    step = step_column([*lists])
    if step is None:
        step = "step"
        rows = rows.with_columns((pl.int_range(pl.len()) + 1).over(RUN).cast(pl.String).alias(step))
    read = one_row_a_run(rows, [RUN], step, file_name)
    names = ", ".join(likely.get(name, name) for name in lists)
    note = f"read as lists in cells ({names}), their last values final, their steps "
    note += "counted from 1" if step not in lists else f"those of {step}"
    notes = [note, *(f"columns: {ours} from {theirs}" for ours, theirs in likely.items())]
    ended = Rows(cells=read.cells.drop(RUN, step), notes=(*notes, *read.notes), traces=read.traces)
    return without_lost(ended, file_name)


def _read_named(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    """A row a run of rows by step whose column RUN names it."""
    if wishes.run_names is not None:
        said = {run: _parts(run, wishes.run_names, file_name) for run in cells[RUN].unique(maintain_order=True)}
        names = next(iter(said.values()))
        cells = cells.with_columns(
            pl.col(RUN).replace_strict({run: parts[name] for run, parts in said.items()}).alias(name) for name in names
        )
    read = read_checkpoints(cells.drop(RUN), wishes, file_name)
    return Rows(cells=read.cells, notes=read.notes[1:], traces=read.traces)


def _lists(cells: pl.DataFrame) -> list[str]:
    """Columns with lists: every cell that is not empty begins as one."""
    is_list = {
        name: (cells[name].str.starts_with("[") & cells[name].str.ends_with("]")).all() for name in cells.columns
    }
    return [name for name, of_all in is_list.items() if of_all and cells[name].is_not_null().any()]


def _listed(text: str | None, file_name: str, row: int, name: str) -> list[str | None]:
    """The values of a list in a cell, as text. Raises UsageError for what is no list of numbers."""
    words = (text or "[]")[1:-1].replace(",", " ").split()
    wrong = next((word for word in words if word not in ("None", "null") and number(word) is None), None)
    if wrong is not None:
        required = f"numbers, or --ignore {shlex.quote(name)}"
        raise UsageError(f"{file_name}: row {row}, column {name!r}: {wrong[:40]!r} in a list; required {required}")
    return [None if word in ("None", "null") else word for word in words]


def _pattern_for(run: str) -> str:
    return f"what a run's name says, such as --run-names '{{method}}-lr{{lr}}-s{{seed}}' for {run!r}"


def _parts(run: str, pattern: str, file_name: str) -> dict[str, str]:
    """What a run's name says: {'method': 'softmax', 'lr': '0.01', 'seed': '0'}."""
    pieces = re.split(r"\{(\w+)\}", pattern)
    unknown = [name for name in pieces[1::2] if name not in SYNONYMS]
    if unknown or len(pieces) < 3 or len(set(pieces[1::2])) < len(pieces[1::2]):
        raise UsageError(
            f"--run-names {pattern!r}: required names of columns in braces, each once, of {', '.join(SYNONYMS)}"
        )
    texts = [re.escape(piece) for piece in pieces]
    for place in range(1, len(pieces), 2):
        kind = _NUMBER if pieces[place] in ("lr", "seed") else ".+"
        texts[place] = f"(?P<{pieces[place]}>{kind})"
    match = re.fullmatch("".join(texts), run)
    if match is None:
        raise UsageError(
            f"{file_name}: the run {run!r} is not named as --run-names {pattern!r} says; required a pattern of all runs"
        )
    return match.groupdict()
