"""The report folder: tables, curves, figures and one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from analysis.curves import curves
from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.figures.of_a_suite import Drawn, curve_figures, diverged_figures, explored_charts
from analysis.report.drawing import write_figures
from analysis.report.page import (
    DIVERGENCE_SECTION,
    LOSS_SECTION,
    MANIFEST_FILE,
    TRAINING_SECTION,
    Contents,
    Figure,
    html_page,
    markdown_page,
)
from analysis.report.section import Section
from analysis.report.sections import report_sections
from analysis.subject import Subject
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.leaderboard import board_text
from analysis.text import escape_markdown
from bench.errors import UsageError
from bench.files import make_folder, write_file
from bench.held_out import HELD_OUT_COLUMNS

# Suffix of each table file: which of FORMATS of tables.leaderboard fills it. The HTML one is the page itself.
TABLE_FILES: dict[str, str] = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}

# Which section of the page shows a figure of this kind; those of further sections stand in theirs.
_FIGURE_SECTIONS: dict[str, str] = {
    "loss_against_lr": LOSS_SECTION,
    "val_loss_against_lr": LOSS_SECTION,
    "training_behaviour": TRAINING_SECTION,
    "entropy_by_layer": TRAINING_SECTION,
    "entropy_by_head": TRAINING_SECTION,
    "curvature_over_edge": TRAINING_SECTION,
    "diverged_map": DIVERGENCE_SECTION,
}


def write_report(
    subject: Subject,
    out: Path,
    *,
    formats: Collection[str] | None = FIGURE_FORMATS,
    is_linked: bool = True,
    font: str | None = None,
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    The manifest goes into the folder as it is. Each figure has what it draws beside it, as CSV, and comes as SVG and in
    the `formats` of FIGURE_FORMATS, as HTML all in one interactive page; without figures where they are None, which
    needs nothing that draws. Training figures are drawn at the lr at which
    methods differ most in the scored loss; the loss against lr is drawn for held-out data as well, where those can be
    scored.
    What else there is to say has its files and sections (analysis.report.sections). The page refers to the other files
    unless `is_linked` is false, for a place that shows it without them. `font` is that of figures, one of
    analysis.figures.style.fonts.FONTS, else the viewer's sans serif. Raises UsageError if no trial has a result, a
    workload lacks its number of keys or the scored loss, or no method is among the published numbers.
    """
    board = subject.board
    if board.is_empty():
        raise UsageError("there is nothing to report: no trial completed or diverged")
    _require_keys(board, subject.num_keys)
    sections, names = report_sections(subject), subject.labels.plain
    contents = Contents(subject=subject, sections=[section.named(names) for section in sections])
    texts = _texts(contents)
    make_folder(out)
    written = [write_file(out / name, text) for name, text in texts.items()]
    figures = list[Figure]()
    if formats is not None:
        drawn = _drawn(subject, sections)
        figures, paths = write_figures(
            drawn,
            out,
            formats,
            title=subject.title,
            names=names,
            is_linked=is_linked,
            font=font,
            explored=partial(explored_charts, subject),
        )
        written += paths
    files = [path.relative_to(out).as_posix() for path in written] if is_linked else []
    return [
        write_file(out / "index.html", html_page(contents, figures=figures, files=files, is_linked=is_linked)),
        *written,
    ]


def curve_rows(subject: Subject) -> pl.DataFrame:
    """A row a learning rate and seed of each entry, as curves.csv has them: final loss, loss at init, outcome."""
    columns = ["workload", "method", "optimizer", "lr", "seed", "final_loss", "initial_loss", "outcome", "knobs"]
    columns += tuple(name for name in HELD_OUT_COLUMNS if subject.results[name].is_not_null().any())
    return curves(subject.results).select(columns)


def report_figures(subject: Subject) -> Iterator[Drawn]:
    """Every figure of the report, in the order of its files."""
    return (drawn for _, drawn in _drawn(subject, report_sections(subject)))


def _texts(contents: Contents) -> dict[str, str]:
    """The text files beside the page, by name."""
    subject = contents.subject
    texts = {
        f"leaderboard.{suffix}": board_text(subject.board, form, subject.labels) for suffix, form in TABLE_FILES.items()
    }
    summary = "".join(f"{escape_markdown(sentence)}\n\n" for sentence in contents.lead)
    texts["leaderboard.md"] = summary + texts["leaderboard.md"]
    texts["report.md"] = markdown_page(contents)
    texts["curves.csv"] = csv_text(curve_rows(subject))
    if subject.manifest is not None:
        texts[MANIFEST_FILE] = subject.manifest
    if contents.compared is not None:
        texts["comparison.csv"] = csv_text(contents.compared)
    for part in contents.sections:
        texts |= part.files
    return texts


def _require_keys(board: pl.DataFrame, num_keys: Mapping[str, int]) -> None:
    unknown = sorted(set(board["workload"]) - set(num_keys))
    if unknown:
        raise UsageError(f"num_keys lacks the workloads {', '.join(unknown)}; it has {', '.join(num_keys)}")


def _drawn(subject: Subject, sections: Iterable[Section]) -> Iterator[tuple[str, Drawn]]:
    """(title of the section, figure) of all figures, in the order of their files."""
    for drawn in (*curve_figures(subject), *diverged_figures(subject.results)):
        yield _FIGURE_SECTIONS[drawn.kind], drawn
    for part in sections:
        for drawn in part.figures:
            yield part.title, drawn
