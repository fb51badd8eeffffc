"""Tables for a terminal of any width: numbers are whole, names fold between words, and the least important columns go.

A table that is too wide folds its titles, then its names, then loses columns in the order of `Column.leaves`, which a
line below it names; where that is not enough, its numbers stand in several blocks that repeat the names.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from analysis.scores.flags import FLAGS, flags_of

if TYPE_CHECKING:
    import polars

    from analysis.tables.forms.table import Cell, Column, Table

_GAP = 2  # spaces between two columns
_INDENT = 2  # of the second line of a name
_EASY = 24  # letters that a name keeps, if it has them, before columns go
_FLAGS = "flags"  # the title of the column that says what makes a row misleading
_FEW = 3  # rows with a flag that are named, and not counted
_LONGEST_PIECE = 30  # letters of a name that fold only after spaces, commas and brackets; longer ones at any sign


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
    columns = [_Shown(column, [row[place] for row in table.rows]) for place, column in enumerate(table.columns)]
    kept, widths = _fitted(columns, width)
    lines = _folded_text(table.heading, width)
    for block in _blocks(kept, widths, width):
        lines += _block_lines(block, widths, numbers, num_rows=len(table.rows))
    if table.same:
        lines += _folded_text("on every row: " + ", ".join(f"{name} {text}" for name, text in table.same), width)
    if left_out := [one.title for one in columns if one not in kept]:
        words = f"not shown in {width} columns: {', '.join(left_out)}; a wider terminal or --wide has them"
        lines += _folded_text(words, width)
    for flags in (one for one in columns if one.title == _FLAGS and one not in kept and any(one.texts)):
        lines += _folded_text(_flags_in_words(flags, [one for one in kept if one.is_name]), width)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _flags_in_words(flags: _Shown, names: list[_Shown]) -> str:
    """Which rows bear each flag, by name if they are few: a score that misleads is seen at any width."""
    rows: dict[str, list[str]] = {}
    for place, text in enumerate(flags.texts):
        named = " ".join(one.texts[place].strip() for one in names if one.title != "rank")
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


class _Shown:
    """A column of a table as plain text, and how narrow it can be."""

    def __init__(self, column: Column, cells: Sequence[Cell]) -> None:
        from analysis.text import escape_controls

        self.title, self.is_name, self.leaves = escape_controls(column.title), column.is_name, column.leaves
        self.texts = [escape_controls(text) for text in _aligned(cells)]
        self.content = max(map(_length, self.texts), default=0)

    @cached_property
    def full(self) -> int:
        """Its width with a title that folds at spaces alone."""
        return max(self.content, *map(_length, self.title.split() or [""]))

    @cached_property
    def snug(self) -> int:
        """Its width with a title that folds after underscores too."""
        return max(self.content, *map(_length, _title_pieces(self.title)))

    @cached_property
    def easy(self) -> int:
        """The width of names that fold, but not by more than they must."""
        return max(self.least, min(self.snug, _EASY))

    @cached_property
    def least(self) -> int:
        """Its width where names fold wherever they can."""
        if not self.is_name:
            return self.snug
        pieces = (_length(piece.rstrip()) for text in self.texts for piece in _pieces(text))
        longest = max(pieces, default=0) + _INDENT
        return min(self.snug, max(longest, *map(_length, _title_pieces(self.title))))


@dataclass(frozen=True)
class _Level:
    """How narrow columns may be: those that can leave, and those that stay."""

    leaving: Callable[[_Shown], int]
    staying: Callable[[_Shown], int]


_LEVELS = (
    _Level(lambda one: one.full, lambda one: one.full),
    _Level(lambda one: one.snug, lambda one: one.snug),
    _Level(lambda one: one.least, lambda one: one.snug),
    _Level(lambda one: one.least, lambda one: one.easy),
)


def _fitted(columns: list[_Shown], width: int | None) -> tuple[list[_Shown], dict[_Shown, int]]:
    """The columns that are shown, and the width of each."""
    if width is None:
        return columns, {one: one.full for one in columns}
    kept = columns
    leaving = sorted((one for one in columns if one.leaves), key=lambda one: one.leaves)
    for gone in (None, *leaving):
        kept = [one for one in kept if one is not gone]
        for level in _LEVELS:
            least = {one: (level.leaving if one.leaves else level.staying)(one) for one in kept}
            if _total(least.values()) <= width:
                return kept, _widened(least, width)
    least = {one: one.least for one in kept}
    return kept, _widened(least, width) if _total(least.values()) <= width else least


def _total(widths: Collection[int]) -> int:
    return sum(widths) + _GAP * max(0, len(widths) - 1)


def _widened(widths: dict[_Shown, int], width: int) -> dict[_Shown, int]:
    """The room that is left, letter by letter for the narrowest of the names that fold, then for titles that unfold."""
    grown = dict(widths)
    room = width - _total(widths.values())
    while room > 0 and (folded := [one for one in grown if one.is_name and grown[one] < one.full]):
        grown[min(folded, key=lambda one: grown[one])] += 1
        room -= 1
    for one in sorted(grown, key=lambda one: one.full - grown[one]):
        if (more := one.full - grown[one]) <= room:
            grown[one] += more
            room -= more
    return grown


def _blocks(columns: list[_Shown], widths: dict[_Shown, int], width: int | None) -> Iterator[list[_Shown]]:
    """All columns in one block if they fit, else the names with as many numbers as fit, then with the next ones."""
    if width is None or _total([widths[one] for one in columns]) <= width:
        yield columns
        return
    names = [one for one in columns if one.is_name]
    block: list[_Shown] = []
    for one in (one for one in columns if not one.is_name):
        if block and _total([widths[each] for each in (*names, *block, one)]) > width:
            yield [each for each in columns if each in names or each in block]
            block = []
        block.append(one)
    yield [each for each in columns if each in names or each in block]


def _block_lines(block: list[_Shown], widths: dict[_Shown, int], numbers: str, *, num_rows: int) -> list[str]:
    titles = [_fold(_title_pieces(one.title) if widths[one] < _length(one.title) else [one.title], widths[one], 0)
              for one in block]  # fmt: skip
    is_bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    height = max(map(len, titles), default=0)
    heads = [[""] * (height - len(title)) + title for title in titles]  # titles stand on the first row
    lines = _side_by_side(block, heads, widths, numbers)
    lines = [f"\x1b[1m{line.rstrip()}\x1b[0m" for line in lines] if is_bold else lines
    for place in range(num_rows):
        cells = [_fold(_pieces(one.texts[place]), widths[one], _INDENT) if one.is_name else [one.texts[place]]
                 for one in block]  # fmt: skip
        lines += _side_by_side(block, cells, widths, numbers)
    return lines


def _side_by_side(block: list[_Shown], cells: list[list[str]], widths: dict[_Shown, int], numbers: str) -> list[str]:
    """Lines of a row whose cells have one line or more each."""
    lines = []
    for place in range(max(map(len, cells), default=0)):
        parts = []
        for one, texts in zip(block, cells, strict=True):
            text = texts[place] if place < len(texts) else ""
            room = " " * (widths[one] - _length(text))
            parts.append(text + room if one.is_name or numbers == "left" else room + text)
        lines.append((" " * _GAP).join(parts))
    return lines


def _aligned(cells: Sequence[Cell]) -> list[str]:
    """Texts of a column, with intervals below each other, behind values that end below each other."""
    from analysis.tables.forms.table import IntervalCell, Number, interval_text, text_of

    texts, ends = [], []
    for cell in cells:
        both = cell.ends if isinstance(cell, Number) and not isinstance(cell, IntervalCell) else None
        ends.append("" if both is None else interval_text(*both))
        texts.append(text_of(cell).removesuffix(f" {ends[-1]}"))
    if not any(ends):
        return texts
    value, interval = max(map(_length, texts)), max(map(_length, ends))
    return [f"{text.rjust(value)} {end.ljust(interval)}" for text, end in zip(texts, ends, strict=True)]


def _title_pieces(title: str) -> list[str]:
    return re.split(r"(?<=[ _])(?![ _])", title)


def _pieces(text: str) -> list[str]:
    """Parts of a name between which it may fold."""
    parts: list[str] = []
    for piece in re.split(r"(?<=[ ,(/])(?![ ,])", text):
        parts += re.split(r"(?<=[-_=.:])", piece) if _length(piece) > _LONGEST_PIECE else [piece]
    return [part[at : at + _LONGEST_PIECE] for part in parts for at in range(0, max(1, len(part)), _LONGEST_PIECE)]


def _fold(pieces: list[str], width: int, indent: int) -> list[str]:
    """Lines of at most this width, if no piece is wider; those after the first are indented."""
    lines = [""]
    for piece in pieces:
        if lines[-1].strip() and _length((lines[-1] + piece).rstrip()) > width:
            lines.append(" " * indent)
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _folded_text(text: str, width: int | None) -> list[str]:
    from analysis.text import escape_controls

    escaped = escape_controls(text)
    return [escaped] if width is None else textwrap.wrap(escaped, width, break_long_words=False) or [""]


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
