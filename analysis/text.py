"""Names and numbers as text that LaTeX, Markdown and HTML show as it is meant."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "†": r"\dag{}", "±": r"$\pm$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Safe in running text and table cells."""
    return "".join(_LATEX_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Safe in a pipe table of a renderer that also passes HTML on."""
    escaped = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def breakable(text: str) -> str:
    """Escaped for HTML; a line may break after an underscore."""
    return html.escape(text).replace("_", "_<wbr>")


def counted(number: int, noun: str) -> str:
    """One run, 2 runs."""
    return f"one {noun}" if number == 1 else f"{number:,} {noun}s"


def number(value: float | None, decimals: int) -> str:
    """Fixed decimals; an en dash where there is nothing."""
    return "–" if value is None else f"{value:.{decimals}f}".replace("-0." + "0" * decimals, "0." + "0" * decimals)


def decimals(values: Iterable[float], significant: int) -> int:
    """Decimals, 6 at most, that show the largest of the finite values in so many significant digits."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return significant - 1 if largest == 0 else max(0, min(6, significant - 1 - math.floor(math.log10(largest))))


def lr_text(lr: float) -> str:
    """A learning rate in three significant digits."""
    return f"{lr:.3g}"
