"""A table as data, whatever it is written as: titled columns, and cells that know value, interval, marks and flags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.scores.flags import word_of
from analysis.text import interval_decimals, number

NOTHING = "–"


@dataclass(frozen=True, kw_only=True)
class Name:
    """Words, in bold if they name the best."""

    text: str
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class Number:
    """A value, if there is one, with the ends of its interval, if it has one.

    `decimals` are digits after the point where there is no interval, whose width decides else (`interval_decimals`);
    None: three significant digits always, as learning rates have. `before` and `mark` stand around the value.
    `censored`: which ends are those of what was tried, as analysis.scores.seeds.scales.Interval has it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    censored: str = ""
    before: str = ""
    mark: str = ""
    is_best: bool = False

    @property
    def digits(self) -> str:
        """The value alone, or a dash."""
        return digits_of(self.value, self._places)

    @property
    def ends(self) -> tuple[str, str] | None:
        """The ends of the interval as text; one that is censored as what it is at most, or at least."""
        if self.low is None:
            return None
        low, high = digits_of(self.low, self._places), digits_of(self.high, self._places)
        at_most, at_least = (self.censored in (end, "both") for end in ("low", "high"))
        return f"{'≤ ' if at_most else ''}{low}", f"{'≥ ' if at_least else ''}{high}"

    @property
    def _places(self) -> int | None:
        return None if self.decimals is None else interval_decimals(self.low, self.high, self.decimals)

    @property
    def text(self) -> str:
        """Value and interval."""
        interval = "" if self.ends is None else f" {interval_text(*self.ends)}"
        return f"{self.before}{self.digits}{self.mark}{interval}"


@dataclass(frozen=True, kw_only=True)
class IntervalCell(Number):
    """The interval of a value that stands in another column."""

    value: float | None = None

    @property
    def text(self) -> str:
        return NOTHING if self.ends is None else interval_text(*self.ends)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Flags of analysis.scores.flags."""

    flags: tuple[str, ...]
    is_best: bool = False

    @property
    def text(self) -> str:
        """The flags in words."""
        return ", ".join(map(word_of, self.flags))


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What only a page shows: the text of an SVG element."""

    svg: str
    is_best: bool = False
    text: str = ""


Cell = str | Name | Number | Flags | Drawing


@dataclass(frozen=True, kw_only=True)
class Column:
    """The title, with the unit, and whether what stands below are names, to the left, or numbers, to the right.

    `name` is what a page's styles call it; `ends`, if any, are the values at the ends of an axis that drawings share.
    `leaves`: of the columns that a narrow terminal leaves out, the one with the least goes first; 0: it stays.
    """

    title: str
    is_name: bool
    name: str = ""
    ends: tuple[str, str] | None = None
    leaves: int = 0

    @property
    def side(self) -> str:
        """l or r."""
        return "l" if self.is_name else "r"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A heading, columns, and rows with a cell a column. `kind`: what a page's styles call the table.

    `same`: titles and texts of columns that say the same on every row, and so are none of the columns.
    """

    heading: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: str = ""
    same: tuple[tuple[str, str], ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of the columns."""
        return tuple(column.title for column in self.columns)

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The rows as plain text."""
        return tuple(tuple(map(text_of, row)) for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tables, and how to read them in plain text."""

    tables: tuple[Table, ...]
    note: str


def columns(*titles: str, num_names: int = 1) -> tuple[Column, ...]:
    """Columns of which the first `num_names` hold names, the others numbers."""
    return tuple(
        Column(title=title, is_name=place < num_names, name="" if place else "method")
        for place, title in enumerate(titles)
    )


def in_parts(names: Sequence[str], size: int) -> Iterator[tuple[Sequence[str], str]]:
    """So many of the names a table at most, and what its heading ends in: from the second on that it is continued."""
    for start in range(0, len(names), size):
        yield names[start : start + size], ", continued" if start else ""


def text_of(cell: Cell) -> str:
    """A cell as plain text."""
    return cell if isinstance(cell, str) else cell.text


def digits_of(value: float | None, decimals: int | None) -> str:
    """The value with these decimals, or three significant digits for None; a dash where there is no value."""
    if value is None:
        return NOTHING
    return f"{value:.3g}" if decimals is None else number(value, decimals)


def plain_cell(value: object) -> Cell:
    """Any value of a frame: numbers in three significant digits, a dash for null."""
    return NOTHING if value is None else Number(value=value) if isinstance(value, float) else str(value)


def interval_text(low: str, high: str, *, is_open: tuple[bool, bool] = (False, False)) -> str:
    """An interval as text; round brackets where an end is open."""
    return f"{'(' if is_open[0] else '['}{low}, {high}{')' if is_open[1] else ']'}"
