"""Losses by step as a row a run and a trace, of tables with a row a checkpoint.

A run's loss at step 0 is that at init, its last is the final one, and one that is not finite is a divergence. A run
that ends before the others with a finite loss, although it would have been due to log again, was cut short: it is lost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.text import counted
from bench.errors import UsageError
from bench.held_out import COMPUTED, HELD_OUT, INITIAL
from bench.imports.names import EPOCHS, STEPS, SYNONYMS, likely_columns, plain_name
from bench.imports.states import end_columns, without_lost
from bench.imports.tidy_file import TRACE_ROWS, Rows
from bench.imports.wishes import Wishes
from bench.trace import WHOLE_MODEL
from bench.trial import KINDS, KNOB_NAMES

MAX_VALUES = 2_000_000  # of all lists of a file

_MEASURED = {"loss": "final_loss", **{name: name for name in HELD_OUT if name in COMPUTED}}  # column by quantity
_CARRIED = (*INITIAL, "initial_loss", "least_val_loss", "least_val_loss_step", "wall_s", "outcome", "diverged_step",
            "source")  # fmt: skip
TELLING = (*KINDS, *KNOB_NAMES, "seed", "num_steps", "knobs")
_AT_INIT = {"loss": "initial_loss", **{name: one.initial for name, one in HELD_OUT.items() if one.initial}}
_MAX_STEP = 2**31  # of a trace


@dataclass(kw_only=True)
class _Run:
    """A run as its rows leave it. end: its last step; gap: the longest way between two rows."""

    cells: dict[str, str | None]
    end: float
    gap: float
    is_diverged: bool
    points: list[tuple[int, str, float]]  # step, quantity, value
    words: str


def step_column(names: Sequence[str]) -> str | None:
    """The column that counts steps; None if there is none."""
    by_name = {plain_name(name): name for name in reversed(names)}
    return next((by_name[name] for name in STEPS if name in by_name), None)


def is_by_step(cells: pl.DataFrame) -> bool:
    """Whether a row is a checkpoint: a column counts steps, and no other column of ours is one."""
    return step_column(cells.columns) is not None


def read_checkpoints(cells: pl.DataFrame, wishes: Wishes, file_name: str) -> Rows:
    """A row a run of a table with a row a checkpoint, and in words what was made of them.

    Whatever is known and no measure tells runs apart, and the columns of `wishes.settings`. Raises UsageError for a
    step that is no number and for two checkpoints of one run and step.
    """
    step = step_column(cells.columns)
    assert step is not None
    likely = _likely(cells, step)
    rows = cells.rename({theirs: ours for ours, theirs in likely.items()})
    names = [name for name in rows.columns if name in TELLING or name in wishes.settings]
    if not names or not {"final_loss", "val_loss"} & set(rows.columns):
        return Rows(cells=rows.drop(step), notes=(f"read as a row a checkpoint, by {step!r}",))
    _refuse_schedule(rows, names, step, file_name)
    wanted = (step, *names, *_MEASURED.values(), *_CARRIED, *end_columns(rows))
    kept = [name for name in rows.columns if name in wanted]
    unused = [name for name in rows.columns if name not in kept]
    read = one_row_a_run(rows.select(kept), names, step, file_name, unused)
    num_runs = counted(rows.select(names).n_unique(), "run")
    notes = [
        f"read as a row a checkpoint: {counted(rows.height, 'row')} of {num_runs}, told apart by "
        f"{', '.join(names)}; the last loss of each is final{_of_init(step)}"
    ]
    if unused:
        notes.append(f"columns left out: {len(unused)} that tell no runs apart ({', '.join(unused)})")
    if moved := ", ".join(f"{ours} from {theirs}" for ours, theirs in likely.items() if ours != theirs):
        notes.append(f"columns: {moved}")
    ended = Rows(cells=read.cells.drop(step), notes=(*notes, *read.notes), traces=read.traces)
    return without_lost(ended, file_name)


def _of_init(step: str) -> str:
    """In words, what the loss at step 0 is taken as."""
    if plain_name(step) in EPOCHS:
        return f"; that at {step} 0 may be of after the first, so none is the one at init"
    return f", that at {step} 0 the one at init"


def _refuse_schedule(rows: pl.DataFrame, names: Sequence[str], step: str, file_name: str) -> None:
    """Raises UsageError where no two learning rates of otherwise equal runs share a step, as a schedule's values."""
    rows = rows.filter(pl.col(name).is_not_null() for name in names)
    if 2 * rows.select(names).n_unique() > rows.height > 2 and rows[step].n_unique() > 2:
        raise UsageError(
            f"{file_name}: runs, told apart by {', '.join(names)}, have one row each, at {rows[step].n_unique()} "
            f"values of {step}; required several, without what changes within a run (--ignore lr, if it is the rate of "
            f"a schedule, and --map lr=COLUMN), or --ignore {step} where a row is a run"
        )
    others = [name for name in names if name != "lr"]
    if "lr" not in names or rows["lr"].n_unique() == 1:
        return
    has_several = rows.select(names).n_unique() > (rows.select(others).n_unique() if others else 1)
    if has_several and not rows.select(*others, step).is_duplicated().any():
        raise UsageError(
            f"{file_name}: column 'lr' changes from {step} to {step} within runs, as the rate of a schedule does; "
            "required the one that a run was given: --ignore lr, and --map lr=COLUMN or --set lr=VALUE"
        )


def last_of(cells: pl.DataFrame, run: str, file_name: str) -> Rows:
    """The last row of each run, of a table with several; `run` tells them apart. Raises UsageError without it."""
    if run not in cells.columns:
        raise UsageError(f"{file_name}: no column {run!r} that tells runs apart; it has {', '.join(cells.columns)}")
    step = step_column([name for name in cells.columns if name != run])
    read = one_row_a_run(cells, [run], step, file_name)
    by = f"by {step!r}" if step else "in the file's order"
    runs = counted(cells[run].n_unique(), "run")
    note = f"{counted(cells.height, 'row')} of {runs}, told apart by {run}; the last of each, {by}, is final"
    return Rows(cells=read.cells, notes=(note, *read.notes), traces=read.traces)


def one_row_a_run(
    rows: pl.DataFrame, run: Sequence[str], step: str | None, file_name: str, unused: Sequence[str] = ()
) -> Rows:
    """The last row of each run, told apart by columns `run`, with its losses by step; runs cut short are left out.

    step: the column that counts them; None: rows are in order, and give no traces. unused: further columns of the file.
    Raises UsageError as `read_checkpoints` does.
    """
    columns = {ours: theirs for ours, theirs in _likely(rows, step).items() if ours in _MEASURED.values()}
    columns |= {name: name for name in _MEASURED.values() if name in rows.columns}
    measured = {quantity: columns[ours] for quantity, ours in _MEASURED.items() if ours in columns}
    if step is not None:
        rows = rows.with_columns(_steps(rows[step], file_name))
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        groups.setdefault(tuple(row[name] for name in run), []).append(row)
    runs = [_ended(group, run, step, measured, file_name, unused) for group in groups.values()]
    lengths = [tuple(one.cells.get(name) for name in ("workload", "num_steps")) for one in runs]
    most_of = {of: max(one.end for one, length in zip(runs, lengths, strict=True) if length == of) for of in {*lengths}}
    most = [most_of[length] for length in lengths]
    gap = max(one.gap for one in runs)
    is_cut = [
        not one.is_diverged and one.end < end and one.end + (one.gap or gap) <= end
        for one, end in zip(runs, most, strict=True)
    ]
    whole = [one for one, cut in zip(runs, is_cut, strict=True) if not cut]
    short = [f"{one.words} of {end:g}" for one, cut, end in zip(runs, is_cut, most, strict=True) if cut]
    more = f"; and {len(short) - 8} more" if len(short) > 8 else ""
    schema = dict.fromkeys([*rows.columns, *(name for one in whole for name in one.cells)], pl.String)
    has_several = any(len(group) > 1 for group in groups.values())  # else a row is a run, and no curve
    points = [
        (row, at, quantity, WHOLE_MODEL, value)
        for row, one in enumerate(whole if has_several else ())
        for at, quantity, value in one.points
    ]
    return Rows(
        cells=pl.DataFrame([one.cells for one in whole], schema=schema),
        notes=(f"left out, cut short and lost: {len(short)} ({'; '.join(short[:8])}{more})",) if short else (),
        traces=pl.DataFrame(points, schema=TRACE_ROWS, orient="row"),
    )


def _ended(
    group: list[dict[str, Any]],
    run: Sequence[str],
    step: str | None,
    measured: Mapping[str, str],
    file_name: str,
    unused: Sequence[str],
) -> _Run:
    """A run by its rows, which end at its first loss that is not finite, or else at its last loss."""
    words = ", ".join(f"{name} {group[0][name]}" for name in run)
    if step is None:
        steps = [float(place) for place in range(len(group))]
    else:
        group = _merged(sorted(group, key=lambda row: row[step]), step)
        steps = [row[step] for row in group]
        if len(set(steps)) < len(steps):
            raise UsageError(
                f"{file_name}: two checkpoints of {words} at one {step}; required a column that tells runs apart, by "
                f"--map method=COLUMN or --setting COLUMN{f', one of {names}' if (names := ', '.join(unused)) else ''}"
            )
    loss = next(iter(measured.values()), None)
    # Text that is no number counts as a loss here: it is named, with its row, where cells are checked.
    losses = [0.0 if loss is None else row[loss] and (number(row[loss]) or 0.0) for row in group]
    bad = next((place for place, one in enumerate(losses) if one is not None and not math.isfinite(one)), None)
    last = max((place for place, one in enumerate(losses) if one is not None), default=0) if bad is None else bad
    cells = {name: next((row[name] for row in group[last::-1] if row[name] is not None), None) for name in group[0]}
    for name in measured.values():  # Lightning's logger has held-out losses in rows of their own, a step later
        after = group[last:] if bad is None else group[last : last + 1]
        cells[name] = next((row[name] for row in after if row[name] is not None), None)
    if step is not None:
        cells[step] = f"{steps[last]:g}"
        cells |= _at_init(group, steps, measured, step)
        if bad is not None and steps[bad].is_integer() and cells.get("diverged_step") is None:
            cells["diverged_step"] = str(int(steps[bad]))
    is_counted = step is not None and all(at.is_integer() and 0 <= at < _MAX_STEP for at in steps)
    points = [
        (int(at), quantity, value)
        for at, row in zip(steps[: last + 1 if bad is not None else None], group, strict=False)
        for quantity, column in measured.items()
        if is_counted and (value := number(row[column])) is not None
    ]
    gap = max((b - a for a, b in itertools.pairwise(steps)), default=0.0)
    where = f"{words}: ends at {step or 'row'} {steps[last]:g}"
    return _Run(cells=cells, end=steps[last] if step else 0.0, gap=gap, is_diverged=bad is not None, points=points,
                words=where)  # fmt: skip


def _merged(group: list[dict[str, Any]], step: str) -> list[dict[str, Any]]:
    """Rows by step, of which those of one step that fill each other's gaps are one, as Lightning's logger has them."""
    merged: list[dict[str, Any]] = []
    for row in group:
        last = merged[-1] if merged and merged[-1][step] == row[step] else None
        shared = [] if last is None else [name for name in row if None not in (row[name], last[name])]
        fills = last is not None and {name for name in row if row[name] is None} != {
            name for name in row if last[name] is None
        }
        if last is not None and fills and all(row[name] == last[name] for name in shared):
            merged[-1] = {name: row[name] if last[name] is None else last[name] for name in row}
        else:
            merged.append(row)
    return merged


def _at_init(group: list[dict[str, Any]], steps: list[float], measured: Mapping[str, str], step: str) -> dict[str, Any]:
    """What was measured at step 0, by the names of its columns, where none is there already."""
    if steps[0] != 0 or len(steps) == 1 or plain_name(step) in EPOCHS:
        return {}
    named = {_AT_INIT[quantity]: column for quantity, column in measured.items() if quantity in _AT_INIT}
    return {name: group[0][column] for name, column in named.items() if name not in group[0]}


def _likely(cells: pl.DataFrame, step: str | None) -> dict[str, str]:
    """What columns may be of ours that are not there; at a checkpoint the last loss is final, whatever its name.

    Of several losses that which most checkpoints have: Hugging Face's trainer ends with its mean, as `train_loss`.
    """
    wanted = [ours for ours in SYNONYMS if ours not in cells.columns]
    names = [name for name in cells.columns if name != step]
    likely = likely_columns(names, wanted)
    for ours in ("final_loss", "val_loss"):
        if ours in likely:
            same = [name for name in names if plain_name(name) in SYNONYMS[ours] and name not in likely.values()]
            likely[ours] = max([likely[ours], *same], key=lambda name: cells[name].count())
    return likely


def _steps(texts: pl.Series, file_name: str) -> pl.Series:
    """The steps as numbers. Raises UsageError for the first that is none."""
    steps = texts.cast(pl.Float64, strict=False)
    wrong = (~steps.is_finite()).fill_null(True)
    if wrong.any():
        row = wrong.to_list().index(True) + 1
        raise UsageError(
            f"{file_name}: row {row}, column {texts.name!r}: required a number, the step of the checkpoint"
        )
    return steps


def number(text: str | None) -> float | None:
    """The number that a cell says; None for none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
