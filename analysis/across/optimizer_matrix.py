"""Optimizers x methods: whether a method's robustness, and the order of methods, hold for more than one optimizer."""

from __future__ import annotations

import html
import itertools
from typing import Any

import polars as pl

from analysis.across.disagreement import rank_agreement
from analysis.curves import require_columns
from analysis.tables.table import PlainTable, plain_html, plain_latex, plain_markdown
from analysis.text import decimals, escape_markdown, number

OPTIMIZER_MATRIX_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "knobs", "method", "optimizer"), pl.String),
    **dict.fromkeys(("lr_sensitivity", "ci_low", "ci_high"), pl.Float64),
    "num_seeds": pl.Int64,
    "at_chance": pl.Boolean,
    "learned_little": pl.Boolean,
    "method_rank": pl.Int64,
    "method_mean": pl.Float64,
}

CORRELATION_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "knobs", "first", "second"), pl.String),
    **dict.fromkeys(("spearman", "kendall"), pl.Float64),
    "num_methods": pl.Int64,
}

_GROUP = ["workload", "knobs"]
_NEEDED = (*_GROUP, "method", "optimizer", "lr_sensitivity", "ci_low", "ci_high", "num_seeds", "flags")


def optimizer_matrix(board: pl.DataFrame) -> pl.DataFrame:
    """OPTIMIZER_MATRIX_COLUMNS, one row a method and optimizer, where workload and knobs have two optimizers at least.

    `board` is the frame of analysis.scores.leaderboard. method_rank is 1 + the number of methods with a lower score
    under the same optimizer, among those that learned: neither at chance nor learned_little. method_mean is the mean
    over the optimizers under which the method learned (null if none). Sorted by workload, knobs, method_mean, method,
    optimizer.
    """
    require_columns(board, _NEEDED, "the leaderboard frame")
    learned = pl.when(~pl.col("at_chance") & ~pl.col("learned_little")).then(pl.col("lr_sensitivity"))
    flags = pl.col("flags").str.split(",")
    return (
        board.with_columns(flags.list.contains(word).alias(word) for word in ("at_chance", "learned_little"))
        .filter(pl.col("optimizer").n_unique().over(_GROUP) > 1)
        .with_columns(
            method_rank=learned.rank("min").over(*_GROUP, "optimizer").cast(pl.Int64),
            method_mean=learned.mean().over(*_GROUP, "method"),
        )
        .select(*OPTIMIZER_MATRIX_COLUMNS)
        .sort(*_GROUP, "method_mean", "method", "optimizer", nulls_last=True)
    )


def rank_correlations(board: pl.DataFrame) -> pl.DataFrame:
    """CORRELATION_COLUMNS, one row a pair of optimizers: how far they order the methods alike.

    Over the methods that learned with both; Spearman's rho and Kendall's tau-b, in [-1, 1], null for fewer than three
    methods or equal scores. A score without a sense of its uncertainty: see the intervals of `optimizer_matrix`.
    """
    matrix = optimizer_matrix(board).filter(~pl.col("at_chance") & ~pl.col("learned_little"))
    rows = []
    for key, group in matrix.group_by(_GROUP, maintain_order=True):
        for first, second in itertools.combinations(group["optimizer"].unique().sort(), 2):
            one, two = (group.filter(optimizer=name).select("method", "lr_sensitivity") for name in (first, second))
            both = one.join(two, on="method")
            agreement = rank_agreement(both["lr_sensitivity"], both["lr_sensitivity_right"])
            rows.append((*key, first, second, *agreement, both.height))
    return pl.DataFrame(rows, schema=CORRELATION_COLUMNS, orient="row")


def optimizer_markdown(board: pl.DataFrame) -> str:
    """Pipe tables: the matrix and the correlations of each workload and knobs, then how to read them."""
    return "\n".join([*map(plain_markdown, optimizer_tables(board)), escape_markdown(READING_NOTE), ""])


def optimizer_html(board: pl.DataFrame) -> str:
    """A fragment like `optimizer_markdown`; every name escaped."""
    return "\n".join([*map(plain_html, optimizer_tables(board)), f"<p>{html.escape(READING_NOTE)}</p>", ""])


def optimizer_latex(board: pl.DataFrame) -> str:
    """Booktabs tables like `optimizer_markdown`; needs \\usepackage{booktabs}."""
    tables = [plain_latex(table, caption=READING_NOTE) for table in optimizer_tables(board)]
    return "\n".join([r"% needs \usepackage{booktabs}", *tables])


def optimizer_tables(board: pl.DataFrame) -> list[PlainTable]:
    """The matrix, methods by their mean, and the rank correlations of each workload and knobs."""
    tables = []
    correlations = rank_correlations(board).partition_by(_GROUP, as_dict=True)
    for key, group in optimizer_matrix(board).group_by(_GROUP, maintain_order=True):
        place = ", ".join(str(part) for part in key if part)
        tables.append(_matrix_table(place, group))
        if key in correlations:
            tables.append(_correlation_table(place, correlations[key]))
    return tables


READING_NOTE = (
    "Learning-rate sensitivity (lower is more robust) with its 95% interval over seeds; methods ordered by their mean "
    "over the optimizers under which they learned; *: at chance, or learned less than half of what the best method did "
    "under the optimizer, so the number says little. Rank correlations are over the methods that learned with both."
)


def _matrix_table(place: str, group: pl.DataFrame) -> PlainTable:
    optimizers = group["optimizer"].unique().sort().to_list()
    places = decimals(group["lr_sensitivity"], 3)
    rows = []
    for (method,), of_method in group.group_by("method", maintain_order=True):
        cells = {row["optimizer"]: _cell(row, places) for row in of_method.iter_rows(named=True)}
        texts = [cells[name] if name in cells else number(None, places) for name in optimizers]
        rows.append((str(method), *texts, number(of_method["method_mean"][0], places)))
    titles = ("Method", *optimizers, "Mean")
    return PlainTable(heading=f"LR sensitivity by optimizer on {place}", titles=titles, rows=tuple(rows))


def _cell(row: dict[str, Any], places: int) -> str:
    value, low, high = (number(row[name], places) for name in ("lr_sensitivity", "ci_low", "ci_high"))
    marked = value + ("*" if row["at_chance"] or row["learned_little"] else "")
    return marked if row["ci_low"] is None else f"{marked} [{low}, {high}]"


def _correlation_table(place: str, rows: pl.DataFrame) -> PlainTable:
    cells = tuple(
        (row["first"], row["second"], number(row["spearman"], 2), number(row["kendall"], 2), str(row["num_methods"]))
        for row in rows.iter_rows(named=True)
    )
    titles = ("Optimizer", "Optimizer", "Spearman", "Kendall", "Methods")
    heading = f"Rank correlation of the methods' order on {place}"
    return PlainTable(heading=heading, titles=titles, rows=cells, num_names=2)
