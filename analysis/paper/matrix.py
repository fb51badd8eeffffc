"""LR sensitivity of methods x optimizers as LaTeX: a table for each workload and knobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.across.optimizer_matrix import optimizer_matrix
from analysis.curves import label_of
from analysis.paper.table_words import DEFINED_ELSEWHERE, seeds_words
from analysis.paper.widths import GAP, PAGE, TINY_LETTER, floating_of_width, name_column, width_of
from analysis.scores.seeds.rank_ranges import rank_text
from analysis.tables.forms.latex import floated, interval_latex, line_latex, scientific
from analysis.tables.forms.table import Number
from analysis.text import breakable_latex, decimals, without_marks

_POOR = r"\rlap{$^\ast$}"
_LINE = 11  # letters of a line of a column's name
_INTERVAL_WIDTH = len("[-0.00, -0.00]") * TINY_LETTER + GAP


def matrix_tables(boards: Mapping[str, pl.DataFrame]) -> list[str]:
    """LR sensitivity of methods x optimizers, a table for each workload and knobs; none for one optimizer.

    `boards` holds the leaderboard frame of each optimizer's results alone: bold and ranks are among its methods.
    """
    board = pl.concat(boards.values())
    matrix = optimizer_matrix(board)
    if matrix.is_empty():
        return []
    on = ["workload", "knobs", "method", "optimizer"]
    cells = matrix.join(board.select(*on, "rank", "rank_worst"), on=on, how="left").with_columns(
        is_poor=pl.col("at_chance") | pl.col("learned_little")
    )
    of_optimizer, learned = ["workload", "knobs", "optimizer"], ~pl.col("is_poor")
    is_ranked = learned & pl.col("rank").is_not_null()
    may_be_best = is_ranked | (learned & ~is_ranked.any().over(of_optimizer))
    best = pl.when(may_be_best).then("lr_sensitivity").min().over(of_optimizer)
    cells = cells.with_columns(is_best=may_be_best & (pl.col("lr_sensitivity") == best))
    tables = []
    for place, group in cells.group_by("workload", "knobs", maintain_order=True):
        seeds = seeds_words(board.filter(workload=place[0]))
        tables += _matrix_parts(group, label_of(place), seeds, first=len(tables) + 1)
    return tables


def _matrix_parts(cells: pl.DataFrame, what: str, seeds: str, *, first: int) -> list[str]:
    """The matrix with the longer of its axes downwards, in as many tables as its columns need."""
    methods = cells["method"].unique(maintain_order=True).to_list()
    optimizers = cells["optimizer"].unique().sort().to_list()
    down, across = ("method", "optimizer") if len(methods) >= len(optimizers) else ("optimizer", "method")
    names_down, names_across = (methods, optimizers) if down == "method" else (optimizers, methods)
    places = decimals(cells["lr_sensitivity"].drop_nulls(), 3)
    texts = {(row[down], row[across]): _matrix_cell(row, places) for row in cells.iter_rows(named=True)}
    title = f"LR sensitivity of methods with each optimizer on {what}"
    caption = (
        f"{title}. Below: 95% interval over {seeds}; bold and ranks, in superscript: among the methods with one "
        f"optimizer; *: at chance, or learned little. {DEFINED_ELSEWHERE}"
    )
    column = max(width_of(part for name in names_across for part in _parted(name)), _INTERVAL_WIDTH)
    room = min(width_of(names_down), PAGE / 3)
    num_columns = max(1, int((PAGE - room) / column))
    tables = []
    for start in range(0, len(names_across), num_columns):
        names = names_across[start : start + num_columns]
        heads = [r"\shortstack{" + r"\\".join(map(breakable_latex, _parted(name))) + "}" for name in names]
        rows = []
        for name in names_down:
            of_name = [texts.get((name, other), ("--", "")) for other in names]
            rows.append(line_latex([breakable_latex(name), *(value for value, _ in of_name)]))
            rows.append("".join(f" & {ends}" for _, ends in of_name) + r" \\ \addlinespace[2pt]")
        number = first + len(tables)
        label = "tab:matrix" + (f"-{number}" if number > 1 else "")
        said = caption if start == 0 else f"{title}, continued."
        columns, width = name_column(width_of(names_down), room) + "c" * len(names), room + column * len(names)
        body = columns, line_latex([down.capitalize(), *heads]), rows
        tables.append(floated(body, caption=breakable_latex(said), label=label, floating=floating_of_width(width)))
    return tables


def _matrix_cell(row: Mapping[str, Any], places: int) -> tuple[str, str]:
    """The score with its mark, and its interval, which goes below it."""
    cell = Number(value=row["lr_sensitivity"], low=row["ci_low"], high=row["ci_high"], decimals=places)
    value, ranks = scientific(cell.digits), rank_text(row["rank"], row["rank_worst"])
    mark = _POOR if row["is_poor"] else "" if row["rank"] is None else rf"\rlap{{\textsuperscript{{{ranks}}}}}"
    text = (rf"\textbf{{{value}}}" if row["is_best"] else value) + mark
    return text, "" if cell.ends is None else rf"{{\tiny {interval_latex(*cell.ends)}}}"


def _parted(name: str) -> list[str]:
    """A column's name in lines of at most _LINE letters, broken between its words where it can be.

    A word with a formula stays whole.
    """
    lines = [""]
    for word in re.split(r"(?<=[ _(,=])", name):
        length = _LINE if without_marks(word) == word else len(word)
        for piece in (word[start : start + length] for start in range(0, len(word), length)):
            if lines[-1] and len(lines[-1]) + len(piece) > _LINE:
                lines.append("")
            lines[-1] += piece
    return lines
