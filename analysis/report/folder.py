"""The report folder: tables, curves, figures and one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.across.comparison import compare
from analysis.curves import curves
from analysis.figures.frames.aggregate import loss_summary, telling_lr
from analysis.figures.frames.diverged_map import diverged_map, divergence_words
from analysis.figures.interactive import interactive_page
from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.figures.of_a_suite import Drawn, curve_figures, diverged_figures, parts
from analysis.losses import choose_loss, has_held_out
from analysis.report.drawing import draw, file_name, write
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
from analysis.report.summary import summary_sentences
from analysis.scores.leaderboard import leaderboard
from analysis.tables.leaderboard import FORMATS
from analysis.text import escape_markdown
from bench.errors import UsageError
from bench.held_out import HELD_OUT_COLUMNS

# Suffix of each table file: which of FORMATS fills it. The HTML one is the page itself.
TABLE_FILES: dict[str, str] = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}

CHARTS_FILE = "charts.html"

# Which section of the page shows a figure of this kind; those of further sections stand in theirs.
_FIGURE_SECTIONS: dict[str, str] = {
    "loss_against_lr": LOSS_SECTION,
    "val_loss_against_lr": LOSS_SECTION,
    "training_behaviour": TRAINING_SECTION,
    "entropy_by_layer": TRAINING_SECTION,
    "diverged_map": DIVERGENCE_SECTION,
}


def write_report(
    results: pl.DataFrame,
    traces: pl.DataFrame,
    out: Path,
    *,
    title: str,
    provenance: Mapping[str, Any],
    num_keys: int | Mapping[str, int],
    manifest: str | None = None,
    references: pl.DataFrame | None = None,
    score: str = "lr_sensitivity",
    loss: str = "train",
    formats: Collection[str] = tuple(FIGURE_FORMATS),
    board: pl.DataFrame | None = None,
    measures: pl.DataFrame | None = None,
    is_linked: bool = True,
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    `results` has RESULT_COLUMNS, `traces` TRACE_COLUMNS and trial_id (of `trials_to_trace` at least; no rows: no
    training figures). `num_keys` is the number of keys N of the workload's attention, or one a workload label.
    `manifest`, JSON text, goes into the folder as it is. `references` is a frame of published numbers
    (analysis.references.load). `board` is the leaderboard of the results, score and loss; else it is computed.
    `measures` is what analysis.scores.traces.trial_measures says of all trials, for the scores from traces. Each
    figure has what it draws beside it, as CSV, and comes as SVG and in the `formats` of FIGURE_FORMATS, as HTML all in
    one interactive page. Training figures are drawn at the lr at which methods differ most in the scored `loss`; the
    loss against lr is drawn for held-out data as well, where there are any. What else the suite tells has its files and
    sections (analysis.report.sections). The page refers to the other files unless `is_linked` is false, for a place
    that shows it without them. Raises UsageError if no trial has a result, a workload lacks its number of keys or the
    scored loss, or no method is among the references.
    """
    board = leaderboard(results, score, loss) if board is None else board
    if board.is_empty():
        raise UsageError("there is nothing to report: no trial completed or diverged")
    keys_of = _keys_of(board, num_keys)
    compared = None if references is None else compare(board, references)
    told = report_sections(results, board, score, loss, measures)
    contents = Contents(
        title=title,
        board=board,
        curves=loss_summary(choose_loss(results, loss)),
        compared=compared,
        divergence=_divergence(results),
        sections=told,
        provenance=provenance,
    )
    out.mkdir(parents=True, exist_ok=True)
    written = [write(out / name, text) for name, text in _texts(contents, results, told, manifest).items()]
    every = _drawn(results, traces, keys_of, loss, told)
    figures, paths = _write_figures(every, out, formats, title=title, is_linked=is_linked)
    written += paths
    files = [path.relative_to(out).as_posix() for path in written] if is_linked else []
    return [
        write(out / "index.html", html_page(contents, figures=figures, files=files, is_linked=is_linked)),
        *written,
    ]


def trials_to_trace(results: pl.DataFrame, loss: str = "train") -> list[str]:
    """Ids of the trials whose traces `write_report` draws; a caller need read no others."""
    shown = [part for _, part in parts(choose_loss(results, loss)) if not loss_summary(part).is_empty()]
    drawn = [part.filter(pl.col("lr") == telling_lr(part))["trial_id"].to_list() for part in shown]
    return sorted(set().union(*drawn))


def _texts(contents: Contents, results: pl.DataFrame, told: Iterable[Section], manifest: str | None) -> dict[str, str]:
    """The text files beside the page, by name."""
    texts = {f"leaderboard.{suffix}": FORMATS[form](contents.board) for suffix, form in TABLE_FILES.items()}
    told_first = "".join(f"{escape_markdown(sentence)}\n\n" for sentence in summary_sentences(contents.board))
    texts["leaderboard.md"] = told_first + texts["leaderboard.md"]
    texts["report.md"] = markdown_page(contents)
    columns = ["workload", "method", "optimizer", "lr", "seed", "final_loss", "initial_loss", "outcome", "knobs"]
    columns += HELD_OUT_COLUMNS if has_held_out(results) else ()
    texts["curves.csv"] = curves(results).select(columns).write_csv()
    if manifest is not None:
        texts[MANIFEST_FILE] = manifest
    if contents.compared is not None:
        texts["comparison.csv"] = contents.compared.write_csv()
    for part in told:
        texts |= part.files
    return texts


def _keys_of(board: pl.DataFrame, num_keys: int | Mapping[str, int]) -> dict[str, int]:
    """The number of keys N by workload label."""
    keys_of = dict.fromkeys(board["workload"], num_keys) if isinstance(num_keys, int) else dict(num_keys)
    unknown = sorted(set(board["workload"]) - set(keys_of))
    if unknown:
        raise UsageError(f"num_keys lacks the workloads {', '.join(unknown)}; it has {', '.join(keys_of)}")
    return keys_of


def _write_figures(
    every: Iterable[tuple[str, Drawn]], out: Path, formats: Collection[str], *, title: str, is_linked: bool
) -> tuple[list[Figure], list[Path]]:
    """All figures as the page shows them, each in its files, and one interactive page of all."""
    figures, charts, written, used = [], [], list[Path](), set[str]()
    for section, drawn in every:
        name, spec = file_name(drawn.kind, drawn.place, used), drawn.chart.to_dict()
        figure, paths = draw(drawn, spec, section, out, name, formats, is_linked=is_linked)
        figures.append(figure)
        charts.append((figure.caption, spec))
        written += paths
    if "html" in formats and charts:
        written.append(write(out / CHARTS_FILE, interactive_page(charts, title=f"{title}: charts")))
    return figures, written


def _drawn(
    results: pl.DataFrame, traces: pl.DataFrame, num_keys: Mapping[str, int], loss: str, told: Iterable[Section]
) -> Iterator[tuple[str, Drawn]]:
    """(title of the section, figure) of all figures, in the order of their files."""
    for drawn in (*curve_figures(results, traces, num_keys, loss), *diverged_figures(results)):
        yield _FIGURE_SECTIONS[drawn.kind], drawn
    for part in told:
        for drawn in part.figures:
            yield part.title, drawn


def _divergence(results: pl.DataFrame) -> dict[str, str]:
    cells = diverged_map(results).partition_by("workload", maintain_order=True)
    return {rows["workload"][0]: divergence_words(rows) for rows in cells}
