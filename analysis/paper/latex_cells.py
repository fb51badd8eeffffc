"""Cells of LaTeX tables: names and numbers as LaTeX shows them, and about how much room they take."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from analysis.figures.columns import PAGE_INCHES
from analysis.tables.leaderboard import TIE_MARK
from analysis.text import escape_latex

# Points, in \footnotesize.
PAGE = 72 * PAGE_INCHES
GAP = 8.0  # between two columns
LETTER, TINY_LETTER = 4.1, 2.6

LONGEST_WORD = 18

_LONGEST_WHOLE_PART = 6  # digits before the point; a longer number is written with a power of ten
_BREAKS = "_=/"
_SYMBOLS = {
    "×": r"$\times$", "–": "--", "—": "---", "†": r"\dag{}", "±": r"$\pm$", "√": r"$\sqrt{}$", "≤": r"$\leq$",
    "≥": r"$\geq$", "−": "$-$", "∞": r"$\infty$", "…": r"\dots{}", "‘": "`", "’": "'", "“": "``", "”": "''",
    "▽": r"$\bigtriangledown$", "△": r"$\bigtriangleup$", "○": r"$\circ$", "●": r"$\bullet$", "→": r"$\rightarrow$",
    "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip


def latex_name(text: str) -> str:
    """`text` escaped for running text and cells; letters beyond Latin 1 by number.

    May break after _ = and /, and where as many as LONGEST_WORD letters go without a break.
    """
    parts, words, unbroken = [], " ".join(text.split()), 0
    for letter, after in zip(words, (words + " ")[1:], strict=True):
        is_known = letter.isprintable() and ord(letter) < 0x100
        plain = _SYMBOLS[letter] if letter in _SYMBOLS else letter if letter == " " else escape_latex(letter)
        plain = plain if is_known or letter in _SYMBOLS else f"U+{ord(letter):04X}"
        unbroken = 0 if letter in " -" else unbroken + (1 if is_known else 6)
        breaks = after != " " and (unbroken >= LONGEST_WORD or (letter in _BREAKS and after.isalnum()))
        unbroken = 0 if breaks else unbroken
        parts.append(plain + (r"\allowbreak{}" if breaks else ""))
    return "".join(parts)


def scientific(text: str) -> str:
    """A number as text, as math that LaTeX shows: powers of ten written out, infinity, a dash for none."""
    plain = text.removeprefix("-")
    sign = "-" if plain != text else ""
    if plain in ("", "–", "nan", "None"):
        return "--"
    if plain == "inf":
        return rf"${sign}\infty$"
    if len(plain.partition(".")[0]) > _LONGEST_WHOLE_PART and "e" not in plain:
        plain = f"{float(plain):.2e}"
    digits, _, power = plain.partition("e")
    return rf"${sign}{digits} \times 10^{{{int(power)}}}$" if power else sign + digits


def name_column(wanted: float, room: float) -> str:
    """A column as wide as its names, or where the room in points is less, one that breaks them."""
    return "l" if wanted <= room else rf">{{\raggedright\arraybackslash}}p{{{room - GAP:.0f}pt}}"


def number_column(cells: Sequence[str]) -> str:
    """An S column for the numbers among the cells, which may bear TIE_MARK."""
    plain = [text for text in (cell.removesuffix(TIE_MARK) for cell in cells) if is_plain(text)]
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
    is_number = re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
    return is_number and math.isfinite(float(text)) and len(text.partition(".")[0]) <= _LONGEST_WHOLE_PART + 1
