"""Tables in which methods and workloads are called by their labels."""

from __future__ import annotations

import dataclasses

from analysis.labels import Names
from analysis.tables.forms.table import Cell, Group, Name, Table


def named_table(table: Table, names: Names) -> Table:
    """The table, in whose heading, titles and cells what has a name is called by it."""
    if not names.of:
        return table
    return dataclasses.replace(
        table,
        heading=names.in_text(table.heading),
        columns=tuple(dataclasses.replace(one, title=names.in_text(one.title)) for one in table.columns),
        rows=tuple(tuple(_named_cell(cell, names) for cell in row) for row in table.rows),
        same=tuple((title, names.in_text(text)) for title, text in table.same),
    )


def named_group(group: Group, names: Names) -> Group:
    """The group, its tables and how to read them, as `named_table`."""
    return Group(tables=tuple(named_table(one, names) for one in group.tables), note=names.in_text(group.note))


def _named_cell(cell: Cell, names: Names) -> Cell:
    if isinstance(cell, str):
        return names.in_text(cell)
    return dataclasses.replace(cell, text=names.in_text(cell.text)) if isinstance(cell, Name) else cell
