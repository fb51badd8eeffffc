"""Values by name, a row a value: tag and value of TensorBoard's readers, key and value of MLflow's histories."""

from __future__ import annotations

import polars as pl

from bench.errors import UsageError
from bench.imports.charts import RUN, read_tensorboard
from bench.imports.checkpoints import read_checkpoints, step_column
from bench.imports.names import plain_name
from bench.imports.tidy_file import Rows
from bench.imports.wishes import Wishes

_TAGS = ("tag", "metric", "metric_name", "key", "variable")
_RUNS = (RUN, "run_id", "run_name", "run_uuid", "dir_name")
_TIMES = ("timestamp", "wall_time", "walltime", "time")


def is_long(cells: pl.DataFrame) -> bool:
    """Whether a row is a value: a step, a column with the value, and one with what is measured."""
    return step_column(cells.columns) is not None and _of(cells, ("value",)) != "" and _of(cells, _TAGS) != ""


def read_long(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    """A row a run of a table with a row a value. Raises UsageError for two values of one name, run and step."""
    step, tag, value, run = step_column(cells.columns), _of(cells, _TAGS), _of(cells, ("value",)), _of(cells, _RUNS)
    assert step is not None
    others = [name for name in cells.columns if name not in (tag, value) and plain_name(name) not in _TIMES]
    where = cells.select(*others, tag)
    if where.is_duplicated().any():
        row = where.is_duplicated().to_list().index(True) + 1
        raise UsageError(
            f"{file_name}: row {row}: another row has the same {', '.join((*others, tag))}; required one of them"
        )
    tags = cells[tag].drop_nulls().unique(maintain_order=True).to_list()
    if clash := next((one for one in tags if one in others), None):
        raise UsageError(
            f"{file_name}: {clash!r} is a column and in column {tag!r}; required another name of one of them"
        )
    wide = cells.drop_nulls(tag).pivot(on=tag, index=others, values=value)
    note = f"read as a row a value, named by {tag!r}: {', '.join(tags)}"
    if not run:
        read = read_checkpoints(wide, wishes, file_name)
        return Rows(cells=read.cells, notes=(note, *read.notes), traces=read.traces)
    named = wide.rename({run: RUN, step: "step"})
    read = read_tensorboard(named.select(RUN, "step", pl.exclude(RUN, "step")), wishes, file_name)
    return Rows(cells=read.cells, notes=(note, *read.notes[1:]), traces=read.traces)


def _of(cells: pl.DataFrame, names: tuple[str, ...]) -> str:
    """The first column that is called one of `names`; "" if there is none."""
    return next((name for name in cells.columns if plain_name(name) in names), "")
