"""A section of the report as data: page text, files and figures, made of plain tables and how to read them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from analysis.figures.of_a_suite import Drawn
from analysis.report.page import Section
from analysis.tables.table import PlainTable, plain_html, plain_markdown
from analysis.text import escape_markdown


@dataclass(frozen=True, kw_only=True)
class Told:
    """A section of the page, the text files that go with it by name, and its figures."""

    section: Section
    files: Mapping[str, str]
    figures: tuple[Drawn, ...]


def told(
    title: str,
    groups: Sequence[tuple[list[PlainTable], str]],
    frames: Mapping[str, pl.DataFrame],
    figures: Sequence[Drawn],
    definitions: Mapping[str, str],
) -> Told | None:
    """A section of tables, each group followed by how to read it; None if no table has a row."""
    shown = [(tables, note) for tables, note in groups if tables]
    if not shown:
        return None
    markdown = [text for tables, note in shown for text in (*map(plain_markdown, tables), escape_markdown(note), "")]
    page = [text for tables, note in shown for text in (*map(plain_html, tables), f"<p>{html.escape(note)}</p>")]
    section = Section(title=title, markdown="\n".join(markdown), html="\n".join(page), definitions=definitions)
    files = {name: frame.write_csv() for name, frame in frames.items() if frame.height}
    return Told(section=section, files=files, figures=tuple(figures))
