"""The report folder of a suite's adaptive searches: answers, every decision, figures and one offline page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.figures.interactive import interactive_page
from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.figures.of_a_suite import Drawn
from analysis.report.drawing import draw, file_name, write
from analysis.report.folder import CHARTS_FILE
from analysis.report.page import (
    MANIFEST_FILE,
    Figure,
    closing_chapters,
    closing_markdown,
    description_list,
    figure_html,
    offline_page,
)
from analysis.report.provenance import provenance_of
from analysis.report.search import (
    SearchChapter,
    answers_html,
    answers_markdown,
    chapter_html,
    chapter_markdown,
    edge_figures,
    search_chapters,
    search_definitions,
    search_sentences,
)
from analysis.subject import SearchSubject
from analysis.text import escape_markdown
from bench.errors import UsageError

_ANSWERS = "Answers"


def write_search_report(
    subject: SearchSubject,
    out: Path,
    *,
    formats: Collection[str] = tuple(FIGURE_FORMATS),
    is_linked: bool = True,
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    formats, is_linked: as `write_report` of analysis.report.folder has them. Raises UsageError if no search has an
    answer.
    """
    answers, title, provenance = subject.answers, subject.title, provenance_of(subject)
    if answers.is_empty():
        raise UsageError("there is nothing to report: no round of a search is finished")
    chapters, definitions = search_chapters(answers, subject.trail), search_definitions(answers)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "search.md": answers_markdown(answers),
        "search.csv": answers.write_csv(),
        "search.json": answers.write_json() + "\n",
        "trail.csv": subject.trail.write_csv(),
        "report.md": _markdown(answers, chapters, title, definitions, provenance),
        **({} if subject.manifest is None else {MANIFEST_FILE: subject.manifest}),
    }
    written = [write(out / name, text) for name, text in texts.items()]
    figures: list[Figure] = []
    charts, used = [], set[str]()
    drawn = [*((_ANSWERS, one) for one in edge_figures(answers)), *((one.title, one.drawn) for one in chapters)]
    for section, one in drawn:
        figure, spec, paths = _drawn(one, section, out, formats, used, is_linked=is_linked)
        figures.append(figure)
        charts.append((figure.caption, spec))
        written += paths
    if "html" in formats:
        written.append(write(out / CHARTS_FILE, interactive_page(charts, title=f"{title}: charts")))
    files = [path.relative_to(out).as_posix() for path in written] if is_linked else []
    shown = {section: "".join(figure_html(one) for one in figures if one.section == section) for section, _ in drawn}
    page = [
        (_ANSWERS, answers_html(answers) + shown.get(_ANSWERS, "")),
        *((one.title, chapter_html(one, shown[one.title])) for one in chapters),
        ("Definitions", description_list(definitions.items())),
        *((name, text) for name, text in closing_chapters(provenance, files) if text),
    ]
    text = offline_page(title, search_sentences(answers), page, is_linked=is_linked)
    return [write(out / "index.html", text), *written]


def _drawn(
    drawn: Drawn, section: str, out: Path, formats: Collection[str], used: set[str], *, is_linked: bool
) -> tuple[Figure, dict[str, Any], list[Path]]:
    """The figure of the page, its specification, and the paths of its files."""
    spec, name = drawn.chart.to_dict(), file_name(drawn.kind, drawn.place, used)
    figure, paths = draw(drawn, spec, section, out, name, formats, is_linked=is_linked)
    return figure, spec, paths


def _markdown(
    answers: pl.DataFrame,
    chapters: list[SearchChapter],
    title: str,
    definitions: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> str:
    lines = [f"# {escape_markdown(title)}\n", *(f"{escape_markdown(one)}\n" for one in search_sentences(answers))]
    lines += [f"## {_ANSWERS}\n", answers_markdown(answers)]
    lines += [f"## {escape_markdown(one.title)}\n\n{chapter_markdown(one)}" for one in chapters]
    return "\n".join([*lines, *closing_markdown(definitions, provenance)]) + "\n"
