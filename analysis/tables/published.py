"""Our scores beside published ones, in five formats."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from analysis.across.comparison import rank_correlations, unranked
from analysis.curves import label_of
from analysis.labels import Labels
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.frames import plain_json
from analysis.tables.forms.html import group_html
from analysis.tables.forms.latex import NEEDS, group_latex
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.rows import fixed, scored, table_of, text
from analysis.tables.forms.table import Group, Table
from analysis.text import number

COMPARISON_FORMATS: dict[str, Callable[[pl.DataFrame], str]] = {
    "markdown": lambda compared: group_markdown(comparison(compared)),
    "html": lambda compared: group_html(comparison(compared)),
    "latex": lambda compared: f"{NEEDS}{group_latex(comparison(compared))}",
    "csv": csv_text,
    "json": lambda compared: plain_json(compared.to_dicts()),
}

_DECIMALS = 2


def comparison_text(compared: pl.DataFrame, form: str, labels: Labels) -> str:
    """The comparison in a form of COMPARISON_FORMATS; what people read calls methods and workloads by their labels."""
    return labels.in_form(COMPARISON_FORMATS, form, compared)


def comparison(compared: pl.DataFrame) -> Group:
    """A table a (workload, optimizer, knobs), its rank correlations in the heading. Takes the frame of `compare`."""
    correlations = {row[:3]: row[3:] for row in rank_correlations(compared).iter_rows()}
    groups = compared.group_by("workload", "optimizer", "knobs", maintain_order=True)
    sources = "; ".join(compared["source"].unique().sort())
    left_out = unranked(compared)
    return Group(
        tables=tuple(_table(key, rows, *correlations[key]) for key, rows in groups),
        note=f"Source: {sources}. Ranks by value alone{f'; {left_out}' if left_out else ''}.",
    )


def _table(
    key: tuple[object, ...], rows: pl.DataFrame, spearman: float | None, kendall: float | None, num_methods: int
) -> Table:
    heading = (
        f"{label_of(key)}: rank correlation over {num_methods} methods, Spearman {number(spearman, 2)}, "
        f"Kendall {number(kendall, 2)}"
    )
    return table_of(
        heading,
        rows,
        ("Method", text("method")),
        *scored("Score", "lr_sensitivity", "ci", _DECIMALS),
        ("Rank", fixed("our_rank", 0)),
        ("Paper", fixed("paper_lr_sensitivity", _DECIMALS)),
        ("Paper rank", fixed("paper_rank", 0)),
    )
