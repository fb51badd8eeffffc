"""Tables as LaTeX of booktabs: one way for all of them, in a column of text or over the width of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.tables.forms.table import Cell, Group, IntervalCell, Number, Table, text_of
from analysis.text import escape_latex

NEEDS = "% needs \\usepackage{booktabs}\n"

_BOUNDS = {"≤ ": r"$\leq$ ", "≥ ": r"$\geq$ "}  # before the end of an interval that is censored
_LONGEST_WHOLE_PART = 6  # digits before the point; a longer number is written with a power of ten


@dataclass(frozen=True, kw_only=True)
class Floating:
    """The environment that a table floats in, where to, and what stands before its caption and before its rows."""

    environment: str
    to: str
    opening: tuple[str, ...]
    gap: tuple[str, ...]


IN_COLUMN = Floating(environment="table", to="t", opening=(r"\centering",), gap=())
ON_PAGE = Floating(
    environment="table*",
    to="tp",
    opening=(r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"),
    gap=(r"\vspace{4pt}",),
)

# As ON_PAGE, in one column.
SMALL_IN_COLUMN = replace(ON_PAGE, environment="table")

# For more columns than ON_PAGE holds: letters an eighth smaller.
DENSE_ON_PAGE = replace(ON_PAGE, opening=(r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"))


def floated(
    body: tuple[str, str, Iterable[str]],
    *,
    caption: str,
    label: str = "",
    floating: Floating = IN_COLUMN,
    notes: Sequence[str] = (),
) -> str:
    """A table of these columns, head and rows, all of it LaTeX already; `notes` go below."""
    columns, head, rows = body
    inner = list(rows)
    lines = [
        rf"\begin{{{floating.environment}}}[{floating.to}]",
        *floating.opening,
        rf"\caption{{{caption}}}",
        *([rf"\label{{{label}}}"] if label else []),
        *floating.gap,
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        *([r"\midrule", *inner] if inner else []),
        r"\bottomrule",
        r"\end{tabular}",
        *(["", r"\smallskip", rf"\parbox{{\linewidth}}{{\raggedright {' '.join(notes)}}}"] if notes else []),
        rf"\end{{{floating.environment}}}",
    ]
    return "\n".join(lines) + "\n"


def table_latex(table: Table, *, caption: str, label: str = "", floating: Floating = IN_COLUMN) -> str:
    """The table; its heading begins the caption, which is plain text."""
    sides = "".join(column.side for column in table.columns)
    body = sides, row_latex(table.titles), map(row_latex, table.rows)
    return floated(body, caption=escape_latex(f"{table.heading}. {caption}"), label=label, floating=floating)


def group_latex(group: Group, *, label: str = "", floating: Floating = IN_COLUMN) -> str:
    """The tables, each with how to read it in its caption, and with the label, numbered from the second on."""
    labels = (label and f"tab:{label}{f'-{place}' if place > 1 else ''}" for place in range(1, len(group.tables) + 1))
    drawn = (
        table_latex(table, caption=group.note, label=one, floating=floating)
        for table, one in zip(group.tables, labels, strict=True)
    )
    return "\n".join(drawn)


def stacked_title(title: str, side: str) -> str:
    """A column's title, a word a line, that an S column takes as it is."""
    words = r"\\".join(map(escape_latex, title.split()))
    return rf"{{\shortstack[{side}]{{{words}}}}}"


def row_latex(cells: Iterable[Cell]) -> str:
    """A line of a table."""
    return line_latex(map(cell_latex, cells))


def line_latex(cells: Iterable[str]) -> str:
    """A line of cells that are LaTeX already."""
    return " & ".join(cells) + r" \\"


def cell_latex(cell: Cell) -> str:
    """What a cell holds; in bold what is best."""
    if isinstance(cell, IntervalCell):
        return "--" if cell.ends is None else interval_latex(*cell.ends)
    if isinstance(cell, Number):
        interval = "" if cell.ends is None else f" {interval_latex(*cell.ends)}"
        text = f"{escape_latex(cell.before)}{' ' * bool(cell.before)}{scientific(cell.digits)}"
        text += f"{escape_latex(cell.mark)}{interval}"
    else:
        text = escape_latex(text_of(cell))
    return text if isinstance(cell, str) or not cell.is_best else rf"\textbf{{{text}}}"


def interval_latex(low: str, high: str) -> str:
    """An interval; its brackets can't be taken for those of an option."""
    return f"{{[}}{scientific(low)}, {scientific(high)}{{]}}"


def scientific(text: str) -> str:
    """A number as text, as math that LaTeX shows: powers of ten written out, infinity, a dash for none, bounds."""
    if text[:2] in _BOUNDS:
        return f"{_BOUNDS[text[:2]]}{scientific(text[2:])}"
    plain = text.removeprefix("-")
    sign = "-" if plain != text else ""
    if plain in ("", "–", "nan", "None"):
        return "--"
    if plain == "inf":
        return rf"${sign}\infty$"
    if is_long(plain) and "e" not in plain:
        plain = f"{float(plain):.2e}"
    digits, _, power = plain.partition("e")
    return rf"${sign}{digits} \times 10^{{{int(power)}}}$" if power else sign + digits


def is_long(plain: str) -> bool:
    """True of a number without sign that has more digits before the point than a table shows."""
    return len(plain.partition(".")[0]) > _LONGEST_WHOLE_PART
