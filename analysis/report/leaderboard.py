"""The leaderboard of the page: a table a workload with each entry's curve and interval drawn."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.figures.sparklines import interval_axis, spark_plot, sparkline, whisker
from analysis.scores.guards import FLAGS
from analysis.tables.leaderboard import COLUMN_TITLES, Line, board_sections, flag_notes, reading_note, word_of
from analysis.text import breakable

# The drawn cells come after the cell of this column.
_DRAWN_AFTER = "interval"
_LEFT = ("method", "optimizer", "knobs", "flags", "drawn", "curve")
_BOLD = ("method", "lr_sensitivity")
_CURVE_NOTE = (
    "Curves: final loss against learning rate on axes shared within the workload, clipped at the loss at init "
    "(dashed); line: mean over seeds; band: least to largest seed; green dot: best learning rate; orange cross: at "
    "least one seed diverged."
)


def board_html(board: pl.DataFrame, summary: pl.DataFrame) -> str:
    """A table for each workload and how to read it; every name escaped.

    `summary` is the frame of `loss_summary` of the results and the loss behind the leaderboard.
    """
    names, sections = board_sections(board)
    parts = []
    for section in sections:
        entries = board.filter(workload=section.workload)
        curves = summary.filter(workload=section.workload)
        rows = _rows(entries, section.lines, names, curves)
        parts.append(
            f"<h3>{breakable(section.workload)}</h3>\n"
            f'<div class="scroll"><table class="board" role="table">\n<thead role="rowgroup">{_head(names, entries)}'
            f'</thead>\n<tbody role="rowgroup">\n{rows}\n</tbody></table></div>'
        )
    parts.append(f'<p class="note">{html.escape(f"{reading_note(board)} {_CURVE_NOTE}")}</p>')
    return "\n".join(parts) + "\n"


def flags_html(board: pl.DataFrame, more: Mapping[str, str]) -> str:
    """Every flag that occurs, in words; `more` are those of other sections (word: meaning). Empty without any."""
    notes = {**dict(flag_notes(board)), **more}
    ids = {word_of(flag): flag for flag in FLAGS}
    terms = [
        f'<dt id="flag-{ids[word]}">{word}</dt><dd>{html.escape(text)}</dd>' for word, text in sorted(notes.items())
    ]
    return f"<dl>{''.join(terms)}</dl>\n" if terms else ""


def _head(names: list[str], entries: pl.DataFrame) -> str:
    cells = []
    for name in names:
        cells.append(_header(name, html.escape(COLUMN_TITLES[name])))
        if name == _DRAWN_AFTER:
            low, high = _axis(entries)
            ends = f'<span class="ends"><span>{low:.2g}</span><span>{high:.2g}</span></span>'
            cells += [_header("drawn", f"Interval drawn{ends}"), _header("curve", "Loss against lr")]
    return f'<tr role="row">{"".join(cells)}</tr>'


def _header(name: str, inner: str) -> str:
    return f'<th scope="col" role="columnheader" class="{_align(name)} {name}">{inner}</th>'


def _rows(entries: pl.DataFrame, lines: tuple[Line, ...], names: list[str], curves: pl.DataFrame) -> str:
    plot, axis = spark_plot(curves), _axis(entries)
    by_entry = curves.partition_by("method", "optimizer", "knobs", as_dict=True)
    rows = []
    for entry, line in zip(entries.iter_rows(named=True), lines, strict=True):
        of_entry = by_entry[entry["method"], entry["optimizer"], entry["knobs"]]
        drawn = whisker(entry["lr_sensitivity"], entry["ci_low"], entry["ci_high"], axis)
        curve = sparkline(of_entry, plot, best_lr=entry["best_lr"])
        cells = []
        for name, text in zip(names, line.cells, strict=True):
            cells.append(_cell(name, text, entry, is_bold=line.is_best and name in _BOLD))
            if name == _DRAWN_AFTER:
                cells += [_data("drawn", "Interval drawn", drawn), _data("curve", "Loss against lr", curve)]
        rows.append(f'<tr role="row">{"".join(cells)}</tr>')
    return "\n".join(rows)


def _cell(name: str, text: str, entry: Mapping[str, Any], *, is_bold: bool) -> str:
    inner = _flag_links(entry["flags"]) if name == "flags" else breakable(text)
    if is_bold:
        inner = f"<strong>{inner}</strong>"
    if name == "method":
        return f'<th scope="row" role="rowheader" class="l method">{inner}</th>'
    return _data(name, COLUMN_TITLES[name], inner)


def _data(name: str, title: str, inner: str) -> str:
    return f'<td role="cell" class="{_align(name)} {name}" data-title="{html.escape(title)}">{inner}</td>'


def _flag_links(flags: str) -> str:
    return ", ".join(_flag_link(word) for word in flags.split(",") if word)


def _flag_link(word: str) -> str:
    """The flag in words, with a link to what it means."""
    if word not in FLAGS:
        return html.escape(word_of(word))
    return f'<a href="#flag-{word}" title="{html.escape(FLAGS[word])}">{word_of(word)}</a>'


def _axis(entries: pl.DataFrame) -> tuple[float, float]:
    ends = [*entries["ci_low"].drop_nulls(), *entries["ci_high"].drop_nulls()]
    return interval_axis(entries["lr_sensitivity"].to_list(), ends)


def _align(name: str) -> str:
    return "l" if name in _LEFT else "r"
