"""The report of a suite's adaptive searches: answers, and every decision with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.figures.of_a_suite import Drawn
from analysis.report.report import Chapter, Report, require_rows
from analysis.report.search import (
    FRONT,
    SearchChapter,
    answers_group,
    chapter_of,
    edge_figures,
    front_group,
    search_chapters,
    search_definitions,
    search_sentences,
)
from analysis.subject import SearchSubject
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.html import part
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.table import Group

_ANSWERS = "Answers"


@dataclass(frozen=True, kw_only=True)
class SearchReport(Report):
    """As Report has it."""

    subject: SearchSubject

    def check(self) -> None:
        require_rows(self.subject.answers, "no round of a search is finished")

    @cached_property
    def answers(self) -> pl.DataFrame:
        """The answers, their methods and workloads called by their labels."""
        return self.names.in_frame(self.subject.answers)

    @cached_property
    def group(self) -> Group:
        """The tables of answers."""
        return answers_group(self.answers)

    @cached_property
    def front(self) -> Group:
        """The tables of fronts; none where no sampler has two objectives."""
        return front_group(self.names.in_frame(self.subject.front))

    @cached_property
    def searches(self) -> Sequence[SearchChapter]:
        """What each search asked for and why."""
        return search_chapters(self.answers, self.names.in_frame(self.subject.trail))

    @cached_property
    def lead(self) -> list[str]:
        return search_sentences(self.answers)

    @cached_property
    def chapters(self) -> list[Chapter]:
        groups = {_ANSWERS: self.group} | ({FRONT: self.front} if self.front.tables else {})
        tables = (
            Chapter(title=title, html=part("answers", group), markdown=group_markdown(group))
            for title, group in groups.items()
        )
        return [*tables, *map(chapter_of, self.searches)]

    @property
    def definitions(self) -> Mapping[str, str]:
        return search_definitions(self.answers, str(self.subject.search.get("sampler", "")), self.subject.rules)

    def files(self) -> dict[str, str]:
        answers, trail, front = self.subject.answers, self.subject.trail, self.subject.front
        return {
            "search.md": group_markdown(self.group),
            "search.csv": csv_text(answers),
            "search.json": answers.write_json() + "\n",
            "trail.csv": csv_text(trail),
        } | ({"front.csv": csv_text(front)} if front.height else {})

    def drawn(self) -> list[tuple[str, Drawn]]:
        edges = [(_ANSWERS, one) for one in edge_figures(self.subject.answers)]
        return edges + [(search.title, search.drawn) for search in self.searches]
