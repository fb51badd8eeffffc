"""FORMATS: every way of others to write runs that is read, by name. A further one is an entry here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import polars as pl

from analysis.text import counted
from bench.errors import UsageError
from bench.imports.charts import has_lists, is_chart, is_tensorboard, read_chart, read_lists, read_tensorboard
from bench.imports.checkpoints import TELLING, is_by_step, last_of, read_checkpoints, step_column
from bench.imports.exports import EXPORTS, is_of, read_export
from bench.imports.long_form import is_long, read_long
from bench.imports.names import ALIASES, KNOWN_COLUMNS, is_extreme, plain_name
from bench.imports.states import without_lost
from bench.imports.tidy_file import Rows, TidyFile
from bench.imports.wishes import Wishes, with_wishes

# (cells, wishes, the file's name in messages) -> our columns, a row a run, and what was made of the file in words
Read = Callable[[pl.DataFrame, Wishes, str], Rows]


@dataclass(frozen=True, kw_only=True)
class Format:
    """recognise: whether a file, as text cells under its own names, is written so; read: its runs."""

    recognise: Callable[[pl.DataFrame], bool]
    read: Read


def _is_tidy(cells: pl.DataFrame) -> bool:
    return True


def _read_tidy(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    rows = without_lost(Rows(cells=cells), file_name)
    return rows if wishes.without_loss is None else _without_loss(rows, wishes.without_loss)


def _without_loss(rows: Rows, fate: str) -> Rows:
    """The runs without those that have no final loss; where fate is 'diverged' these diverged."""
    name = next((name for name in ("final_loss", "loss") if name in rows.cells.columns), None)
    if name is None or not rows.cells[name].null_count():
        return rows
    words = f"{counted(rows.cells[name].null_count(), 'run')} without a final loss"
    if fate == "lost":
        return Rows(cells=rows.cells.drop_nulls(name), notes=(*rows.notes, f"left out, lost as asked: {words}"))
    loss = pl.col(name).fill_null("nan")
    return Rows(cells=rows.cells.with_columns(loss), notes=(*rows.notes, f"diverged, as asked: {words}"))


# The first that recognises a file reads it.
FORMATS: dict[str, Format] = {
    **{
        name: Format(recognise=partial(is_of, export), read=partial(read_export, export=export))
        for name, export in EXPORTS.items()
    },
    "tensorboard": Format(recognise=is_tensorboard, read=read_tensorboard),
    "wandb chart": Format(recognise=is_chart, read=read_chart),
    "long": Format(recognise=is_long, read=read_long),
    "lists": Format(recognise=has_lists, read=read_lists),
    "checkpoints": Format(recognise=is_by_step, read=read_checkpoints),
    "tidy": Format(recognise=_is_tidy, read=_read_tidy),
}


def format_of(cells: pl.DataFrame) -> str:
    """The name of the format that text cells are in."""
    return next(name for name, one in FORMATS.items() if one.recognise(cells))


def as_tidy(file: TidyFile, wishes: Wishes) -> TidyFile:
    """The file in our own form, a row a run; `notes` say what was made of it and what was left out.

    Raises UsageError as the format's reader and `with_wishes` do, and for a file of which no run is left.
    """
    name = format_of(file.cells)
    ours = (*KNOWN_COLUMNS, *ALIASES)
    there = [column for column in wishes.ignored if column in file.cells.columns]
    first = dataclasses.replace(wishes, ignored=there)
    cells, renamed = _own_names(with_wishes(file.cells, first, file.file_name, ours), ours)
    plain = ("long", "lists", "checkpoints", "tidy")
    if name in plain:  # what they have by step may be ignored, or read as something else
        name = next(one for one in plain if FORMATS[one].recognise(cells))
    last = Rows(cells=cells, notes=renamed)
    if wishes.last_of is not None:
        last = last_of(cells, wishes.last_of, file.file_name)
        last = dataclasses.replace(last, notes=(*renamed, *last.notes))
        if name in ("checkpoints", "tidy"):
            name = "tidy"
            counted = {wishes.last_of, step_column(cells.columns)} - {*ours, *wishes.settings}
            last = dataclasses.replace(
                last, cells=last.cells.drop([one for one in last.cells.columns if one in counted])
            )
    rows = FORMATS[name].read(last.cells, first, file.file_name)
    read, notes = rows.cells, (*last.notes, *rows.notes)
    traces = last.traces if read.height == last.cells.height and rows.traces.is_empty() else rows.traces
    for column in wishes.ignored:
        if column not in file.cells.columns and column not in read.columns:
            raise UsageError(
                f"{file.file_name}: no column {column!r} to ignore; it has {', '.join(file.cells.columns)}"
            )
    asked = (*wishes.columns, *wishes.constants)  # a column of theirs that is ignored may leave its name to ours
    read = read.drop([column for column in wishes.ignored if column in read.columns and column not in asked])
    if read.is_empty():
        raise UsageError(f"{file.file_name}: no finished run is left; {'; '.join(notes)}")
    before = read
    if wishes.loss == "validation":
        read, notes = _with_held_out_alone(read, notes)
    if wishes.ignored:
        notes = (*notes, f"ignored, as asked: {', '.join(wishes.ignored)}")
    if wishes.run_names is not None and name not in ("tensorboard", "wandb chart", "long"):
        notes = (*notes, f"--run-names has no effect: read as {name}, whose runs have no names")
    return dataclasses.replace(
        file, cells=read, notes=(*file.notes, *notes), traces=traces, is_held_out_alone=read is not before
    )


def _own_names(cells: pl.DataFrame, ours: Collection[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The cells with 'Final Loss' or 'LR' called as we call them, where no other column is, and that in words."""
    renamed: dict[str, str] = {}
    for name in cells.columns:
        plain = plain_name(name)
        if not is_extreme(name) and plain in ours and plain not in (*cells.columns, *renamed.values()):
            renamed[name] = plain
    if "steps" in cells.columns and step_column(cells.columns) is None and _repeats(cells):
        renamed["steps"] = "step"
    words = ", ".join(f"{plain} from {name!r}" for name, plain in renamed.items())
    return cells.rename(renamed), (f"columns: {words}",) if words else ()


def _repeats(cells: pl.DataFrame) -> bool:
    """Whether runs have several rows, or lists, so that their `steps` count and are no number of all."""
    telling = [name for name in cells.columns if name in TELLING]
    return has_lists(cells.select("steps")) or (bool(telling) and bool(cells.select(telling).is_duplicated().any()))


def _with_held_out_alone(cells: pl.DataFrame, notes: tuple[str, ...]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The cells with the held-out loss where there is no training loss, which is asked for in no score then."""
    ours = [ALIASES.get(name, name) for name in cells.columns]
    there = {"final_loss": "val_loss", "initial_loss": "initial_val_loss"}
    added = {name: theirs for name, theirs in there.items() if name not in ours and theirs in ours}
    if "final_loss" not in added:
        return cells, notes
    words = " and ".join(f"{theirs} stands for {name}" for name, theirs in added.items())
    return cells.with_columns(**{name: pl.col(theirs) for name, theirs in added.items()}), (
        *notes, f"no training loss: {words}"
    )  # fmt: skip
