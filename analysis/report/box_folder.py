"""The report folder of a box: board, curves, tables, figures and one offline page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.figures.of_a_suite import Drawn
from analysis.report.box import box_sections, box_sentences
from analysis.report.drawing import write_figures
from analysis.report.leaderboard import flags_html
from analysis.report.page import MANIFEST_FILE, Figure, closing_chapters, figure_html, offline_markdown, offline_page
from analysis.report.provenance import provenance_of
from analysis.report.section import Section
from analysis.scores.flags import used_flags
from analysis.subject import BoxSubject
from analysis.tables.box import board_group
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.latex import NEEDS, group_latex
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.named import named_group
from analysis.text import escape_markdown
from bench.errors import UsageError
from bench.files import make_folder, write_file


def write_box_report(
    subject: BoxSubject,
    out: Path,
    *,
    formats: Collection[str] | None = FIGURE_FORMATS,
    is_linked: bool = True,
    font: str | None = None,
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    formats, is_linked, font: as `write_report` of analysis.report.folder has them. Raises UsageError if no trial has a
    result.
    """
    board, title, provenance = subject.board, subject.title, provenance_of(subject)
    if board.is_empty():
        raise UsageError("there is nothing to report: no trial completed or diverged")
    names = subject.labels.plain
    sections, lead = [one.named(names) for one in box_sections(subject)], names.in_texts(box_sentences(subject))
    definitions = {word: meaning for section in sections for word, meaning in section.definitions.items()}
    markdown = [f"## {escape_markdown(one.title)}\n\n{one.markdown}" for one in sections]
    make_folder(out)
    texts = {
        **box_texts(subject),
        "report.md": offline_markdown(title, lead, markdown, definitions, provenance),
        **{name: text for section in sections for name, text in section.files.items()},
        **({} if subject.manifest is None else {MANIFEST_FILE: subject.manifest}),
    }
    written = [write_file(out / name, text) for name, text in texts.items()]
    figures = list[Figure]()
    if formats is not None:
        drawn = _drawn(sections)
        figures, paths = write_figures(drawn, out, formats, title=title, names=names, is_linked=is_linked, font=font)
        written += paths
    files = [path.relative_to(out).as_posix() for path in written] if is_linked else []
    shown = {one.title: "".join(figure_html(f) for f in figures if f.section == one.title) for one in sections}
    page = [
        *((one.title, one.html + shown[one.title]) for one in sections),
        *((name, text) for name, text in (("Flags", flags_html(used_flags(board))),) if text),
        *((name, text) for name, text in closing_chapters(definitions, provenance, files) if text),
    ]
    return [write_file(out / "index.html", offline_page(title, lead, page, is_linked=is_linked)), *written]


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


def box_figures(subject: BoxSubject) -> list[Drawn]:
    """Every figure of the report, in the order of its files."""
    return [drawn for _, drawn in _drawn(box_sections(subject))]


def _drawn(sections: Sequence[Section]) -> list[tuple[str, Drawn]]:
    """(title of its section, figure) of all figures."""
    return [(section.title, one) for section in sections for one in section.figures]
