"""The report page as text: the same as Markdown and as one self-contained HTML page. Writes nothing."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from analysis.across.comparison import comparison_html, comparison_markdown
from analysis.report.leaderboard import board_html, flags_html
from analysis.report.style import STYLE, follows_the_page, width_of
from analysis.report.summary import summary_sentences
from analysis.scores.generalisation import HELD_OUT_DEFINITIONS, generalisation_html, generalisation_markdown
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.scores.robustness import SENSITIVITIES
from analysis.tables.leaderboard import markdown_table
from analysis.text import escape_markdown


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page, as Markdown and as an HTML fragment, and the words it uses."""

    title: str
    markdown: str
    html: str
    definitions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page: its section's title, caption, SVG text, and paths of its files, relative to the page."""

    section: str
    caption: str
    svg: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the page says, figures aside.

    `curves` is the frame of `loss_summary` behind the leaderboard `board`; `compared` that of `compare`; `divergence`
    says in words how many trials diverged, by workload; `flags` are those of `sections` (word: meaning).
    """

    title: str
    board: pl.DataFrame
    curves: pl.DataFrame
    compared: pl.DataFrame | None
    divergence: Mapping[str, str]
    sections: Sequence[Section]
    flags: Mapping[str, str]
    provenance: Mapping[str, Any]


MANIFEST_FILE = "manifest.json"
LOSS_SECTION, TRAINING_SECTION, DIVERGENCE_SECTION = "Loss against learning rate", "Training", "Divergence"


def markdown_page(contents: Contents) -> str:
    """Summary, leaderboard, held-out measures if there are any, comparison, further sections, words and provenance."""
    lines = [f"# {escape_markdown(contents.title)}\n"]
    lines += [f"{escape_markdown(sentence)}\n" for sentence in summary_sentences(contents.board)]
    lines += ["## Leaderboard\n", markdown_table(contents.board), f"## {DIVERGENCE_SECTION}\n"]
    lines += [f"- {escape_markdown(f'{workload}: {told}')}" for workload, told in contents.divergence.items()]
    told = [("Generalisation", generalisation_markdown(contents.board))]
    if contents.compared is not None and contents.compared.height:
        told.append(("Compared with the paper", comparison_markdown(contents.compared)))
    told += [(section.title, section.markdown) for section in contents.sections]
    lines += [f"\n## {escape_markdown(title)}\n\n{text}" for title, text in told if text]
    return "\n".join([*lines, *closing_markdown(_definitions(contents), contents.provenance)]) + "\n"


def closing_markdown(definitions: Mapping[str, str], provenance: Mapping[str, Any]) -> list[str]:
    """The lines of the last two sections."""
    lines = ["\n## Definitions\n", *_markdown_list(definitions.items())]
    return [*lines, "\n## Provenance\n", *_markdown_list(_plain(provenance))]


def html_page(contents: Contents, *, figures: Sequence[Figure], files: Sequence[str], is_linked: bool) -> str:
    """One HTML page that needs nothing else: styles and figures are inside; `files` are linked by relative path.

    Without links where `is_linked` is false: MLflow shows a page in a frame in which none works, not even within it.
    """
    chapters = list(_chapters(contents, files))
    titles = {title for title, _ in chapters}
    assert {figure.section for figure in figures} <= titles, (titles, [figure.section for figure in figures])
    drawn = {title: "\n".join(map(figure_html, (one for one in figures if one.section == title))) for title in titles}
    shown = [(title, f"{body}{drawn[title]}") for title, body in chapters if body or drawn[title]]
    return offline_page(contents.title, summary_sentences(contents.board), shown, is_linked=is_linked)


def offline_page(title: str, lead: Iterable[str], chapters: Sequence[tuple[str, str]], *, is_linked: bool) -> str:
    """An HTML page of a title, sentences in plain text and chapters, (title, HTML), which needs nothing else."""
    anchors = _anchors([name for name, _ in chapters])
    body = "\n".join(
        f'<section id="{anchor}">\n<h2>{html.escape(name)}</h2>\n{text}\n</section>'
        for anchor, (name, text) in zip(anchors, chapters, strict=True)
    )
    links = "\n".join(
        f'<a href="#{anchor}">{html.escape(name)}</a>' for anchor, (name, _) in zip(anchors, chapters, strict=True)
    )
    sentences = "\n".join(f'<p class="lead">{html.escape(sentence)}</p>' for sentence in lead)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{sentences}
<nav aria-label="Sections">
{links}
</nav>
{body}
</main>
</body>
</html>
"""
    return page if is_linked else _without_links(page)


def _without_links(page: str) -> str:
    """The page with the text of its links alone, and without its list of sections."""
    page = re.sub(r"<nav\b.*?</nav>\n", "", page, flags=re.DOTALL)
    return re.sub(r'<a href="[^"]*"([^>]*)>(.*?)</a>', r"<span\1>\2</span>", page)


def _chapters(contents: Contents, files: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(title, HTML) in the order of the page; a title without text stands only over figures."""
    yield "Leaderboard", board_html(contents.board, contents.curves)
    yield LOSS_SECTION, ""
    yield TRAINING_SECTION, ""
    told = [f"<p>{html.escape(_named(contents.divergence, *item))}</p>" for item in contents.divergence.items()]
    yield DIVERGENCE_SECTION, "\n".join(told)
    yield "Generalisation", generalisation_html(contents.board)
    if contents.compared is not None and contents.compared.height:
        yield "Compared with the paper", comparison_html(contents.compared)
    for section in contents.sections:
        yield section.title, section.html
    yield "Flags", flags_html(contents.board, contents.flags)
    yield "Definitions", description_list(_definitions(contents).items())
    yield from closing_chapters(contents.provenance, files)


def closing_chapters(provenance: Mapping[str, Any], files: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(title, HTML) of where the numbers come from and which files lie beside the page."""
    whole = f"<p>All of it: {_link(MANIFEST_FILE, MANIFEST_FILE)}.</p>\n" if MANIFEST_FILE in files else ""
    yield "Provenance", f"{description_list(_plain(provenance))}\n{whole}"
    links = "\n".join(f"<li>{_link(name, name)}</li>" for name in files)
    yield "Files", f'<ul class="files">\n{links}\n</ul>' if files else ""


def _named(divergence: Mapping[str, str], workload: str, told: str) -> str:
    return f"{workload}: {told}" if len(divergence) > 1 else told


def _definitions(contents: Contents) -> dict[str, str]:
    definitions = {name: SCORE_KINDS[name].definition for name in (*SENSITIVITIES, *BOARD_SCORES)}
    if generalisation_markdown(contents.board):
        definitions |= HELD_OUT_DEFINITIONS
    for section in contents.sections:
        definitions |= section.definitions
    return definitions


def _markdown_list(items: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{escape_markdown(key)}**: {escape_markdown(text)}" for key, text in items]


def description_list(items: Iterable[tuple[str, str]]) -> str:
    rows = "\n".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(str(text))}</dd>" for key, text in items)
    return f"<dl>\n{rows}\n</dl>"


def _plain(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to say, as text."""
    told = {
        key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in provenance.items()
    }
    return [(str(key), text) for key, text in told.items() if text]


def _anchors(titles: Iterable[str]) -> list[str]:
    """The ids of sections: letters and digits, a hyphen for what lies between, and a number where two were alike."""
    ids: list[str] = []
    for title in titles:
        stem = "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        ids.append(next(one for one in itertools.chain([stem], numbered) if one not in ids))
    return ids


def _link(path: str, text: str) -> str:
    return f'<a href="{html.escape(path)}">{html.escape(text)}</a>'


def figure_html(figure: Figure) -> str:
    """The SVG as an image in a data URI: ids of several figures can't clash and no script in it can run."""
    data = base64.b64encode(follows_the_page(figure.svg).encode()).decode()
    caption, wide = html.escape(figure.caption), width_of(figure.svg)
    forms = ", ".join(_link(path, PurePosixPath(path).suffix.removeprefix(".").upper()) for path in figure.files)
    image = f'<img alt="{caption}" style="--wide: {wide:g}px" src="data:image/svg+xml;base64,{data}">'
    told = f"{caption} ({forms})" if forms else caption
    return f'<figure><div class="drawing">{image}</div><figcaption>{told}</figcaption></figure>'
