"""The report of a box of knobs: board, curves, tables, and every trial with its place in the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from analysis.figures.of_a_suite import Drawn
from analysis.report.box import box_sections, box_sentences
from analysis.report.leaderboard import flags_html
from analysis.report.report import Chapter, Report, of_sections, require_rows
from analysis.report.section import Section
from analysis.scores.flags import used_flags
from analysis.subject import BoxSubject
from analysis.tables.box import board_group
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.latex import NEEDS, group_latex
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.named import named_group


@dataclass(frozen=True, kw_only=True)
class BoxReport(Report):
    """As Report has it."""

    subject: BoxSubject

    def check(self) -> None:
        require_rows(self.subject.board, "no trial completed or diverged")

    @cached_property
    def sections(self) -> Sequence[Section]:
        """What the page shows."""
        return [section.named(self.names) for section in box_sections(self.subject)]

    @cached_property
    def lead(self) -> list[str]:
        return self.names.in_texts(box_sentences(self.subject))

    @cached_property
    def chapters(self) -> list[Chapter]:
        flags = flags_html(used_flags(self.subject.board))
        return [*map(Chapter.of, self.sections), Chapter(title="Flags", html=flags)]

    @property
    def definitions(self) -> Mapping[str, str]:
        return {word: meaning for section in self.sections for word, meaning in section.definitions.items()}

    def files(self) -> dict[str, str]:
        return box_texts(self.subject) | {name: text for one in self.sections for name, text in one.files.items()}

    def drawn(self) -> list[tuple[str, Drawn]]:
        return of_sections(self.sections)


def box_texts(subject: BoxSubject) -> dict[str, str]:
    """The board in every form, and every trial with its place in the box, by file name."""
    group, labels = board_group(subject.board), subject.labels
    return {
        "box.csv": csv_text(subject.board),
        "box.json": subject.board.write_json() + "\n",
        "box.md": group_markdown(named_group(group, labels.plain)),
        "box.tex": f"{NEEDS}{group_latex(named_group(group, labels.latex))}",
        "box_trials.csv": csv_text(subject.trials),
    }
