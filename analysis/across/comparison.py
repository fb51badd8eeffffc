"""Our scores beside published ones: matched by workload and method, ranked, correlated, and as text in five formats."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Callable
from typing import Any

import polars as pl

from analysis.across.disagreement import rank_agreement
from analysis.curves import require_columns
from analysis.scores.leaderboard import LEADERBOARD_COLUMNS
from analysis.tables.table import PlainTable, plain_html, plain_latex, plain_markdown
from analysis.text import escape_markdown, number
from bench.errors import UsageError

REFERENCE_COLUMNS: tuple[str, ...] = ("workload", "method", "lr_sensitivity", "source", "note")

_GROUP = ["workload", "optimizer", "knobs"]
_TITLES = ("Method", "Score", "95% interval", "Rank", "Paper", "Paper rank")


def compare(leaderboard: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Ours beside the published numbers: one row an entry whose workload and method are in `references`.

    Columns: workload, method, optimizer, knobs, lr_sensitivity, ci_low, ci_high, our_rank, paper_lr_sensitivity,
    paper_rank, source, note. A label such as `window_softmax(width=4)` matches a reference of exactly that name, else
    the one of the name before the parenthesis; so does that of a workload. Both ranks are by value alone among the rows
    compared; 1 is most robust. Raises UsageError if no entry has a published number.
    """
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    require_columns(references, REFERENCE_COLUMNS, "the references frame")
    joined = _matched(leaderboard, references)
    if joined.is_empty() and not leaderboard.is_empty():
        published, ours = (", ".join(frame["workload"].unique().sort()) for frame in (references, leaderboard))
        raise UsageError(f"nothing to compare: no method of {ours} is among the published numbers, of {published}")
    return joined.select(
        *_GROUP,
        "method",
        "lr_sensitivity",
        "ci_low",
        "ci_high",
        pl.col("lr_sensitivity").rank("min").over(_GROUP).cast(pl.Int64).alias("our_rank"),
        "paper_lr_sensitivity",
        pl.col("paper_lr_sensitivity").rank("min").over(_GROUP).cast(pl.Int64).alias("paper_rank"),
        "source",
        "note",
    ).sort(*_GROUP, "lr_sensitivity", "method")


def rank_correlations(compared: pl.DataFrame) -> pl.DataFrame:
    """How far our order of methods agrees with the paper's: one row a (workload, optimizer, knobs).

    `compared` is the frame of `compare`. Columns: workload, optimizer, knobs, spearman and kendall (tau-b), both in
    [-1, 1] and null for fewer than three methods or equal scores, num_methods.
    """
    require_columns(compared, (*_GROUP, "lr_sensitivity", "paper_lr_sensitivity"), "the comparison frame")
    rows = []
    for key, rows_of_key in compared.group_by(_GROUP, maintain_order=True):
        agreement = rank_agreement(rows_of_key["lr_sensitivity"], rows_of_key["paper_lr_sensitivity"])
        rows.append((*key, *agreement, rows_of_key.height))
    schema = dict.fromkeys(_GROUP, pl.String) | {"spearman": pl.Float64, "kendall": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, "num_methods": pl.Int64}, orient="row")


def comparison_markdown(compared: pl.DataFrame) -> str:
    """A pipe table for each (workload, optimizer, knobs), with rank correlations, then the source."""
    return "\n".join([*map(plain_markdown, _tables(compared)), escape_markdown(_sources(compared)), ""])


def comparison_html(compared: pl.DataFrame) -> str:
    """A fragment like `comparison_markdown`; every name escaped."""
    return "\n".join([*map(plain_html, _tables(compared)), f"<p>{html.escape(_sources(compared))}</p>"])


def comparison_latex(compared: pl.DataFrame) -> str:
    """A booktabs `table` for each (workload, optimizer, knobs); needs \\usepackage{booktabs}."""
    tables = [plain_latex(table, caption=_sources(compared)) for table in _tables(compared)]
    return "\n".join([r"% needs \usepackage{booktabs}", *tables])


COMPARISON_FORMATS: dict[str, Callable[[pl.DataFrame], str]] = {
    "markdown": comparison_markdown,
    "html": comparison_html,
    "latex": comparison_latex,
    "csv": lambda compared: compared.write_csv(),
    "json": lambda compared: json.dumps(compared.to_dicts(), indent=1, allow_nan=False) + "\n",
}


def _matched(leaderboard: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Each entry with its nearest reference: exact labels go before bare names, the method's before the workload's."""
    entries = leaderboard.with_row_index("entry")
    paper = references.select(*REFERENCE_COLUMNS[:2], pl.col("lr_sensitivity").alias("paper_lr_sensitivity"))
    paper = paper.with_columns(references.select("source", "note"))
    bare = {name: pl.col(name).str.extract(r"^([^(]*)", 1) for name in ("workload", "method")}
    keys = itertools.product((pl.col("method"), bare["method"]), (pl.col("workload"), bare["workload"]))
    candidates = [
        entries.select("entry", method=method, workload=workload, distance=pl.lit(distance))
        for distance, (method, workload) in enumerate(keys)
    ]
    nearest = (
        pl.concat(candidates).join(paper, on=["workload", "method"]).sort("distance").unique("entry", keep="first")
    )
    return entries.join(nearest.drop("workload", "method", "distance"), on="entry")


def _tables(compared: pl.DataFrame) -> list[PlainTable]:
    """One table a (workload, optimizer, knobs), its rank correlations in the heading."""
    correlations = {row[:3]: row[3:] for row in rank_correlations(compared).iter_rows()}
    tables = []
    for key, rows in compared.group_by(_GROUP, maintain_order=True):
        spearman, kendall, num_methods = correlations[key]
        heading = ", ".join(str(part) for part in key if part)
        heading += f": rank correlation over {num_methods} methods, Spearman {number(spearman, 2)}, "
        heading += f"Kendall {number(kendall, 2)}"
        cells = tuple(_cells(row) for row in rows.iter_rows(named=True))
        tables.append(PlainTable(heading=heading, titles=_TITLES, rows=cells))
    return tables


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ours, low, high, paper = (
        number(row[name], 2) for name in ("lr_sensitivity", "ci_low", "ci_high", "paper_lr_sensitivity")
    )
    interval = "–" if row["ci_low"] is None else f"[{low}, {high}]"
    return (row["method"], ours, interval, str(row["our_rank"]), paper, str(row["paper_rank"]))


def _sources(compared: pl.DataFrame) -> str:
    return "Source: " + "; ".join(compared["source"].unique().sort()) + ". Ranks by value alone."
