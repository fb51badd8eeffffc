"""The page of a report as text: the same as Markdown and as one self-contained HTML page. Writes nothing."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from analysis.report.provenance import provenance_of
from analysis.report.report import Report
from analysis.report.style import follows_the_page, size_of
from analysis.tables.forms.html import part, templates
from analysis.text import escape_markdown

MANIFEST_FILE, CHARTS_FILE = "manifest.json", "charts.html"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page: its chapter's title, caption, SVG text, and paths of its files, relative to the page."""

    section: str
    caption: str
    svg: str
    files: tuple[str, ...]


def markdown_page(report: Report) -> str:
    """The lead, the chapters that have Markdown, words and what they mean, and where the numbers come from."""
    lines = [f"# {escape_markdown(report.subject.title)}\n", *(f"{escape_markdown(one)}\n" for one in report.lead)]
    lines += [
        f"## {escape_markdown(one.title)}\n\n{one.markdown.rstrip()}\n" for one in report.chapters if one.markdown
    ]
    lines += ["## Definitions\n", *_markdown_list(report.definitions.items())]
    lines += ["\n## Provenance\n", *_markdown_list(_plain(provenance_of(report.subject)))]
    return "\n".join(lines) + "\n"


def html_page(report: Report, *, figures: Sequence[Figure], files: Sequence[str]) -> str:
    """One HTML page that needs nothing else: styles and figures are inside; `files` are linked by relative path.

    Without links where the report has none: MLflow shows a page in a frame in which none works, not even within it.
    """
    titles = {chapter.title for chapter in report.chapters}
    assert {figure.section for figure in figures} <= titles, (titles, [figure.section for figure in figures])
    drawn = {title: "".join(map(figure_html, (one for one in figures if one.section == title))) for title in titles}
    chapters = [(one.title, f"{one.html}{drawn[one.title]}{one.after}") for one in report.chapters]
    chapters += _closing_chapters(report, files)
    filled = [(title, text) for title, text in chapters if text]
    anchors = _anchors(title for title, _ in filled)
    return (
        templates()
        .get_template("page.html")
        .render(
            title=report.subject.title,
            lead=list(report.lead),
            chapters=[(anchor, *chapter) for anchor, chapter in zip(anchors, filled, strict=True)],
            is_linked=report.is_linked,
            explore=CHARTS_FILE if CHARTS_FILE in files else None,
        )
    )


def figure_html(figure: Figure) -> str:
    """The SVG as an image in a data URI: ids of several figures can't clash and no script in it can run."""
    data = base64.b64encode(follows_the_page(figure.svg).encode()).decode()
    forms = [(path, PurePosixPath(path).suffix.removeprefix(".").upper()) for path in figure.files]
    wide, high = size_of(figure.svg)
    return part("figure", figure, data, f"{wide:g}", high > wide, forms)


def _closing_chapters(report: Report, files: Sequence[str]) -> list[tuple[str, str]]:
    """(title, HTML) of words and what they mean, where the numbers come from, and which files lie beside the page."""
    manifest = MANIFEST_FILE if MANIFEST_FILE in files else None
    return [
        ("Definitions", part("terms", list(report.definitions.items()))),
        ("Provenance", part("provenance", _plain(provenance_of(report.subject)), manifest)),
        ("Files", part("files", files) if files else ""),
    ]


def _markdown_list(items: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{escape_markdown(key)}**: {escape_markdown(text)}" for key, text in items]


def _plain(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to say, as text."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in provenance.items()
    }
    return [(str(key), text) for key, text in texts.items() if text]


def _anchors(titles: Iterable[str]) -> list[str]:
    """The ids of sections: letters and digits, a hyphen for what lies between, and a number where two were alike."""
    ids: list[str] = []
    for title in titles:
        stem = "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        ids.append(next(one for one in itertools.chain([stem], numbered) if one not in ids))
    return ids
