"""About how wide the columns of a paper's tables are, and what that makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from analysis.figures.style.columns import COLUMN_INCHES, PAGE_INCHES
from analysis.tables.forms.latex import DENSE_ON_PAGE, ON_PAGE, SMALL_IN_COLUMN, Floating, is_long
from analysis.tables.forms.table import Table
from analysis.text import without_marks

# Points, in \footnotesize.
PAGE, COLUMN = 72 * PAGE_INCHES, 72 * COLUMN_INCHES
FOLDED = 200.0  # of a column of lists, such as settings, that are longer
GAP = 8.0  # between two columns
LETTER, TINY_LETTER = 4.1, 2.6
DENSE_PAGE = 1.33 * PAGE  # in the smaller type with narrower gaps of dense tables; 1.36 were seen to fill it


def floating_of_width(points: float) -> Floating:
    """A column's, where so wide a table fits into it, else a page's, dense where it is wider than that."""
    return SMALL_IN_COLUMN if points <= COLUMN else ON_PAGE if points <= PAGE else DENSE_ON_PAGE


def floating_of(tables: Sequence[Table]) -> Floating:
    """The floating environment that the widest of the tables needs."""
    return floating_of_width(max(map(_width_of_table, tables), default=0.0))


def _width_of_table(table: Table) -> float:
    """Points of the table, its titles a word a line."""
    return sum(_widths_of_columns(table))


def _widths_of_columns(table: Table) -> list[float]:
    widths = (width_of([*title.split(), *of]) for title, of in zip(table.titles, _texts_of_columns(table), strict=True))
    folded = zip(widths, map(_is_of_lists, _texts_of_columns(table)), strict=True)
    return [min(width, FOLDED) if is_of_lists else width for width, is_of_lists in folded]


def sides_of(table: Table) -> str:
    """The columns as LaTeX has them; those of long lists break them."""
    columns = zip(table.columns, _texts_of_columns(table), strict=True)
    return "".join(
        name_column(width_of(texts), FOLDED) if _is_of_lists(texts) and width_of(texts) > FOLDED else column.side
        for column, texts in columns
    )


def _texts_of_columns(table: Table) -> list[Sequence[str]]:
    return list(zip(*table.texts, strict=True)) if table.rows else [() for _ in table.columns]


def _is_of_lists(texts: Sequence[str]) -> bool:
    return any(", " in text for text in texts)


def page_wide(table: Table) -> list[Table]:
    """The table in parts that a page is wide enough for, each with all columns of names and at least one other."""
    widths = _widths_of_columns(table)
    names = [place for place, column in enumerate(table.columns) if column.is_name]
    room = DENSE_PAGE - sum(widths[place] for place in names)
    parts, left = list[list[int]](), 0.0
    for place, width in enumerate(widths):
        if place in names:
            continue
        if not parts or width > left:
            parts.append([])
            left = room
        parts[-1].append(place)
        left -= width
    return [_of_columns(table, sorted(names + part)) for part in parts] if len(parts) > 1 else [table]


def _of_columns(table: Table, places: Sequence[int]) -> Table:
    return replace(
        table,
        columns=tuple(table.columns[place] for place in places),
        rows=tuple(tuple(row[place] for place in places) for row in table.rows),
    )


def name_column(wanted: float, room: float) -> str:
    """A column as wide as its names, or where the room in points is less, one that breaks them."""
    return "l" if wanted <= room else rf">{{\raggedright\arraybackslash}}p{{{room - GAP:.0f}pt}}"


def number_column(texts: Sequence[str]) -> str:
    """An S column for the numbers among the texts."""
    plain = list(filter(is_plain, texts))
    whole = max((len(text.lstrip("-").partition(".")[0]) for text in plain), default=1)
    fraction = max((len(text.partition(".")[2]) for text in plain), default=0)
    sign = "-" if any(text.startswith("-") for text in plain) else ""
    return f"S[table-format={sign}{whole}.{fraction}]"


def width_of(texts: Iterable[str]) -> float:
    """About the points that the widest of the texts takes in a table, with the gap to the next column."""
    printed = (", ".join(map(_as_printed, without_marks(text).split(", "))) for text in texts)
    return max(map(len, printed), default=0) * LETTER + GAP


def _as_printed(text: str) -> str:
    """As many letters as the number takes: a long one is shortened."""
    is_long = re.fullmatch(r"[\[-]*\d{7,}(\.\d+)?[\]†]*", text) is not None
    return "-1.00x10-308]" if is_long else text


def is_plain(text: str) -> bool:
    """True of a number that an S column aligns."""
    plain = text.removeprefix("-")
    return re.fullmatch(r"\d+(\.\d+)?", plain) is not None and not is_long(plain)
