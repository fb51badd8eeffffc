"""Tables for a paper: booktabs, siunitx columns that align at the decimal point, best in bold, ties marked.

No table needs more than templates/preamble.tex, and none is wider than PAGE_INCHES of analysis.figures.style.columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase

import polars as pl

from analysis.paper.table_words import board_caption
from analysis.paper.widths import (
    GAP,
    LETTER,
    PAGE,
    TINY_LETTER,
    floating_of_width,
    is_plain,
    name_column,
    number_column,
    width_of,
)
from analysis.scores.flags import FLAGS, flags_of, used_flags, word_of
from analysis.tables.forms.latex import cell_latex, floated, line_latex, scientific, stacked_title
from analysis.tables.forms.table import Cell, Column, Name, Number, Table, text_of
from analysis.tables.leaderboard import COLUMN_TITLES, workload_tables
from analysis.text import LONGEST_WORD, breakable_latex, decimals

LINES_PER_TABLE = 40

_LEAST_NAME = LONGEST_WORD * LETTER + GAP
_NAME_COLUMNS = ("method", "optimizer", "knobs")
_NUMBER_COLUMNS = ("lr_sensitivity", "best_loss", "stable_decades")
_SPREAD = "final_loss_spread"
_TITLES = COLUMN_TITLES | {_SPREAD: "± over seeds"}


def leaderboard_tables(leaderboard: pl.DataFrame) -> list[str]:
    """A table for each workload of the leaderboard frame; several where its rows take more than LINES_PER_TABLE.

    A column final_loss_spread of the frame stands behind the best loss.
    """
    idle = {"flags"} | ({"seeds"} if leaderboard["num_seeds"].n_unique() <= 1 else set())
    tables = []
    for table in workload_tables(leaderboard):
        label = "tab:leaderboard" + (f"-{len(tables) + 1}" if tables else "")
        board = leaderboard.filter(workload=table.heading)
        spread = _with_spread(table, board[_SPREAD].to_list()) if _SPREAD in board.columns else table
        tables.append(_leaderboard_table(board, spread, idle, label))
    return tables


def _with_spread(table: Table, spreads: Sequence[float | None]) -> Table:
    """The table with a column of these values behind that of the best loss."""
    after = next(place for place, column in enumerate(table.columns, 1) if column.name == "best_loss")
    places = decimals([value for value in spreads if value is not None], 2)
    column = Column(title=_TITLES[_SPREAD], is_name=False, name=_SPREAD)
    rows = (
        (*row[:after], Number(value=value, decimals=places), *row[after:])
        for row, value in zip(table.rows, spreads, strict=True)
    )
    return replace(table, columns=(*table.columns[:after], column, *table.columns[after:]), rows=tuple(rows))


def _leaderboard_table(board: pl.DataFrame, table: Table, idle: set[str], label: str) -> str:
    """One workload: `board` has its rows in the order of the table, whose `idle` columns are left out."""
    flags = [flags_of(row) for row in board["flags"]]
    used = used_flags(board)
    letters = dict(zip((flag for flag in FLAGS if flag in used), ascii_lowercase, strict=False))
    marks = ["".join(letter for flag, letter in letters.items() if flag in row) for row in flags]
    cells = {
        column.name: of_column
        for column, of_column in zip(table.columns, zip(*table.rows, strict=True), strict=True)
        if column.name not in idle
    }
    texts = {name: list(map(text_of, of_column)) for name, of_column in cells.items()}
    rooms = _rooms(texts, max(map(len, marks), default=0))
    rows = [
        line_latex(_cell(name, cell, mark) for name, cell in zip(cells, of_row, strict=True))
        for of_row, mark in zip(zip(*cells.values(), strict=True), marks, strict=True)
    ]
    notes = [rf"\textsuperscript{{{letter}}}\,{breakable_latex(word_of(flag))}" for flag, letter in letters.items()]
    what, caption = f"Robustness on {table.heading}", board_caption(board, table.heading)
    columns = "".join(_column(name, of_column, rooms) for name, of_column in cells.items())
    heights = [
        max(math.ceil(width_of([texts[name][place]]) / room) for name, room in rooms.items())
        for place in range(len(rows))
    ]
    floating = floating_of_width(sum(rooms.values()) + _width_of_numbers(texts))
    tables: list[str] = []
    for start, end in _chunks(heights, LINES_PER_TABLE):
        body = (
            columns,
            line_latex(stacked_title(_TITLES[name], "l" if name in _NAME_COLUMNS else "r") for name in cells),
            rows[start:end],
        )
        said, place = (f"{what}, continued.", f"-from-{start + 1}") if tables else (caption, "")
        below = [] if tables or not notes else [", ".join(notes)]
        tables.append(floated(body, caption=breakable_latex(said), label=label + place, floating=floating, notes=below))
    return "\n".join(tables)


def _cell(name: str, cell: Cell, mark: str) -> str:
    """The cell of a column of a leaderboard; `mark` are the letters of the entry's flags."""
    if name in _NAME_COLUMNS:
        text = breakable_latex(text_of(cell))
        text = rf"\textbf{{{text}}}" if isinstance(cell, Name) and cell.is_best else text
        return text + (rf"\textsuperscript{{{mark}}}" if mark and name == "method" else "")
    if isinstance(cell, Number) and name in _NUMBER_COLUMNS:
        if not is_plain(cell.digits):
            return f"{{{scientific(cell.digits)}}}"
        return (r"\bfseries " if cell.is_best else "") + cell.digits
    return cell_latex(cell)


def _rooms(texts: Mapping[str, list[str]], num_marks: int) -> dict[str, float]:
    """Points for each column of names, which share what the numbers leave of the page: no more than they want."""
    left = PAGE - _width_of_numbers(texts)
    wanted = {name: width_of(texts[name]) for name in _NAME_COLUMNS if name in texts}
    wanted["method"] += num_marks * TINY_LETTER
    rooms: dict[str, float] = {}
    for name in sorted(wanted, key=lambda name: wanted[name]):
        rooms[name] = min(wanted[name], max(_LEAST_NAME, left / (len(wanted) - len(rooms))))
        left -= rooms[name]
    return rooms


def _width_of_numbers(texts: Mapping[str, list[str]]) -> float:
    """Points that the columns take which are no names."""
    numbers = (name for name in texts if name not in _NAME_COLUMNS)
    return sum(width_of([*texts[name], *_TITLES[name].split()]) for name in numbers)


def _column(name: str, cells: Sequence[Cell], rooms: Mapping[str, float]) -> str:
    if name in rooms:
        return name_column(width_of(map(text_of, cells)), rooms[name])
    numbers = [cell.digits for cell in cells if isinstance(cell, Number)]
    return number_column(numbers) if name in _NUMBER_COLUMNS else "r"


def _chunks(heights: list[int], most: int) -> list[tuple[int, int]]:
    """Runs of rows, (start, end), of at most so many lines together, or of one row."""
    chunks, start = [], 0
    for end in range(1, len(heights) + 1):
        if end == len(heights) or sum(heights[start : end + 1]) > most:
            chunks.append((start, end))
            start = end
    return chunks
