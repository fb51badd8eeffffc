"""Names and numbers as text that LaTeX and Markdown show as it is meant."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from analysis.formula import plain_formula

LONGEST_WORD = 18  # letters that LaTeX need not break
_LEAST_SHOWN = 1e-5  # of half a width, in two digits and six decimals

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "†": r"\dag{}", "‡": r"\ddag{}", "±": r"$\pm$", "×": r"$\times$", "–": "--", "—": "---",
    "√": r"$\sqrt{}$", "≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "∞": r"$\infty$", "…": r"\dots{}",
    "‘": "`", "’": "'", "“": "``", "”": "''", "▽": r"$\bigtriangledown$", "△": r"$\bigtriangleup$",
    "○": r"$\circ$", "●": r"$\bullet$", "→": r"$\rightarrow$", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
_LATEX_BREAKS = "_=/"
_MATH_FROM, _MATH_TO = "\ue000", "\ue001"  # around a formula within text that will be escaped
_MARKED = re.compile(f"{_MATH_FROM}([^{_MATH_FROM}{_MATH_TO}]*){_MATH_TO}")


def marked_math(formula: str) -> str:
    """A formula, marked so that it stays one where the text that it stands in is escaped for LaTeX."""
    return f"{_MATH_FROM}{formula}{_MATH_TO}"


def without_marks(text: str) -> str:
    """The text, its marked formulas as plain text: about as many letters as are seen of it."""
    return _MARKED.sub(lambda match: _plain(match[1]) or match[0], text)


def escape_latex(text: str) -> str:
    """Safe in running text and table cells; letters beyond Latin 1 that have no command are given by number.

    Formulas that `marked_math` marked stay; any other text between its marks is escaped.
    """
    return _around_formulas(" ".join(text.split()), lambda part: "".join(map(_latex_letter, part)))


def breakable_latex(text: str) -> str:
    """As `escape_latex`; a line may break after _ = and /, and after LONGEST_WORD letters without a break."""
    return _around_formulas(" ".join(text.split()), _breakable)


def _around_formulas(text: str, escape: Callable[[str], str]) -> str:
    parts = _MARKED.split(text)  # text, formula, text, ..., text
    formulas = [f"${one}$" if _plain(one) else escape(marked_math(one)) for one in parts[1::2]]
    return "".join(part for pair in zip(map(escape, parts[::2]), [*formulas, ""], strict=True) for part in pair)


def _plain(formula: str) -> str:
    """A formula as plain text; empty where it holds more than a formula may."""
    try:
        return plain_formula(formula)
    except ValueError:
        return ""


def _breakable(words: str) -> str:
    parts, unbroken = [], 0
    for letter, after in zip(words, (words + " ")[1:], strict=True):
        unbroken = 0 if letter in " -" else unbroken + (1 if _is_latin(letter) else 6)
        breaks = after != " " and (unbroken >= LONGEST_WORD or (letter in _LATEX_BREAKS and after.isalnum()))
        unbroken = 0 if breaks else unbroken
        parts.append(_latex_letter(letter) + (r"\allowbreak{}" if breaks else ""))
    return "".join(parts)


def _latex_letter(letter: str) -> str:
    if letter in _LATEX:
        return _LATEX[letter]
    return letter if _is_latin(letter) else f"U+{ord(letter):04X}"


def _is_latin(letter: str) -> bool:
    return letter.isprintable() and ord(letter) < 0x100


def escape_markdown(text: str) -> str:
    """Safe in a pipe table of a renderer that also passes HTML on."""
    escaped = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_controls(text: str) -> str:
    """Text that can't steer a terminal: letters that don't print, as escapes and line breaks, in Python's notation."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def counted(number: int, noun: str, one: str = "one") -> str:
    """One run, 2 runs, 2 entries; `one` is what 1 is called."""
    several = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{one} {noun}" if number == 1 else f"{number:,} {several}"


def number(value: float | None, decimals: int) -> str:
    """Fixed decimals; an en dash where there is nothing."""
    return "–" if value is None else f"{value:.{decimals}f}".replace("-0." + "0" * decimals, "0." + "0" * decimals)


def decimals(values: Iterable[float], significant: int) -> int:
    """Decimals, 6 at most, that show the largest of the finite values in so many significant digits."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return significant - 1 if largest == 0 else max(0, min(6, significant - 1 - math.floor(math.log10(largest))))


def interval_decimals(low: float | None, high: float | None, otherwise: int) -> int:
    """Decimals for a value and the ends of its interval: half its width in two significant digits.

    `otherwise` where there is no interval, or one of no width that six decimals show.
    """
    half = 0.0 if low is None or high is None else (high - low) / 2
    return decimals([half], 2) if _LEAST_SHOWN <= half < math.inf else otherwise


def lr_text(lr: float) -> str:
    """A learning rate in three significant digits."""
    return f"{lr:.3g}"


def entry_name(label: str) -> str:
    """The name that a label such as 'window_softmax(width=8)' starts with."""
    return label.partition("(")[0]
