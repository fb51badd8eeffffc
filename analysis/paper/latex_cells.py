"""Columns of LaTeX tables: about how much room their cells take, and how they align."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from analysis.figures.columns import PAGE_INCHES
from analysis.tables.latex import is_long

# Points, in \footnotesize.
PAGE = 72 * PAGE_INCHES
GAP = 8.0  # between two columns
LETTER, TINY_LETTER = 4.1, 2.6


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
    shown = (", ".join(map(_as_shown, text.split(", "))) for text in texts)
    return max(map(len, shown), default=0) * LETTER + GAP


def _as_shown(text: str) -> str:
    """As many letters as the number takes: a long one is shortened."""
    is_long = re.fullmatch(r"[\[-]*\d{7,}(\.\d+)?[\]†]*", text) is not None
    return "-1.00x10-308]" if is_long else text


def is_plain(text: str) -> bool:
    """True of a number that an S column aligns."""
    plain = text.removeprefix("-")
    return re.fullmatch(r"\d+(\.\d+)?", plain) is not None and not is_long(plain)
