"""Report: what the page of a subject says, figures aside, and what else its folder holds."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.figures.of_a_suite import Drawn
from analysis.figures.style.interactive import Spec
from analysis.labels import Names
from analysis.report.section import Section
from analysis.subject import AnySubject
from bench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A chapter of a page: its figures stand after `html`, and before `after`; without text it stands over them alone.

    markdown: the same as both; where it is empty, the page as Markdown has no such chapter.
    """

    title: str
    html: str = ""
    after: str = ""
    markdown: str = ""

    @classmethod
    def of(cls, section: Section) -> Chapter:
        """A section as a chapter."""
        return cls(title=section.title, html=section.html, markdown=section.markdown)


@dataclass(frozen=True, kw_only=True)
class Report(abc.ABC):
    """A report as data, of one kind of subject. is_linked: whether the page may refer to anything, within it or beside.

    Its words call methods and workloads by their labels. Every property may raise UsageError, `check` first of all.
    """

    subject: AnySubject
    is_linked: bool = True

    @property
    def names(self) -> Names:
        """What it calls methods and workloads."""
        return self.subject.labels.plain

    @abc.abstractmethod
    def check(self) -> None:
        """Raises UsageError where there is nothing to report."""

    @cached_property
    @abc.abstractmethod
    def lead(self) -> list[str]:
        """The sentences above everything else, as plain text."""

    @cached_property
    @abc.abstractmethod
    def chapters(self) -> Sequence[Chapter]:
        """In the order of the page."""

    @property
    @abc.abstractmethod
    def definitions(self) -> Mapping[str, str]:
        """The words of the page and what they mean."""

    @abc.abstractmethod
    def files(self) -> dict[str, str]:
        """The text files beside page and manifest, by name."""

    @abc.abstractmethod
    def drawn(self) -> Iterable[tuple[str, Drawn]]:
        """(title of its chapter, figure) of all figures, in the order of their files."""

    def explored(self) -> Sequence[tuple[str, Spec]]:
        """Caption and specification of the charts that readers explore."""
        return ()


def of_sections(sections: Iterable[Section]) -> list[tuple[str, Drawn]]:
    """(title of its section, figure) of all figures of the sections."""
    return [(section.title, one) for section in sections for one in section.figures]


def require_rows(board: pl.DataFrame, missing: str) -> None:
    """Raises UsageError that says what is missing where the board has no row."""
    if board.is_empty():
        raise UsageError(f"there is nothing to report: {missing}")
