"""Tables for a terminal of any width: numbers are whole, names fold between words, and the least important columns go.

A table that is too wide folds its names, then loses columns in the order of `Column.leaves`, which a line below it
names; where that is not enough, names of an entry stand in one column, then fold at any sign between letters; and then
numbers stand in several blocks that repeat the names. Titles fold between words alone.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from analysis.scores.flags import FLAGS, flags_of
from bench.cli.fitting import (
    GAP,
    INDENT,
    LEAST_INDENT,
    LONGEST_PIECE,
    Shown,
    cells_wide,
    fitted,
    pieces_of,
    telling_columns,
    total_width,
)

if TYPE_CHECKING:
    import polars

    from analysis.tables.forms.table import Table

_RANK = "rank"  # the title of the column of ranks, which are no names of an entry
_FLAGS = "flags"  # the title of the column that says what makes a row misleading
_FEW = 3  # rows with a flag that are named, and not counted


def shown_width(*, is_wide: bool) -> int | None:
    """Columns of the terminal: COLUMNS if set, else stdout's; None, without a limit, for --wide, a file or a pipe."""
    return None if is_wide else shutil.get_terminal_size(fallback=(0, 0)).columns or None


def frame_text(frame: polars.DataFrame, *, is_wide: bool = False) -> str:
    """A frame as tables for people, one for each value of its column `workload`; numbers are rounded."""
    from analysis.tables.forms.frames import frame_tables

    return "\n".join(table_text(table, is_wide=is_wide) for table in frame_tables(frame))


def table_text(table: Table, *, numbers: Literal["left", "right"] = "right", is_wide: bool = False) -> str:
    """The heading, a table for people, what is the same on every row, and which columns are left out."""
    width = shown_width(is_wide=is_wide)
    columns = [Shown(column, [row[place] for row in table.rows]) for place, column in enumerate(table.columns)]
    kept, widths, left_out = fitted(columns, width)
    lines = _folded_text(table.heading, width)
    for block in _blocks(kept, widths, width):
        lines += _block_lines(block, widths, numbers, num_rows=len(table.rows))
    if table.same:
        lines += _folded_text("on every row: " + ", ".join(f"{name} {text}" for name, text in table.same), width)
    if left_out:
        titles = ", ".join(one.title for one in left_out)
        lines += _folded_text(f"not shown in {width} columns: {titles}; a wider terminal or --wide has them", width)
    for flags in (one for one in left_out if one.title == _FLAGS and any(one.texts)):
        lines += _folded_text(_flags_in_words(flags, [one for one in kept if one.is_name]), width)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def sentences_text(sentences: Iterable[str], *, is_wide: bool = False, indent: str = "") -> str:
    """Each sentence on lines of its own, which fold between words; `indent` stands before all but the first of them."""
    width = shown_width(is_wide=is_wide)
    return "".join(f"{line}\n" for sentence in sentences for line in _folded_text(sentence, width, indent))


def _flags_in_words(flags: Shown, names: list[Shown]) -> str:
    """Which rows bear each flag, by name if they are few: a score that misleads is seen at any width."""
    rows: dict[str, list[str]] = {}
    for place, text in enumerate(flags.texts):
        named = " ".join(one.texts[place].strip() for one in names if one.title != _RANK)
        for flag in flags_of(text.strip()):
            rows.setdefault(flag, []).append(named)
    num_rows = len(flags.texts)
    counts = {
        flag: "all rows" if len(rows[flag]) == num_rows else f"{len(rows[flag])} of {num_rows} rows" for flag in rows
    }
    flag_words = (
        f"{flag}: {', '.join(rows[flag]) if len(rows[flag]) <= _FEW else counts[flag]}"
        for flag in FLAGS
        if flag in rows
    )
    return f"flagged {'; '.join(flag_words)}"


def _blocks(columns: list[Shown], widths: dict[Shown, int], width: int | None) -> Iterator[list[Shown]]:
    """All columns in one block if they fit, else the names with as many numbers as fit, then with the next ones."""
    if width is None or total_width([widths[one] for one in columns]) <= width:
        yield columns
        return
    names = telling_columns(columns)
    widest = max((widths[one] for one in columns if one not in names), default=0)
    if total_width([*(widths[one] for one in names), widest]) > width:
        names = [one for one in columns if one.is_name]
    block: list[Shown] = []
    for one in (one for one in columns if one not in names):
        if block and total_width([widths[each] for each in (*names, *block, one)]) > width:
            yield [each for each in columns if each in names or each in block]
            block = []
        block.append(one)
    yield [each for each in columns if each in names or each in block]


def _block_lines(block: list[Shown], widths: dict[Shown, int], numbers: str, *, num_rows: int) -> list[str]:
    titles = [_fold(re.split(r"(?<= )(?! )", one.title), widths[one], 0) for one in block]
    is_bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    height = max(map(len, titles), default=0)
    heads = [[""] * (height - len(title)) + title for title in titles]  # titles stand on the first row
    lines = _side_by_side(block, heads, widths, numbers)
    lines = [f"\x1b[1m{line.rstrip()}\x1b[0m" for line in lines] if is_bold else lines
    for place in range(num_rows):
        cells = [_cell_lines(one, place, widths[one]) for one in block]
        lines += _side_by_side(block, cells, widths, numbers)
    return lines


def _cell_lines(one: Shown, place: int, width: int) -> list[str]:
    """The lines of a cell: a name folds where it must, at signs between letters only where it is too narrow else."""
    text = one.texts[place]
    if not one.is_name:
        return [text]
    lines = _fold(pieces_of(text, LONGEST_PIECE), width, INDENT)
    return lines if max(map(cells_wide, lines)) <= width else _fold(pieces_of(text, 0), width, LEAST_INDENT)


def _side_by_side(block: list[Shown], cells: list[list[str]], widths: dict[Shown, int], numbers: str) -> list[str]:
    """Lines of a row whose cells have one line or more each."""
    lines = []
    for place in range(max(map(len, cells), default=0)):
        parts = []
        for one, texts in zip(block, cells, strict=True):
            text = texts[place] if place < len(texts) else ""
            room = " " * (widths[one] - cells_wide(text))
            parts.append(text + room if one.is_name or numbers == "left" else room + text)
        lines.append((" " * GAP).join(parts))
    return lines


def _fold(pieces: list[str], width: int, indent: int) -> list[str]:
    """Lines of at most this width, if no piece is wider; those after the first are indented."""
    lines = [""]
    for piece in pieces:
        if lines[-1].strip() and cells_wide((lines[-1] + piece).rstrip()) > width:
            lines.append(" " * indent)
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _folded_text(text: str, width: int | None, indent: str = "") -> list[str]:
    from analysis.text import escape_controls

    escaped = escape_controls(text)
    if width is None:
        return [escaped]
    return textwrap.wrap(escaped, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [
        ""
    ]
