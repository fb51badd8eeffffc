"""The report folder of a subject: tables, figures and one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.figures.of_a_suite import Drawn
from analysis.report.box_report import BoxReport
from analysis.report.drawing import write_figures
from analysis.report.grid_report import GridReport
from analysis.report.page import MANIFEST_FILE, Figure, html_page, markdown_page
from analysis.report.report import Report
from analysis.report.search_report import SearchReport
from analysis.subject import AnySubject, BoxSubject, SearchSubject, Subject
from bench.files import make_folder, write_file

REPORTS: dict[type, type[Report]] = {Subject: GridReport, SearchSubject: SearchReport, BoxSubject: BoxReport}


def write_report(
    subject: AnySubject,
    out: Path,
    *,
    formats: Collection[str] | None = FIGURE_FORMATS,
    is_linked: bool = True,
    font: str | None = None,
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    The manifest goes into the folder as it is. Each figure has what it draws beside it, as CSV, and comes as SVG and in
    the `formats` of FIGURE_FORMATS, as HTML all in one interactive page; without figures where they are None, which
    needs nothing that draws. The page refers to the other files unless `is_linked` is false, for a place that shows it
    without them. `font` is that of figures, one of analysis.figures.style.fonts.FONTS, else the viewer's sans serif.
    Raises UsageError where there is nothing to report.
    """
    report = REPORTS[type(subject)](subject=subject, is_linked=is_linked)
    report.check()
    texts = report.files() | {"report.md": markdown_page(report)}
    texts |= {} if subject.manifest is None else {MANIFEST_FILE: subject.manifest}
    make_folder(out)
    written = [write_file(out / name, text) for name, text in texts.items()]
    figures = list[Figure]()
    if formats is not None:
        figures, paths = write_figures(report, out, formats, font)
        written += paths
    files = [path.relative_to(out).as_posix() for path in written] if is_linked else []
    return [write_file(out / "index.html", html_page(report, figures=figures, files=files)), *written]


def report_figures(subject: AnySubject) -> Iterator[Drawn]:
    """Every figure of the report, in the order of its files."""
    return (drawn for _, drawn in REPORTS[type(subject)](subject=subject).drawn())
