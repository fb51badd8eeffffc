"""A section of the report as data: tables with how to read them, the files that go with it, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from analysis.figures.of_a_suite import Drawn
from analysis.labels import Names
from analysis.scores.flags import used_flags
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.html import part
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.named import named_group
from analysis.tables.forms.table import Group


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page: what it shows, the words it uses, and what its files hold, by their names."""

    title: str
    groups: tuple[Group, ...]
    data: Mapping[str, pl.DataFrame | str]
    figures: tuple[Drawn, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)

    def named(self, names: Names) -> Section:
        """The section, in whose tables what has a name is called by it; its files keep the names of suites."""
        return replace(self, groups=tuple(named_group(group, names) for group in self.groups))

    @property
    def markdown(self) -> str:
        """The tables, each group followed by how to read it."""
        return "\n".join(map(group_markdown, self._with_tables))

    @property
    def html(self) -> str:
        """The groups as a fragment of a page."""
        return part("groups", self._with_tables)

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """What the files that are frames hold, if they have a row."""
        return {name: one for name, one in self.data.items() if isinstance(one, pl.DataFrame) and one.height}

    @property
    def files(self) -> dict[str, str]:
        """The text of every file, without those of frames without rows."""
        frames = self.frames
        texts = {name: csv_text(frames[name]) if name in frames else one for name, one in self.data.items()}
        return {name: text for name, text in texts.items() if isinstance(text, str)}

    @property
    def flags(self) -> set[str]:
        """Flags that its tables show."""
        return {flag for frame in self.frames.values() for flag in used_flags(frame)}

    @property
    def is_empty(self) -> bool:
        """Whether no group has a table."""
        return not self._with_tables

    @property
    def _with_tables(self) -> list[Group]:
        return [group for group in self.groups if group.tables]
