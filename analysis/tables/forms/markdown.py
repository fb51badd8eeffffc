"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.tables.forms.table import Cell, Group, Table, text_of
from analysis.text import escape_markdown


def pipe_table(table: Table) -> str:
    """The table without its heading; what is best in bold."""
    rule = "|".join(" --- " if column.is_name else " ---: " for column in table.columns)
    return "\n".join([_row(table.titles), f"|{rule}|", *map(_row, table.rows)]) + "\n"


def table_markdown(table: Table) -> str:
    """The heading in bold, then a pipe table."""
    return f"**{escape_markdown(table.heading)}**\n\n{pipe_table(table)}"


def group_markdown(group: Group) -> str:
    """The tables, then how to read them."""
    return "\n".join([*map(table_markdown, group.tables), escape_markdown(group.note), ""])


def _row(cells: Iterable[Cell]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(cell: Cell) -> str:
    text = escape_markdown(text_of(cell))
    return text if isinstance(cell, str) or not cell.is_best else f"**{text}**"
