"""Figures of a report as files, with what they draw beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from analysis.figures.lr_loss import save_spec
from analysis.figures.of_a_suite import Drawn
from analysis.figures.style.fonts import in_font
from analysis.figures.style.interactive import interactive_page
from analysis.figures.style.named import named_spec
from analysis.report.page import CHARTS_FILE, Figure
from analysis.report.report import Report
from analysis.tables.forms.csv_text import csv_text
from bench.files import make_folder, write_file

MOST_OF_A_KIND = 40  # of hundreds of settings nobody looks at a figure each, which takes minutes
LONGEST_PLACE = 100  # letters of where a figure's numbers are from in its file name
_LONGEST_END = 50  # of these, of its end


def write_figures(
    report: Report, out: Path, formats: Collection[str], font: str | None = None
) -> tuple[list[Figure], list[Path]]:
    """Saves every figure as SVG and in these formats, and what it draws as CSV: those of the page, and the paths.

    "html" of the formats is one interactive page of all, with the charts that readers explore before them. `font`: as
    in `save_spec`. Of one kind MOST_OF_A_KIND are drawn; the last of these says how many are not.
    """
    names, folder, used = report.names, out / "figures", set[str]()
    figures, charts, written = list[Figure](), [], list[Path]()
    for section, drawn, remark in few_of_a_kind(report.drawn()):
        make_folder(folder)
        name, spec = _file_name(drawn.kind, drawn.place, used), named_spec(drawn.chart.to_dict(), names)
        paths = save_spec(spec, folder, name, [form for form in formats if form != "html"], font=font)
        svg = paths[0].read_text(encoding="utf-8")
        paths.append(write_file(folder / f"{name}.csv", csv_text(drawn.summary)))
        files = tuple(path.relative_to(out).as_posix() for path in paths) if report.is_linked else ()
        caption = names.in_text(f"{drawn.title}: {drawn.place}{remark}")
        figures.append(Figure(section=section, caption=caption, svg=svg, files=files))
        charts.append((caption, in_font(spec, font)))
        written += paths
    if "html" in formats and charts:
        traces = [
            (names.in_text(caption), in_font(named_spec(spec, names), font)) for caption, spec in report.explored()
        ]
        page = interactive_page(charts, title=f"{report.subject.title}: explore", explored=traces)
        written.append(write_file(out / CHARTS_FILE, page))
    return figures, written


def few_of_a_kind(figures: Iterable[tuple[str, Drawn]]) -> Iterator[tuple[str, Drawn, str]]:
    """MOST_OF_A_KIND figures of each kind at most, with their sections; what the last one says of those left out."""
    every = list(figures)
    counts, places = Counter(drawn.kind for _, drawn in every), Counter[str]()
    for section, drawn in every:
        places[drawn.kind] += 1
        if (place := places[drawn.kind]) <= MOST_OF_A_KIND:
            more = counts[drawn.kind] - place
            words = f" ({more:,} more of this kind are not drawn; tables have their numbers)"
            yield section, drawn, words if more and place == MOST_OF_A_KIND else ""


def _file_name(kind: str, place: str, used: set[str]) -> str:
    """A file name that no file system objects to, unlike those in `used`, to which it is added.

    Of a long place its head and its end: a workload has many settings, and what figures differ by stands last.
    """
    words = re.sub(r"[^A-Za-z0-9.=]+", "_", place).strip("_.")
    if len(words) > LONGEST_PLACE:
        end = words[-_LONGEST_END:]
        words = f"{words[: LONGEST_PLACE - _LONGEST_END - 1]}_{end.partition('_')[2] or end}"
    stem = f"{kind}-{words}"
    name, number = stem, 2
    while name.lower() in used:
        name, number = f"{stem}-{number}", number + 1
    used.add(name.lower())
    return name
