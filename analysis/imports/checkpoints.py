"""Losses by step as a row a run: tables with a row a checkpoint, and charts with a column a run.

A run's loss at step 0 is that at init, its last is the final one, and one that is not finite is a divergence. A run
that ends before the others with a finite loss, although it would have been due to log again, was cut short: it is lost.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.imports.names import STEPS, SYNONYMS, likely_columns
from analysis.imports.wishes import Wishes
from bench.errors import UsageError
from bench.held_out import INITIAL
from bench.trial import KINDS, KNOB_NAMES

_CHART_COLUMN = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?")
_MEASURED = ("final_loss", "val_loss", "val_accuracy")
_CARRIED = (*INITIAL, "initial_loss", "least_val_loss", "least_val_loss_step", "val_calibration_error", "wall_s",
            "outcome", "diverged_step", "source")  # fmt: skip
_TELLING = (*KINDS, *KNOB_NAMES, "seed", "num_steps", "knobs")
_AT_INIT = {"final_loss": "initial_loss", "val_loss": "initial_val_loss"}
_NUMBER = r"[0-9.eE+-]+"


def step_column(names: Sequence[str]) -> str | None:
    """The column that counts steps; None if there is none."""
    return next((name for name in names if name.lower() in STEPS), None)


def is_by_step(cells: pl.DataFrame) -> bool:
    """Whether a row is a checkpoint: a column counts steps, and no other column of ours is one."""
    return step_column(cells.columns) is not None


def is_chart(cells: pl.DataFrame) -> bool:
    """Whether it is a chart of Weights & Biases: a step, then '<run> - <metric>', and the same with __MIN and __MAX."""
    others = [name for name in cells.columns if name not in ("Step", "Relative Time (Process)", "Wall Time")]
    return len(others) < len(cells.columns) and bool(others) and all(map(_CHART_COLUMN.fullmatch, others))


def read_chart(cells: pl.DataFrame, wishes: Wishes, shown: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A row a run of a chart export. Raises UsageError without a pattern for the names of runs, or with a wrong one."""
    step = cells.columns[0]
    columns = {name: match for name in cells.columns[1:] if (match := _CHART_COLUMN.fullmatch(name))}
    metrics = sorted({match["metric"] for match in columns.values()})
    if len(metrics) > 1:
        raise UsageError(f"{shown}: a chart export of {', '.join(metrics)}; required one measure a file, a loss")
    runs = {name: match["run"] for name, match in columns.items() if not match["bound"]}
    what = f"a chart export of Weights & Biases, a row a step and a column for each of {len(runs)} runs"
    if wishes.run_names is None:
        raise UsageError(
            f"{shown}: {what}; required the export of the runs table instead, or what a run's name says, such as "
            f"--run-names '{{method}}-lr{{lr}}-s{{seed}}' for {next(iter(runs.values()))!r}"
        )
    said = {name: _parts(run, wishes.run_names, shown) for name, run in runs.items()}
    frames = [
        cells.select(step=step, final_loss=name).with_columns(
            pl.lit(value).alias(key) for key, value in said[name].items()
        )
        for name in runs
    ]
    rows, notes = read_checkpoints(pl.concat(frames), wishes, shown)
    return rows, (f"read as {what}; its {len(columns) - len(runs)} columns __MIN and __MAX are no runs", *notes[1:])


def read_checkpoints(cells: pl.DataFrame, wishes: Wishes, shown: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A row a run of a table with a row a checkpoint, and in words what was made of them.

    Whatever is known and no measure tells runs apart, and the columns of `wishes.settings`. Raises UsageError for a
    step that is no number and for two checkpoints of one run and step.
    """
    step = step_column(cells.columns)
    assert step is not None
    wanted = [ours for ours in SYNONYMS if ours not in cells.columns]
    likely = likely_columns([name for name in cells.columns if name != step], wanted)
    rows = cells.rename({theirs: ours for ours, theirs in likely.items()})
    names = [name for name in rows.columns if name in _TELLING or name in wishes.settings]
    if "final_loss" not in rows.columns or not names:
        return rows.drop(step), (f"read as a row a checkpoint, by {step!r}",)
    rows = rows.with_columns(_steps(rows[step], shown))
    measured = [name for name in _MEASURED if name in rows.columns]
    carried = [name for name in rows.columns if name in _CARRIED]
    groups = rows.group_by(names, maintain_order=True)
    runs = [_ends(group.sort(step), step, measured, carried, names, shown) for _, group in groups]
    whole, cut = _told_apart(runs)
    frame = pl.DataFrame([run["cells"] for run in whole], schema=_schema(whole, names)) if whole else rows.head(0)
    notes = [
        f"read as a row a checkpoint: {rows.height} rows of {len(runs)} runs, told apart by {', '.join(names)}; the "
        f"last loss of each is final, that at {step} 0 the one at init"
    ]
    if unused := [name for name in rows.columns if name not in (step, *measured, *carried, *names)]:
        notes.append(f"columns left out: {len(unused)} that tell no runs apart ({', '.join(unused)})")
    if moved := ", ".join(f"{ours} from {theirs}" for ours, theirs in likely.items() if ours != theirs):
        notes.append(f"columns: {moved}")
    if cut:
        notes.append(f"left out, cut short and lost: {len(cut)} ({'; '.join(run['words'] for run in cut[:8])})")
    return frame, tuple(notes)


def _steps(texts: pl.Series, shown: str) -> pl.Series:
    """The steps as numbers. Raises UsageError for the first that is none."""
    steps = texts.cast(pl.Float64, strict=False)
    wrong = (~steps.is_finite()).fill_null(True)
    if wrong.any():
        row = wrong.to_list().index(True) + 1
        raise UsageError(f"{shown}: row {row}, column {texts.name!r}: required a number, the step of the checkpoint")
    return steps


def _ends(
    group: pl.DataFrame, step: str, measured: Sequence[str], carried: Sequence[str], names: Sequence[str], shown: str
) -> dict[str, Any]:
    """The end of one run: its cells, its last step, whether it diverged, the longest way between its checkpoints."""
    told = {name: group[name][0] for name in names}
    steps = group[step].to_list()
    words = ", ".join(f"{name} {value}" for name, value in told.items())
    if len(set(steps)) < len(steps):
        raise UsageError(
            f"{shown}: two checkpoints of {words} at one {step}; required a column that tells runs apart (--setting)"
        )
    cells: dict[str, Any] = told | {name: group[name].drop_nulls().last() for name in carried}
    texts = group["final_loss"].to_list()
    losses = [None if text is None else _number(text) for text in texts]
    present = [place for place, loss in enumerate(losses) if loss is not None]
    bad = next((place for place in present if not math.isfinite(losses[place] or 0.0)), None)
    last = bad if bad is not None else present[-1] if present else 0
    for name in measured:
        cells[name] = group[name][last]
        if name in _AT_INIT and steps[0] == 0 and len(steps) > 1:
            cells[_AT_INIT[name]] = group[name][0]
    if bad is not None and steps[bad].is_integer():
        cells["diverged_step"] = str(int(steps[bad]))
    gaps = [b - a for a, b in itertools.pairwise(steps)]
    end = steps[last] if present else steps[0]
    return {"cells": cells, "end": end, "diverged": bad is not None, "gap": max(gaps, default=0.0),
            "words": f"{words}: ends at {step} {end:g}"}  # fmt: skip


def _told_apart(runs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Whole runs, and those that were cut short."""
    most = max((run["end"] for run in runs), default=0.0)
    gap = max((run["gap"] for run in runs), default=0.0)
    is_cut = [not run["diverged"] and run["end"] < most and run["end"] + (run["gap"] or gap) <= most for run in runs]
    whole = [run for run, cut in zip(runs, is_cut, strict=True) if not cut]
    short = [{**run, "words": f"{run['words']} of {most:g}"} for run, cut in zip(runs, is_cut, strict=True) if cut]
    return whole, short


def _schema(runs: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    keys = [*names, *(key for run in runs for key in run["cells"])]
    return dict.fromkeys(keys, pl.String)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # text that is no number is named, with its row, where cells are checked


def _parts(run: str, pattern: str, shown: str) -> dict[str, str]:
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
        raise UsageError(f"{shown}: the run {run!r} is not named as --run-names {pattern!r} says")
    return match.groupdict()
