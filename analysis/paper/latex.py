"""Tables for a paper: booktabs, siunitx columns that align at the decimal point, best in bold, ties marked.

No table needs more than PREAMBLE, and none is wider than PAGE_INCHES of analysis.figures.columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import Any

import polars as pl

from analysis.across.optimizer_matrix import optimizer_matrix
from analysis.paper.imported import divergence_rule_of
from analysis.paper.latex_cells import (
    GAP,
    LETTER,
    LONGEST_WORD,
    PAGE,
    TINY_LETTER,
    is_plain,
    latex_name,
    name_column,
    number_column,
    scientific,
    width_of,
)
from analysis.scores.guards import FLAGS
from analysis.scores.kinds import SCORE_KINDS
from analysis.tables.leaderboard import TIE_MARK, Line, board_sections, reading_note, word_of
from analysis.text import decimals, number

PREAMBLE = r"""% What tables, figures and references of this folder need, in any document class.
\usepackage{array}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage{siunitx}
\usepackage{url}
% The figures are PDF 1.7, each with a page group.
\ifdefined\pdfminorversion\pdfminorversion=7\fi
\ifdefined\pdfsuppresswarningpagegroup\pdfsuppresswarningpagegroup=1\fi
% A number in bold stays bold in an S column: version 3 of siunitx, then version 2.
\makeatletter
\@ifpackagelater{siunitx}{2021/05/17}{\sisetup{mode=text, reset-text-series=false}}{\sisetup{detect-weight=true}}
\makeatother
"""

LINES_PER_TABLE = 40

_TIE = r"\rlap{$^\dagger$}"
_POOR = r"\rlap{$^\ast$}"
_STABLE_DECADES = f"Stable decades: {SCORE_KINDS['stable_decades'].definition}."
_LEAST_NAME = LONGEST_WORD * LETTER + GAP
_LINE = 11  # letters of a line of a column's name in a matrix
_INTERVAL_WIDTH = len("[-0.00, -0.00]") * TINY_LETTER + GAP
_NAME_COLUMNS = ("method", "optimizer", "knobs")
_NUMBER_COLUMNS = ("lr_sensitivity", "best_loss", "stable_decades")

_TITLES: dict[str, str] = {
    "rank": "Rank",
    "method": "Method",
    "optimizer": "Optimizer",
    "knobs": "Knobs",
    "lr_sensitivity": r"LR\\sensitivity",
    "interval": r"95\%\\interval",
    "best_loss": r"Best\\loss",
    "best_lr": r"Best\\lr",
    "stable_decades": r"Stable\\decades",
    "diverged_share": "Diverged",
    "seeds": "Seeds",
}


def leaderboard_tables(leaderboard: pl.DataFrame) -> list[str]:
    """A `table*` for each workload of the leaderboard frame; several where its rows take more than LINES_PER_TABLE."""
    names, sections = board_sections(leaderboard)
    idle = {"flags"} | ({"seeds"} if leaderboard["num_seeds"].n_unique() <= 1 else set())
    tables = []
    for section in sections:
        board = leaderboard.filter(workload=section.workload)
        lines = [(line, dict(zip(names, line.cells, strict=True))) for line in section.lines]
        label = "tab:leaderboard" + (f"-{len(tables) + 1}" if tables else "")
        tables.append(_leaderboard_table(board, [name for name in names if name not in idle], lines, label))
    return tables


def matrix_tables(boards: Mapping[str, pl.DataFrame]) -> list[str]:
    """LR sensitivity of methods x optimizers, a `table*` for each workload and knobs; none for one optimizer.

    `boards` holds the leaderboard frame of each optimizer's results alone: bold and ties are among its methods.
    """
    board = pl.concat(boards.values())
    matrix = optimizer_matrix(board)
    if matrix.is_empty():
        return []
    on = ["workload", "knobs", "method", "optimizer"]
    cells = matrix.join(board.select(*on, "rank", "num_trials", "definition", "loss"), on=on, how="left").with_columns(
        is_poor=pl.col("at_chance") | pl.col("learned_little")
    )
    best = pl.when(~pl.col("is_poor")).then("lr_sensitivity").min().over("workload", "knobs", "optimizer")
    cells = cells.with_columns(is_best=(pl.col("lr_sensitivity") == best) & ~pl.col("is_poor"))
    tables = []
    for place, group in cells.group_by("workload", "knobs", maintain_order=True):
        what = ", ".join(str(part) for part in place if part)
        rows = board.filter(workload=place[0])
        notes = f"{divergence_rule_of(rows)} {reading_note(rows)}"
        tables += _matrix_parts(group, what, notes, first=len(tables) + 1)
    return tables


def widened(tables: str, label: str) -> str:
    """Plain booktabs tables of analysis.tables.table over the width of the page, with labels."""
    text = re.sub(r"^%.*\n", "", tables, flags=re.MULTILINE)
    text = text.replace(r"\begin{table}[t]" + "\n" + r"\centering", _OPEN).replace(r"\end{table}", r"\end{table*}")
    parts = text.split(r"\begin{tabular}")
    labels = (rf"\label{{tab:{label}{f'-{place}' if place > 1 else ''}}}" for place in range(1, len(parts)))
    return parts[0] + "".join(
        f"{one}\n{_GAP}\n\\begin{{tabular}}{part}" for one, part in zip(labels, parts[1:], strict=True)
    )


_GAP = r"\vspace{4pt}"
_OPEN = "\\begin{table*}[tp]\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{4pt}"


def _leaderboard_table(
    board: pl.DataFrame, names: list[str], lines: list[tuple[Line, dict[str, str]]], label: str
) -> str:
    """One workload: `board` has its rows in the order of `lines`, each with its cells by column."""
    flags = [row.split(",") for row in board["flags"]]
    letters = dict(zip((word for word in FLAGS if any(word in row for row in flags)), ascii_lowercase, strict=False))
    marks = ["".join(letter for word, letter in letters.items() if word in row) for row in flags]
    texts = {name: [cells[name] for _, cells in lines] for name in names}
    rooms = _rooms(texts, max(map(len, marks), default=0))
    rows = [
        _line(_cell(name, cells[name], line.is_best, mark) for name in names)
        for (line, cells), mark in zip(lines, marks, strict=True)
    ]
    notes = [
        rf"\textsuperscript{{{letter}}}\,{latex_name(f'{word_of(word)}: {FLAGS[word]}')}"
        for word, letter in letters.items()
    ]
    what = f"Robustness on {board['workload'][0]}"
    caption = f"{what}. {_definition(board)} {divergence_rule_of(board)} {reading_note(board)} {_STABLE_DECADES}"
    head = _line(map(_title, names))
    columns = "".join(_column(name, column, rooms) for name, column in texts.items())
    heights = [max(math.ceil(width_of([cells[name]]) / room) for name, room in rooms.items()) for _, cells in lines]
    tables: list[str] = []
    for start, end in _chunks(heights, LINES_PER_TABLE):
        place = f"-from-{start + 1}" if tables else ""
        said = f"{what}, continued." if tables else caption
        tables.append(
            _table(latex_name(said), label + place, (columns, head, rows[start:end]), [] if tables else notes)
        )
    return "\n".join(tables)


def _matrix_parts(cells: pl.DataFrame, what: str, note: str, *, first: int) -> list[str]:
    """The matrix with the longer of its axes downwards, in as many tables as its columns need."""
    methods = cells["method"].unique(maintain_order=True).to_list()
    optimizers = cells["optimizer"].unique().sort().to_list()
    down, across = ("method", "optimizer") if len(methods) >= len(optimizers) else ("optimizer", "method")
    names_down, names_across = (methods, optimizers) if down == "method" else (optimizers, methods)
    places = decimals(cells["lr_sensitivity"], 3)
    found = {(row[down], row[across]): _matrix_cell(row, places) for row in cells.iter_rows(named=True)}
    caption = (
        f"LR sensitivity of methods with each optimizer on {what}. {_definition(cells)} {note} Bold and "
        f"{TIE_MARK} are among the methods with one optimizer. *: at chance, or learned less than half of what the "
        "best method did with the optimizer, so the number says little."
    )
    column = max(width_of(part for name in names_across for part in _parted(name)), _INTERVAL_WIDTH)
    names = min(width_of(names_down), PAGE / 3)
    num_columns = max(1, int((PAGE - names) / column))
    tables = []
    for start in range(0, len(names_across), num_columns):
        shown = names_across[start : start + num_columns]
        heads = [r"\shortstack{" + r"\\".join(map(latex_name, _parted(name))) + "}" for name in shown]
        rows = []
        for name in names_down:
            of_name = [found.get((name, other), ("--", "")) for other in shown]
            rows.append(_line([latex_name(name), *(value for value, _ in of_name)]))
            rows.append("".join(f" & {ends}" for _, ends in of_name) + r" \\ \addlinespace[2pt]")
        number = first + len(tables)
        label = "tab:matrix" + (f"-{number}" if number > 1 else "")
        said = caption if start == 0 else f"LR sensitivity of methods with each optimizer on {what}, continued."
        body = (name_column(width_of(names_down), names) + "c" * len(shown), _line([down.capitalize(), *heads]), rows)
        tables.append(_table(latex_name(said), label, body, []))
    return tables


def _matrix_cell(row: Mapping[str, Any], places: int) -> tuple[str, str]:
    """The score with its mark, and its interval, which goes below it."""
    value, low, high = (scientific(number(row[name], places)) for name in ("lr_sensitivity", "ci_low", "ci_high"))
    mark = _POOR if row["is_poor"] else _TIE if row["rank"] == 1 and not row["is_best"] else ""
    shown = rf"\textbf{{{value}}}" if row["is_best"] else value + mark
    return shown, "" if row["ci_low"] is None else rf"{{\tiny {{[}}{low}, {high}{{]}}}}"


def _table(caption: str, label: str, body: tuple[str, str, list[str]], notes: list[str]) -> str:
    columns, head, rows = body
    lines = [
        _OPEN,
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        _GAP,
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if notes:
        lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\raggedright {' '.join(notes)}}}"]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _cell(name: str, text: str, is_best: bool, mark: str) -> str:
    if name == "method":
        shown = rf"\textbf{{{latex_name(text)}}}" if is_best else latex_name(text)
        return shown + (rf"\textsuperscript{{{mark}}}" if mark else "")
    if name in _NUMBER_COLUMNS:
        plain = text.removesuffix(TIE_MARK)
        tie = f"{{{_TIE}}}" if plain != text else ""
        if not is_plain(plain):
            return f"{{{scientific(plain)}{tie}}}"
        return (r"\bfseries " if is_best and name == "lr_sensitivity" else "") + plain + tie
    if name == "interval":
        ends = text.strip("[]").split(", ")
        return "{[}" + ", ".join(map(scientific, ends)) + "{]}" if len(ends) == 2 else "--"
    return scientific(text) if name in ("rank", "best_lr") else latex_name(text)


def _rooms(texts: Mapping[str, list[str]], num_marks: int) -> dict[str, float]:
    """Points for each column of names, which share what the numbers leave of the page: no more than they want."""
    numbers = (name for name in texts if name not in _NAME_COLUMNS)
    left = PAGE - sum(width_of([*texts[name], *_TITLES[name].split(r"\\")]) for name in numbers)
    wanted = {name: width_of(texts[name]) for name in _NAME_COLUMNS if name in texts}
    wanted["method"] += num_marks * TINY_LETTER
    rooms: dict[str, float] = {}
    for name in sorted(wanted, key=lambda name: wanted[name]):
        rooms[name] = min(wanted[name], max(_LEAST_NAME, left / (len(wanted) - len(rooms))))
        left -= rooms[name]
    return rooms


def _column(name: str, texts: list[str], rooms: Mapping[str, float]) -> str:
    if name in rooms:
        return name_column(width_of(texts), rooms[name])
    return number_column(texts) if name in _NUMBER_COLUMNS else "r"


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
    return rf"{{\shortstack[{side}]{{{_TITLES[name]}}}}}"


def _parted(name: str) -> list[str]:
    """A column's name in lines of at most _LINE letters, broken between its words where it can be."""
    lines = [""]
    for word in re.split(r"(?<=[_(,=])", name):
        for piece in (word[start : start + _LINE] for start in range(0, len(word), _LINE)):
            if lines[-1] and len(lines[-1]) + len(piece) > _LINE:
                lines.append("")
            lines[-1] += piece
    return lines


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _definition(board: pl.DataFrame) -> str:
    return " ".join(
        f"LR sensitivity ({name}): {SCORE_KINDS[name].definition}." for name in board["definition"].unique().sort()
    )
