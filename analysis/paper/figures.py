"""The figures of a paper bundle: all that a report of the same suite draws, none wider or taller than a page holds."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from analysis.figures.of_a_suite import Drawn, curve_figures, diverged_figures
from analysis.figures.style.columns import COLUMN_INCHES, PAGE_INCHES, POINTS_PER_INCH, save_at_width
from analysis.labels import NO_LABELS, Names
from analysis.report.section import Section
from analysis.subject import Subject
from analysis.tables.forms.csv_text import csv_text
from bench.files import write_file
from bench.lazy import altair as alt

# Kinds of figures that one column has room for; all others are as wide as the page.
COLUMN_KINDS: frozenset[str] = frozenset({"loss_against_lr", "val_loss_against_lr"})
# What the parts of a figure of these kinds are of, by its column; of all others methods.
PARTS: dict[str, str] = {"optimizer_matrix": "optimizer", "warnings_roc": "detector", "warnings_lead": "detector"}

MOST_INCHES = 7.5  # in height, of a page of 9: the rest is for captions

_PIXELS_PER_INCH = POINTS_PER_INCH * 11 / 7  # where text of 11 pixels is 7 pt
_TOLERANCE = 1.15  # of widths: text of 6 pt is small, and no reason for a further figure


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A figure in a bundle: the files' name without suffix, and what it shows."""

    name: str
    inches: float
    drawn: Drawn


def bundle_figures(subject: Subject, sections: Iterable[Section]) -> Iterator[Drawn]:
    """What a report of the subject with these sections draws, in its order."""
    yield from curve_figures(subject)
    yield from diverged_figures(subject.results)
    for part in sections:
        yield from part.figures


def save_figures(
    figures: Iterable[Drawn], folder: Path, *, font: str = "sans", names: Names = NO_LABELS.plain
) -> list[Saved]:
    """Makes the folder and writes each figure as PDF and SVG, with what it draws as CSV.

    font: of analysis.figures.style.fonts. names: what figures call methods and workloads.

    What is too tall for a page, or so wide that its text would be tiny, becomes several figures.
    """
    folder.mkdir()
    saved: list[Saved] = []
    for drawn in figures:
        inches = COLUMN_INCHES if drawn.kind in COLUMN_KINDS else PAGE_INCHES
        save = partial(save_at_width, folder=folder, inches=inches, font=font, names=names)
        saved += _save(drawn, folder, inches, save, {one.name for one in saved})
    return saved


def _save(drawn: Drawn, folder: Path, inches: float, save: Callable[..., object], used: set[str]) -> list[Saved]:
    """The figure in as few parts as fit; the first, which has most to show, is laid out to see."""
    size = max(1, len(_names(drawn)))
    while True:
        parts = _parts(drawn, size)
        first = _write(parts[0], folder, inches, save, used)
        excess = _excess((folder / f"{first.name}.svg").read_text(encoding="utf-8"), inches)
        if excess <= 1 or size == 1 or not _has_parts(drawn):
            break
        size = max(1, min(size - 1, math.floor(size / excess)))
    saved = [first]
    for part in parts[1:]:
        saved.append(_write(part, folder, inches, save, used | {one.name for one in saved}))
    return saved


def _write(drawn: Drawn, folder: Path, inches: float, save: Callable[..., object], used: set[str]) -> Saved:
    name = _unused_name(drawn.kind, used)
    save(drawn.chart, name=name)
    write_file(folder / f"{name}.csv", csv_text(drawn.summary))
    return Saved(name=name, inches=inches, drawn=drawn)


def _unused_name(kind: str, used: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "_", kind)  # of a knob such as workload.width
    name, number = stem, 2
    while name in used:
        name, number = f"{stem}-{number}", number + 1
    return name


def _excess(svg: str, inches: float) -> float:
    """How many times too tall for the page the figure is, or too wide for text that can be read; 1 or less: neither."""
    height = float(_first_match(r'height="([\d.]+)pt"', svg)) / POINTS_PER_INCH
    pixels = float(_first_match(r'viewBox="0 0 ([\d.]+) ', svg))
    return max(height / MOST_INCHES, pixels / (inches * _PIXELS_PER_INCH) / _TOLERANCE)


def _first_match(pattern: str, svg: str) -> str:
    match = re.search(pattern, svg)
    assert match is not None
    return match[1]


def _column(drawn: Drawn) -> str:
    return PARTS.get(drawn.kind, "method")


def _names(drawn: Drawn) -> list[str]:
    """What its parts would be of; none of a figure that is of one thing alone."""
    column = _column(drawn)
    return drawn.summary[column].unique().sort().to_list() if column in drawn.summary.columns else []


def _parts(drawn: Drawn, most: int) -> list[Drawn]:
    """The figure in parts of alike size, of at most so many methods (or optimizers) each."""
    names = _names(drawn)
    num_parts = math.ceil(len(names) / most)
    size = math.ceil(len(names) / max(num_parts, 1))
    return (
        [drawn]
        if num_parts < 2
        else [
            dataclasses.replace(
                drawn,
                title=f"{drawn.title}, part {start // size + 1} of {num_parts}",
                draw=partial(_part, drawn, names[start : start + size]),
                summary=drawn.summary.filter(pl.col(_column(drawn)).is_in(names[start : start + size])),
            )
            for start in range(0, len(names), size)
        ]
    )


def _has_parts(drawn: Drawn) -> bool:
    """Whether it has a panel for each name in their order, or one frame with a row for each at the least."""
    if isinstance(drawn.chart, alt.ConcatChart):
        return len(drawn.chart.concat) == len(_names(drawn))
    data: Any = drawn.chart.data
    return isinstance(data, pl.DataFrame) and _column(drawn) in data.columns


def _part(drawn: Drawn, chosen: list[str]) -> Any:
    chart: Any = drawn.chart
    if isinstance(chart, alt.ConcatChart):
        return _with(chart, concat=[chart.concat[_names(drawn).index(name)] for name in chosen])
    return _with(chart, data=chart.data.filter(pl.col(_column(drawn)).is_in(chosen)))


def _with(chart: Any, **fields: Any) -> Any:
    printed = chart.copy(deep=False)
    for name, value in fields.items():
        printed[name] = value
    return printed
