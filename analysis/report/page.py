"""The report page as text: the same as Markdown and as one self-contained HTML page. Writes nothing."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from analysis.across.comparison import comparison_html, comparison_markdown
from analysis.report.board import board_html, flags_html, small_multiples
from analysis.report.style import STYLE, follows_the_page, width_of
from analysis.report.summary import summary_sentences
from analysis.report.tables import markdown_table
from analysis.scores.generalisation import HELD_OUT_DEFINITIONS, generalisation_html, generalisation_markdown
from analysis.scores.robustness import DEFINITIONS
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
    lines += ["\n## Definitions\n", *_markdown_list(_definitions(contents).items())]
    lines += ["\n## Provenance\n", *_markdown_list(_plain(contents.provenance))]
    return "\n".join(lines) + "\n"


def html_page(contents: Contents, *, figures: Sequence[Figure], files: Sequence[str], is_linked: bool) -> str:
    """One HTML page that needs nothing else: styles and figures are inside; `files` are linked by relative path.

    Without links where `is_linked` is false: MLflow shows a page in a frame in which none works, not even within it.
    """
    chapters = list(_chapters(contents, files))
    titles = {title for title, _ in chapters}
    assert {figure.section for figure in figures} <= titles, (titles, [figure.section for figure in figures])
    drawn = {title: "\n".join(map(_figure, (one for one in figures if one.section == title))) for title in titles}
    shown = [(title, f"{body}{drawn[title]}") for title, body in chapters if body or drawn[title]]
    body = "\n".join(
        f'<section id="{_anchor(title)}">\n<h2>{html.escape(title)}</h2>\n{text}\n</section>' for title, text in shown
    )
    links = "\n".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title, _ in shown)
    lead = "\n".join(f'<p class="lead">{html.escape(sentence)}</p>' for sentence in summary_sentences(contents.board))
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(contents.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(contents.title)}</h1>
{lead}
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
    yield LOSS_SECTION, small_multiples(contents.board, contents.curves)
    yield TRAINING_SECTION, ""
    told = [f"<p>{html.escape(_named(contents.divergence, *item))}</p>" for item in contents.divergence.items()]
    yield DIVERGENCE_SECTION, "\n".join(told)
    yield "Generalisation", generalisation_html(contents.board)
    if contents.compared is not None and contents.compared.height:
        yield "Compared with the paper", comparison_html(contents.compared)
    for section in contents.sections:
        yield section.title, section.html
    yield "Flags", flags_html(contents.board, contents.flags)
    yield "Definitions", _description_list(_definitions(contents).items())
    whole = f"<p>All of it: {_link(MANIFEST_FILE, MANIFEST_FILE)}.</p>\n" if MANIFEST_FILE in files else ""
    yield "Provenance", f"{_description_list(_plain(contents.provenance))}\n{whole}"
    links = "\n".join(f"<li>{_link(name, name)}</li>" for name in files)
    yield "Files", f'<ul class="files">\n{links}\n</ul>' if files else ""


def _named(divergence: Mapping[str, str], workload: str, told: str) -> str:
    return f"{workload}: {told}" if len(divergence) > 1 else told


def _definitions(contents: Contents) -> dict[str, str]:
    definitions = dict(DEFINITIONS)
    if generalisation_markdown(contents.board):
        definitions |= HELD_OUT_DEFINITIONS
    for section in contents.sections:
        definitions |= section.definitions
    return definitions


def _markdown_list(items: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{escape_markdown(key)}**: {escape_markdown(text)}" for key, text in items]


def _description_list(items: Iterable[tuple[str, str]]) -> str:
    rows = "\n".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(str(text))}</dd>" for key, text in items)
    return f"<dl>\n{rows}\n</dl>"


def _plain(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to say, as text."""
    told = {
        key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in provenance.items()
    }
    return [(str(key), text) for key, text in told.items() if text]


def _anchor(title: str) -> str:
    """The id of a section: letters and digits, and a hyphen for what lies between."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


def _link(path: str, text: str) -> str:
    return f'<a href="{html.escape(path)}">{html.escape(text)}</a>'


def _figure(figure: Figure) -> str:
    """The SVG as an image in a data URI: ids of several figures can't clash and no script in it can run."""
    data = base64.b64encode(follows_the_page(figure.svg).encode()).decode()
    caption, wide = html.escape(figure.caption), width_of(figure.svg)
    forms = ", ".join(_link(path, PurePosixPath(path).suffix.removeprefix(".").upper()) for path in figure.files)
    image = f'<img alt="{caption}" style="--wide: {wide:g}px" src="data:image/svg+xml;base64,{data}">'
    told = f"{caption} ({forms})" if forms else caption
    return f'<figure><div class="drawing">{image}</div><figcaption>{told}</figcaption></figure>'
