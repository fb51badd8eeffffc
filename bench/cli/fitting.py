"""Which columns of a table fit a width, and how wide each is: what folds first, what leaves, what repeats in blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.tables.forms.table import Cell, Column

GAP = 2  # spaces between two columns
INDENT, LEAST_INDENT = 2, 1  # of the second line of a name, and of one that folds between letters
_EASY = 24  # letters that a name keeps, if it has them, before columns go
_OF_AN_ENTRY = ("method", "optimizer", "schedule", "knobs")  # titles of columns that together name a row
LONGEST_PIECE = 30  # letters of a name that fold only after spaces, commas and brackets; longer ones at any sign


class Shown:
    """A column of a table as plain text, and how narrow it can be."""

    def __init__(self, column: Column, cells: Sequence[Cell]) -> None:
        from analysis.text import escape_controls

        self.title, self.is_name, self.leaves = escape_controls(column.title), column.is_name, column.leaves
        self.texts = [escape_controls(text) for text in _aligned(cells)]
        self.content = max(map(cells_wide, self.texts), default=0)

    @cached_property
    def whole(self) -> int:
        """Its width if nothing of it folds."""
        return max(self.content, cells_wide(self.title))

    @cached_property
    def full(self) -> int:
        """Its width if the title alone folds, between words."""
        return max(self.content, *map(cells_wide, self.title.split() or [""]))

    @cached_property
    def easy(self) -> int:
        """The width of names that fold, but not by more than they must."""
        return max(self.least, min(self.full, _EASY))

    @cached_property
    def least(self) -> int:
        """Its width where names fold between their parts."""
        return self._folded(LONGEST_PIECE, INDENT)

    @cached_property
    def tight(self) -> int:
        """Its width where names fold at any sign between letters."""
        return self._folded(0, LEAST_INDENT)

    def _folded(self, longest: int, indent: int) -> int:
        if not self.is_name:
            return self.full
        pieces = (cells_wide(piece.rstrip()) for text in self.texts for piece in pieces_of(text, longest))
        return min(self.full, max(max(pieces, default=0) + indent, *map(cells_wide, self.title.split() or [""])))


@dataclass(frozen=True)
class _Level:
    """How narrow columns may be: those that can leave, and those that stay."""

    leaving: Callable[[Shown], int]
    staying: Callable[[Shown], int]


_LEVELS = (
    _Level(lambda one: one.full, lambda one: one.full),
    _Level(lambda one: one.least, lambda one: one.full),
    _Level(lambda one: one.least, lambda one: one.easy),
)
_Fitted = tuple[list["Shown"], dict["Shown", int], list["Shown"]]


def fitted(columns: list[Shown], width: int | None) -> _Fitted:
    """The columns that are shown, the width of each, and those that are left out."""
    if width is None:
        return columns, {one: one.whole for one in columns}, []
    kept, left_out = columns, list[Shown]()
    leaving = sorted((one for one in columns if one.leaves), key=lambda one: one.leaves)
    for gone in (None, *leaving):
        kept = [one for one in kept if one is not gone]
        left_out = [one for one in columns if one not in kept]
        for level in _LEVELS:
            least = {one: (level.leaving if one.leaves else level.staying)(one) for one in kept}
            if total_width(least.values()) <= width:
                return kept, _widened(least, width), left_out
    least: dict[Shown, int] = {}
    joined = _with_one_name(kept)
    least, tight = {one: one.least for one in joined}, {one: one.tight for one in joined}
    for narrowed in ({one: one.least for one in kept}, least, tight):
        if total_width(narrowed.values()) <= width:
            return list(narrowed), _widened(narrowed, width), left_out
    for sizes in (least, tight):  # in blocks, of which each has what tells rows apart
        repeated = {one: sizes[one] for one in telling_columns(joined)}
        room = width - GAP - max((one.full for one in joined if one not in repeated), default=0)
        if total_width(repeated.values()) <= room:
            numbers = sum(one.full + GAP for one in repeated if not one.is_name)
            return joined, sizes | _widened(repeated, min(room, width // 2 + numbers)), left_out
    return joined, tight, left_out


def _with_one_name(columns: list[Shown]) -> list[Shown]:
    """The columns with the names of an entry in one, where the first of them stands."""
    from analysis.tables.forms.table import Column

    names = [one for one in columns if one.title in _OF_AN_ENTRY]
    if len(names) < 2:
        return columns
    joined = (
        ", ".join(filter(None, map(str.strip, texts))) for texts in zip(*(one.texts for one in names), strict=True)
    )
    one_name = Shown(Column(title=", ".join(one.title for one in names), is_name=True), list(joined))
    return [one_name if one is names[0] else one for one in columns if one is names[0] or one not in names]


def total_width(widths: Collection[int]) -> int:
    return sum(widths) + GAP * max(0, len(widths) - 1)


def _widened(widths: dict[Shown, int], width: int) -> dict[Shown, int]:
    """The room that is left, letter by letter for the narrowest of the names that fold, then for titles that unfold."""
    grown = dict(widths)
    room = width - total_width(widths.values())
    while room > 0 and (folded := [one for one in grown if one.is_name and grown[one] < one.full]):
        grown[min(folded, key=lambda one: grown[one])] += 1
        room -= 1
    for one in sorted(grown, key=lambda one: one.whole - grown[one]):
        if (more := one.whole - grown[one]) <= room:
            grown[one] += more
            room -= more
    return grown


def telling_columns(columns: list[Shown]) -> list[Shown]:
    """The names, and as many of the other columns, from the first on, as tell all rows apart if they do not."""
    telling = [one for one in columns if one.is_name]
    num_apart = _num_apart(telling)
    for one in (one for one in columns if not one.is_name):
        if (num := _num_apart([*telling, one])) > num_apart and num_apart < len(one.texts):
            telling, num_apart = [*telling, one], num
    return telling


def _num_apart(columns: list[Shown]) -> int:
    return len(set(zip(*(one.texts for one in columns), strict=True)))


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
    value, interval = max(map(cells_wide, texts)), max(map(cells_wide, ends))
    return [f"{text.rjust(value)} {end.ljust(interval)}" for text, end in zip(texts, ends, strict=True)]


def pieces_of(text: str, longest: int) -> list[str]:
    """Parts of a name between which it may fold: words, of which those above `longest` letters in parts of their own.

    A number is never parted, as 0.5 or 1e-05 is.
    """
    parts: list[str] = []
    for piece in re.split(r"(?<=[ ,(/])(?![ ,])", text):
        parts += re.split(r"(?<=[-_=.:])(?<!\de-)(?<!\d\.)", piece) if cells_wide(piece) > longest else [piece]
    return [part[at : at + LONGEST_PIECE] for part in parts for at in range(0, max(1, len(part)), LONGEST_PIECE)]


def cells_wide(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
