"""The report page as text: the same as Markdown and as one self-contained HTML page. Writes nothing."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from analysis.across.comparison import compare
from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.frames.diverged_map import diverged_map, divergence_words
from analysis.report.fates import fates
from analysis.report.leaderboard import board_html, flags_html
from analysis.report.provenance import provenance_of
from analysis.report.section import Section
from analysis.report.style import follows_the_page, width_of
from analysis.report.summary import summary_sentences
from analysis.scores.flags import used_flags
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.scores.registry import REGISTRY
from analysis.scores.robustness import SENSITIVITIES
from analysis.subject import Subject
from analysis.tables.forms.html import group_html, part, templates
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.named import named_group
from analysis.tables.forms.table import Group
from analysis.tables.held_out import held_out_group
from analysis.tables.leaderboard import markdown_table
from analysis.tables.published import comparison
from analysis.text import escape_markdown


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page: its section's title, caption, SVG text, and paths of its files, relative to the page."""

    section: str
    caption: str
    svg: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the page of a subject says, figures aside; `sections` are what it has beside leaderboard and curves."""

    subject: Subject
    sections: Sequence[Section]

    @cached_property
    def lead(self) -> list[str]:
        """The sentences above everything else."""
        told = [*summary_sentences(self.subject.board), *fates(self.subject.scored, self.subject.board)]
        return self.subject.labels.plain.in_texts(told)

    @cached_property
    def compared(self) -> pl.DataFrame | None:
        """The frame of `compare`; None without published numbers. Raises UsageError if no method is among them."""
        return None if self.subject.published is None else compare(self.subject.board, self.subject.published)

    @cached_property
    def divergence(self) -> dict[str, str]:
        """How many trials diverged in words, by what the workload is called."""
        cells = diverged_map(self.subject.results).partition_by("workload", maintain_order=True)
        names = self.subject.labels.plain
        return {names.in_text(rows["workload"][0]): names.in_text(divergence_words(rows)) for rows in cells}

    @property
    def groups(self) -> list[tuple[str, Group]]:
        """(title, tables) of what is beside the leaderboard and the sections."""
        held_out = held_out_group(self.subject.board)
        found = [] if held_out is None else [("Generalisation", held_out)]
        if self.compared is not None and self.compared.height:
            found.append(("Compared with the paper", comparison(self.compared)))
        return [(title, named_group(group, self.subject.labels.plain)) for title, group in found]

    @property
    def definitions(self) -> dict[str, str]:
        """The words of the page and what they mean."""
        held_out = {} if held_out_group(self.subject.board) is None else HELD_OUT_SCORES
        known = [*SENSITIVITIES, *BOARD_SCORES, *held_out]
        words = [
            {name: REGISTRY[name].definition for name in known},
            *(section.definitions for section in self.sections),
        ]
        return {word: meaning for part in words for word, meaning in part.items()}


MANIFEST_FILE, CHARTS_FILE = "manifest.json", "charts.html"
LOSS_SECTION, TRAINING_SECTION, DIVERGENCE_SECTION = "Loss against learning rate", "Training", "Divergence"


def markdown_page(contents: Contents) -> str:
    """Summary, leaderboard, held-out measures if there are any, comparison, further sections, words and provenance."""
    names = contents.subject.labels.plain
    lines = ["## Leaderboard\n", markdown_table(names.in_frame(contents.subject.board)), f"## {DIVERGENCE_SECTION}\n"]
    lines += [f"- {escape_markdown(f'{workload}: {told}')}" for workload, told in contents.divergence.items()]
    told = [(title, group_markdown(group)) for title, group in contents.groups]
    told += [(section.title, section.markdown) for section in contents.sections]
    lines += [f"\n## {escape_markdown(title)}\n\n{text}" for title, text in told]
    subject = contents.subject
    return offline_markdown(subject.title, contents.lead, lines, contents.definitions, provenance_of(subject))


def offline_markdown(
    title: str,
    lead: Iterable[str],
    chapters: Iterable[str],
    definitions: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> str:
    """The Markdown of a title, sentences in plain text, chapters as they are, words, and where the numbers are from."""
    lines = [f"# {escape_markdown(title)}\n", *(f"{escape_markdown(sentence)}\n" for sentence in lead), *chapters]
    lines += ["\n## Definitions\n", *_markdown_list(definitions.items())]
    lines += ["\n## Provenance\n", *_markdown_list(_plain(provenance))]
    return "\n".join(lines) + "\n"


def html_page(contents: Contents, *, figures: Sequence[Figure], files: Sequence[str], is_linked: bool) -> str:
    """One HTML page that needs nothing else: styles and figures are inside; `files` are linked by relative path.

    Without links where `is_linked` is false: MLflow shows a page in a frame in which none works, not even within it.
    """
    chapters = list(_chapters(contents, files, is_linked=is_linked))
    titles = {title for title, _ in chapters}
    assert {figure.section for figure in figures} <= titles, (titles, [figure.section for figure in figures])
    drawn = {title: "".join(map(figure_html, (one for one in figures if one.section == title))) for title in titles}
    shown = [(title, f"{body}{drawn[title]}") for title, body in chapters if body or drawn[title]]
    explore = CHARTS_FILE if CHARTS_FILE in files else None
    return offline_page(contents.subject.title, contents.lead, shown, is_linked=is_linked, explore=explore)


def offline_page(
    title: str,
    lead: Iterable[str],
    chapters: Sequence[tuple[str, str]],
    *,
    is_linked: bool,
    explore: str | None = None,
) -> str:
    """An HTML page of a title, sentences in plain text and chapters, (title, HTML), which needs nothing else.

    explore: the path of the page of traces, which is linked before all chapters.
    """
    anchors = _anchors(name for name, _ in chapters)
    shown = [(anchor, *chapter) for anchor, chapter in zip(anchors, chapters, strict=True)]
    page = templates().get_template("page.html")
    return page.render(title=title, lead=list(lead), chapters=shown, is_linked=is_linked, explore=explore)


def _chapters(contents: Contents, files: Sequence[str], *, is_linked: bool) -> Iterable[tuple[str, str]]:
    """(title, HTML) in the order of the page; a title without text stands only over figures."""
    subject = contents.subject
    yield (
        "Leaderboard",
        board_html(subject.board, loss_summary(subject.scored), names=subject.labels.plain, is_linked=is_linked),
    )
    yield LOSS_SECTION, ""
    yield TRAINING_SECTION, ""
    several = len(contents.divergence) > 1
    told = [f"{workload}: {words}" if several else words for workload, words in contents.divergence.items()]
    yield DIVERGENCE_SECTION, part("paragraphs", told)
    for title, group in contents.groups:
        yield title, group_html(group)
    for section in contents.sections:
        yield section.title, section.html
    flags = {flag for section in contents.sections for flag in section.flags}
    yield "Flags", flags_html(flags - used_flags(subject.board))
    yield from closing_chapters(contents.definitions, provenance_of(subject), files)


def closing_chapters(
    definitions: Mapping[str, str], provenance: Mapping[str, Any], files: Sequence[str]
) -> Iterable[tuple[str, str]]:
    """(title, HTML) of words and what they mean, where the numbers come from, and which files lie beside the page."""
    yield "Definitions", part("terms", list(definitions.items()))
    yield "Provenance", part("provenance", _plain(provenance), MANIFEST_FILE if MANIFEST_FILE in files else None)
    yield "Files", part("files", files) if files else ""


def figure_html(figure: Figure) -> str:
    """The SVG as an image in a data URI: ids of several figures can't clash and no script in it can run."""
    data = base64.b64encode(follows_the_page(figure.svg).encode()).decode()
    forms = [(path, PurePosixPath(path).suffix.removeprefix(".").upper()) for path in figure.files]
    return part("figure", figure, data, f"{width_of(figure.svg):g}", forms)


def _markdown_list(items: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{escape_markdown(key)}**: {escape_markdown(text)}" for key, text in items]


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
