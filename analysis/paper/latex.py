"""Tables for a paper: booktabs, siunitx columns that align at the decimal point, best in bold, ties marked.

No table needs more than templates/preamble.tex, and none is wider than PAGE_INCHES of analysis.figures.columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import polars as pl

from analysis.across.optimizer_matrix import optimizer_matrix
from analysis.figures.columns import PAGE_INCHES
from analysis.paper.imports import divergence_rule_of
from analysis.scores.flags import FLAGS, flags_of, used_flags, word_of
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.rank_ranges import rank_text
from analysis.tables.latex import (
    DENSE_ON_PAGE,
    ON_PAGE,
    Floating,
    cell_latex,
    floated,
    interval_latex,
    is_long,
    line_latex,
    scientific,
)
from analysis.tables.leaderboard import COLUMN_TITLES, reading_note, workload_tables
from analysis.tables.table import Cell, Group, Name, Number, Table, text_of
from analysis.text import LONGEST_WORD, breakable_latex, decimals, escape_latex, without_marks

LINES_PER_TABLE = 40

# Points, in \footnotesize.
_PAGE = 72 * PAGE_INCHES
_GAP = 8.0  # between two columns
_LETTER, _TINY_LETTER = 4.1, 2.6

_POOR = r"\rlap{$^\ast$}"
_STABLE_DECADES = f"Stable decades: {SCORE_KINDS['stable_decades'].definition}."
_LEAST_NAME = LONGEST_WORD * _LETTER + _GAP
_LINE = 11  # letters of a line of a column's name in a matrix
_INTERVAL_WIDTH = len("[-0.00, -0.00]") * _TINY_LETTER + _GAP
_NAME_COLUMNS = ("method", "optimizer", "knobs")
_NUMBER_COLUMNS = ("lr_sensitivity", "best_loss", "stable_decades")


def leaderboard_tables(leaderboard: pl.DataFrame) -> list[str]:
    """A `table*` for each workload of the leaderboard frame; several where its rows take more than LINES_PER_TABLE."""
    idle = {"flags"} | ({"seeds"} if leaderboard["num_seeds"].n_unique() <= 1 else set())
    tables = []
    for table in workload_tables(leaderboard):
        label = "tab:leaderboard" + (f"-{len(tables) + 1}" if tables else "")
        tables.append(_leaderboard_table(leaderboard.filter(workload=table.heading), table, idle, label))
    return tables


def matrix_tables(boards: Mapping[str, pl.DataFrame]) -> list[str]:
    """LR sensitivity of methods x optimizers, a `table*` for each workload and knobs; none for one optimizer.

    `boards` holds the leaderboard frame of each optimizer's results alone: bold and ranks are among its methods.
    """
    board = pl.concat(boards.values())
    matrix = optimizer_matrix(board)
    if matrix.is_empty():
        return []
    on = ["workload", "knobs", "method", "optimizer"]
    cells = matrix.join(
        board.select(*on, "rank", "rank_worst", "num_trials", "definition", "loss"), on=on, how="left"
    ).with_columns(is_poor=pl.col("at_chance") | pl.col("learned_little"))
    of_optimizer, learned = ["workload", "knobs", "optimizer"], ~pl.col("is_poor")
    is_ranked = learned & pl.col("rank").is_not_null()
    may_be_best = is_ranked | (learned & ~is_ranked.any().over(of_optimizer))
    best = pl.when(may_be_best).then("lr_sensitivity").min().over(of_optimizer)
    cells = cells.with_columns(is_best=may_be_best & (pl.col("lr_sensitivity") == best))
    tables = []
    for place, group in cells.group_by("workload", "knobs", maintain_order=True):
        what = ", ".join(str(part) for part in place if part)
        rows = board.filter(workload=place[0])
        notes = f"{divergence_rule_of(rows)} {reading_note(rows)}"
        tables += _matrix_parts(group, what, notes, first=len(tables) + 1)
    return tables


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
    notes = [
        rf"\textsuperscript{{{letter}}}\,{breakable_latex(f'{word_of(flag)}: {FLAGS[flag]}')}"
        for flag, letter in letters.items()
    ]
    what = f"Robustness on {table.heading}"
    caption = f"{what}. {_definition(board)} {divergence_rule_of(board)} {reading_note(board)} {_STABLE_DECADES}"
    columns = "".join(_column(name, of_column, rooms) for name, of_column in cells.items())
    heights = [
        max(math.ceil(_width_of([texts[name][place]]) / room) for name, room in rooms.items())
        for place in range(len(rows))
    ]
    floating = ON_PAGE if sum(rooms.values()) + _width_of_numbers(texts) <= _PAGE else DENSE_ON_PAGE
    tables: list[str] = []
    for start, end in _chunks(heights, LINES_PER_TABLE):
        body = columns, line_latex(map(_title, cells)), rows[start:end]
        said, place = (f"{what}, continued.", f"-from-{start + 1}") if tables else (caption, "")
        below = [] if tables else notes
        tables.append(floated(body, caption=breakable_latex(said), label=label + place, floating=floating, notes=below))
    return "\n".join(tables)


def _matrix_parts(cells: pl.DataFrame, what: str, note: str, *, first: int) -> list[str]:
    """The matrix with the longer of its axes downwards, in as many tables as its columns need."""
    methods = cells["method"].unique(maintain_order=True).to_list()
    optimizers = cells["optimizer"].unique().sort().to_list()
    down, across = ("method", "optimizer") if len(methods) >= len(optimizers) else ("optimizer", "method")
    names_down, names_across = (methods, optimizers) if down == "method" else (optimizers, methods)
    places = decimals(cells["lr_sensitivity"].drop_nulls(), 3)
    found = {(row[down], row[across]): _matrix_cell(row, places) for row in cells.iter_rows(named=True)}
    title = f"LR sensitivity of methods with each optimizer on {what}"
    caption = (
        f"{title}. {_definition(cells)} {note} Bold and "
        "ranks, in superscript, are among the methods with one optimizer. *: at chance, or learned less than half of "
        "what the best method did with the optimizer, so the number says little."
    )
    column = max(_width_of(part for name in names_across for part in _parted(name)), _INTERVAL_WIDTH)
    room = min(_width_of(names_down), _PAGE / 3)
    num_columns = max(1, int((_PAGE - room) / column))
    tables = []
    for start in range(0, len(names_across), num_columns):
        shown = names_across[start : start + num_columns]
        heads = [r"\shortstack{" + r"\\".join(map(breakable_latex, _parted(name))) + "}" for name in shown]
        rows = []
        for name in names_down:
            of_name = [found.get((name, other), ("--", "")) for other in shown]
            rows.append(line_latex([breakable_latex(name), *(value for value, _ in of_name)]))
            rows.append("".join(f" & {ends}" for _, ends in of_name) + r" \\ \addlinespace[2pt]")
        number = first + len(tables)
        label = "tab:matrix" + (f"-{number}" if number > 1 else "")
        said = caption if start == 0 else f"{title}, continued."
        columns = _name_column(_width_of(names_down), room) + "c" * len(shown)
        body = columns, line_latex([down.capitalize(), *heads]), rows
        tables.append(floated(body, caption=breakable_latex(said), label=label, floating=ON_PAGE))
    return tables


def _matrix_cell(row: Mapping[str, Any], places: int) -> tuple[str, str]:
    """The score with its mark, and its interval, which goes below it."""
    cell = Number(value=row["lr_sensitivity"], low=row["ci_low"], high=row["ci_high"], decimals=places)
    value, ranks = scientific(cell.digits), rank_text(row["rank"], row["rank_worst"])
    mark = _POOR if row["is_poor"] else "" if row["rank"] is None else rf"\rlap{{\textsuperscript{{{ranks}}}}}"
    shown = (rf"\textbf{{{value}}}" if row["is_best"] else value) + mark
    return shown, "" if cell.ends is None else rf"{{\tiny {interval_latex(*cell.ends)}}}"


def _cell(name: str, cell: Cell, mark: str) -> str:
    """The cell of a column of a leaderboard; `mark` are the letters of the entry's flags."""
    if name in _NAME_COLUMNS:
        shown = breakable_latex(text_of(cell))
        shown = rf"\textbf{{{shown}}}" if isinstance(cell, Name) and cell.is_best else shown
        return shown + (rf"\textsuperscript{{{mark}}}" if mark and name == "method" else "")
    if isinstance(cell, Number) and name in _NUMBER_COLUMNS:
        if not _is_plain(cell.digits):
            return f"{{{scientific(cell.digits)}}}"
        return (r"\bfseries " if cell.is_best else "") + cell.digits
    return cell_latex(cell)


def _rooms(texts: Mapping[str, list[str]], num_marks: int) -> dict[str, float]:
    """Points for each column of names, which share what the numbers leave of the page: no more than they want."""
    left = _PAGE - _width_of_numbers(texts)
    wanted = {name: _width_of(texts[name]) for name in _NAME_COLUMNS if name in texts}
    wanted["method"] += num_marks * _TINY_LETTER
    rooms: dict[str, float] = {}
    for name in sorted(wanted, key=lambda name: wanted[name]):
        rooms[name] = min(wanted[name], max(_LEAST_NAME, left / (len(wanted) - len(rooms))))
        left -= rooms[name]
    return rooms


def page_floating(group: Group) -> Floating:
    """ON_PAGE, or where a table of the group is wider than a page DENSE_ON_PAGE."""
    columns = (zip(table.titles, *table.texts, strict=True) for table in group.tables)
    return ON_PAGE if all(sum(map(_width_of, each)) <= _PAGE for each in columns) else DENSE_ON_PAGE


def _width_of_numbers(texts: Mapping[str, list[str]]) -> float:
    """Points that the columns take which are no names."""
    numbers = (name for name in texts if name not in _NAME_COLUMNS)
    return sum(_width_of([*texts[name], *COLUMN_TITLES[name].split()]) for name in numbers)


def _column(name: str, cells: Sequence[Cell], rooms: Mapping[str, float]) -> str:
    if name in rooms:
        return _name_column(_width_of(map(text_of, cells)), rooms[name])
    numbers = [cell.digits for cell in cells if isinstance(cell, Number)]
    return _number_column(numbers) if name in _NUMBER_COLUMNS else "r"


def _chunks(heights: list[int], most: int) -> list[tuple[int, int]]:
    """Runs of rows, (start, end), of at most so many lines together, or of one row."""
    chunks, start = [], 0
    for end in range(1, len(heights) + 1):
        if end == len(heights) or sum(heights[start : end + 1]) > most:
            chunks.append((start, end))
            start = end
    return chunks


def _title(name: str) -> str:
    side = "l" if name in _NAME_COLUMNS else "r"
    words = r"\\".join(map(escape_latex, COLUMN_TITLES[name].split()))
    return rf"{{\shortstack[{side}]{{{words}}}}}"


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


def _definition(board: pl.DataFrame) -> str:
    names = board["definition"].unique().sort()
    return " ".join(f"LR sensitivity ({name}): {SCORE_KINDS[name].definition}." for name in names)


def _name_column(wanted: float, room: float) -> str:
    """A column as wide as its names, or where the room in points is less, one that breaks them."""
    return "l" if wanted <= room else rf">{{\raggedright\arraybackslash}}p{{{room - _GAP:.0f}pt}}"


def _number_column(texts: Sequence[str]) -> str:
    """An S column for the numbers among the texts."""
    plain = list(filter(_is_plain, texts))
    whole = max((len(text.lstrip("-").partition(".")[0]) for text in plain), default=1)
    fraction = max((len(text.partition(".")[2]) for text in plain), default=0)
    sign = "-" if any(text.startswith("-") for text in plain) else ""
    return f"S[table-format={sign}{whole}.{fraction}]"


def _width_of(texts: Iterable[str]) -> float:
    """About the points that the widest of the texts takes in a table, with the gap to the next column."""
    shown = (", ".join(map(_as_shown, without_marks(text).split(", "))) for text in texts)
    return max(map(len, shown), default=0) * _LETTER + _GAP


def _as_shown(text: str) -> str:
    """As many letters as the number takes: a long one is shortened."""
    is_long = re.fullmatch(r"[\[-]*\d{7,}(\.\d+)?[\]†]*", text) is not None
    return "-1.00x10-308]" if is_long else text


def _is_plain(text: str) -> bool:
    """True of a number that an S column aligns."""
    plain = text.removeprefix("-")
    return re.fullmatch(r"\d+(\.\d+)?", plain) is not None and not is_long(plain)
