"""A table of plain text cells as Markdown, HTML or LaTeX."""

from __future__ import annotations

import html
from dataclasses import dataclass

from analysis.text import breakable, escape_latex, escape_markdown


@dataclass(frozen=True, kw_only=True)
class PlainTable:
    """A heading, column titles and rows of cells; the first `num_names` columns are names, the others numbers."""

    heading: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 1


def plain_markdown(table: PlainTable) -> str:
    """The heading in bold, then a pipe table."""
    rule = [" --- "] * table.num_names + [" ---: "] * (len(table.titles) - table.num_names)
    lines = [_pipe_row(table.titles), f"|{'|'.join(rule)}|", *map(_pipe_row, table.rows)]
    return f"**{escape_markdown(table.heading)}**\n\n" + "\n".join(lines) + "\n"


def plain_html(table: PlainTable) -> str:
    """A fragment: the heading as <h3>, then a table that scrolls by itself; everything escaped."""
    head = "".join(f'<th class="{_align(table, place)}">{html.escape(text)}</th>' for place, text in _cells(table))
    body = "\n".join(f"<tr>{_html_cells(table, row)}</tr>" for row in table.rows)
    return (
        f"<h3>{html.escape(table.heading)}</h3>\n"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n'
    )


def plain_latex(table: PlainTable, *, caption: str) -> str:
    """A booktabs `table`; the heading begins the caption."""
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(f'{table.heading}. {caption}')}}}",
        rf"\begin{{tabular}}{{{''.join(_align(table, place) for place, _ in _cells(table))}}}",
        r"\toprule",
        _latex_row(table.titles),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cells(table: PlainTable) -> list[tuple[int, str]]:
    return list(enumerate(table.titles))


def _align(table: PlainTable, place: int) -> str:
    return "l" if place < table.num_names else "r"


def _pipe_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(escape_markdown, cells)) + " |"


def _html_cells(table: PlainTable, row: tuple[str, ...]) -> str:
    kinds = ["l method" if place == 0 else _align(table, place) for place in range(len(row))]
    return "".join(f'<td class="{kind}">{breakable(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))


def _latex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(escape_latex(cell).replace("–", "--") for cell in cells) + r" \\"
