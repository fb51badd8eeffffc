"""The report folder of a suite's adaptive searches: answers, every decision, figures and one offline page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.figures.of_a_suite import Drawn
from analysis.report.drawing import write_figures
from analysis.report.page import MANIFEST_FILE, Figure, closing_chapters, figure_html, offline_markdown, offline_page
from analysis.report.provenance import provenance_of
from analysis.report.search import (
    SearchChapter,
    answers_group,
    chapter_html,
    chapter_markdown,
    edge_figures,
    search_chapters,
    search_definitions,
    search_sentences,
)
from analysis.subject import SearchSubject
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.html import part
from analysis.tables.forms.markdown import group_markdown
from analysis.text import escape_markdown
from bench.errors import UsageError
from bench.files import make_folder, write_file

_ANSWERS = "Answers"


def write_search_report(
    subject: SearchSubject,
    out: Path,
    *,
    formats: Collection[str] | None = FIGURE_FORMATS,
    is_linked: bool = True,
    font: str | None = None,
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    formats, is_linked, font: as `write_report` of analysis.report.folder has them. Raises UsageError if no search has
    an answer.
    """
    answers, title, provenance = subject.answers, subject.title, provenance_of(subject)
    if answers.is_empty():
        raise UsageError("there is nothing to report: no round of a search is finished")
    names = subject.labels.plain
    named = names.in_frame(answers)
    chapters, definitions = search_chapters(named, names.in_frame(subject.trail)), search_definitions(answers)
    lead, group = search_sentences(named), answers_group(named)
    markdown = [f"## {_ANSWERS}\n", group_markdown(group)]
    markdown += [f"## {escape_markdown(one.title)}\n\n{chapter_markdown(one)}" for one in chapters]
    make_folder(out)
    texts = {
        "search.md": group_markdown(group),
        "search.csv": csv_text(answers),
        "search.json": answers.write_json() + "\n",
        "trail.csv": csv_text(subject.trail),
        "report.md": offline_markdown(title, lead, markdown, definitions, provenance),
        **({} if subject.manifest is None else {MANIFEST_FILE: subject.manifest}),
    }
    written = [write_file(out / name, text) for name, text in texts.items()]
    drawn = _drawn(answers, chapters)
    figures = list[Figure]()
    if formats is not None:
        figures, paths = write_figures(drawn, out, formats, title=title, names=names, is_linked=is_linked, font=font)
        written += paths
    files = [path.relative_to(out).as_posix() for path in written] if is_linked else []
    shown = {section: "".join(figure_html(one) for one in figures if one.section == section) for section, _ in drawn}
    page = [
        (_ANSWERS, part("answers", group) + shown.get(_ANSWERS, "")),
        *((one.title, chapter_html(one, shown[one.title])) for one in chapters),
        *((name, text) for name, text in closing_chapters(definitions, provenance, files) if text),
    ]
    return [write_file(out / "index.html", offline_page(title, lead, page, is_linked=is_linked)), *written]


def search_figures(subject: SearchSubject) -> list[Drawn]:
    """Every figure of the report, in the order of its files."""
    return [drawn for _, drawn in _drawn(subject.answers, search_chapters(subject.answers, subject.trail))]


def _drawn(answers: pl.DataFrame, chapters: Sequence[SearchChapter]) -> list[tuple[str, Drawn]]:
    """(title of its chapter, figure) of all figures."""
    return [*((_ANSWERS, one) for one in edge_figures(answers)), *((one.title, one.drawn) for one in chapters)]
