"""The report folder: tables, curves, figures and one HTML page that works offline. The only file here that writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.aggregate import loss_summary, telling_lr
from analysis.comparison import compare
from analysis.curves import HELD_OUT_COLUMNS, curves
from analysis.figures import FIGURE_FORMATS, save
from analysis.leaderboard import leaderboard
from analysis.losses import choose_loss, has_held_out
from analysis.page import Figure, leaderboard_body, whole_page
from analysis.report_figures import Drawn, curve_figures, parts
from analysis.report_sections import report_sections
from analysis.tables import FORMATS
from bench.errors import UsageError

# Suffix of each table file: which of FORMATS fills it. The HTML one is the page itself.
TABLE_FILES: dict[str, str] = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}


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
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    `results` has RESULT_COLUMNS, `traces` TRACE_COLUMNS and trial_id (of `trials_to_trace` at least; no rows: no
    training figures). `num_keys` is the number of keys N of the workload's attention, or one a workload label.
    `manifest`, JSON text, goes into the folder as it is. `references` is a frame of published numbers
    (analysis.references.load). Each figure has what it draws beside it, as CSV, and comes as SVG and in the `formats`
    of FIGURE_FORMATS. Training figures are drawn at the lr at
    which methods differ most in the scored `loss`; the loss against lr is drawn for held-out data as well, where there
    are any. What else the suite tells has its files and sections (analysis.report_sections). Raises UsageError if no
    trial has a result, a workload lacks its number of keys or the scored loss, or no method is among the references.
    """
    board = leaderboard(results, score, loss)
    if board.is_empty():
        raise UsageError("there is nothing to report: no trial completed or diverged")
    keys_of = dict.fromkeys(board["workload"], num_keys) if isinstance(num_keys, int) else dict(num_keys)
    unknown = sorted(set(board["workload"]) - set(keys_of))
    if unknown:
        raise UsageError(f"num_keys lacks the workloads {', '.join(unknown)}; it has {', '.join(keys_of)}")
    out.mkdir(parents=True, exist_ok=True)
    written = [_write(out / f"leaderboard.{suffix}", FORMATS[form](board)) for suffix, form in TABLE_FILES.items()]
    columns = ["workload", "method", "optimizer", "lr", "seed", "final_loss", "initial_loss", "outcome", "knobs"]
    columns += HELD_OUT_COLUMNS if has_held_out(results) else ()
    written.append(_write(out / "curves.csv", curves(results).select(columns).write_csv()))
    if manifest is not None:
        written.append(_write(out / "manifest.json", manifest))
    compared = None if references is None else compare(board, references)
    if compared is not None:
        written.append(_write(out / "comparison.csv", compared.write_csv()))
    told = report_sections(results, board, score, loss)
    written += [_write(out / name, text) for part in told for name, text in part.files.items()]
    used: set[str] = set()
    figures = []
    for drawn in (*curve_figures(results, traces, keys_of, loss), *(drawn for part in told for drawn in part.figures)):
        paths, figure = _draw(drawn, out / "figures", _file_name(drawn.kind, drawn.place, used), formats)
        written += paths
        figures.append(figure)
    sections = [part.section for part in told]
    body = leaderboard_body(board, title=title, provenance=provenance, compared=compared, sections=sections)
    files = [path.relative_to(out).as_posix() for path in written]
    page = whole_page(body, title=title, figures=figures, files=files)
    return [_write(out / "index.html", page), *written]


def trials_to_trace(results: pl.DataFrame, loss: str = "train") -> list[str]:
    """Ids of the trials whose traces `write_report` draws; a caller need read no others."""
    shown = [part for _, part in parts(choose_loss(results, loss)) if not loss_summary(part).is_empty()]
    drawn = [part.filter(pl.col("lr") == telling_lr(part))["trial_id"].to_list() for part in shown]
    return sorted(set().union(*drawn))


def _draw(drawn: Drawn, folder: Path, name: str, formats: Collection[str]) -> tuple[list[Path], Figure]:
    """Saves the figure as SVG and in these formats, and what it draws as CSV: the paths, and the figure of the page."""
    folder.mkdir(exist_ok=True)
    paths = {suffix: folder / f"{name}.{suffix}" for suffix in FIGURE_FORMATS if suffix in ("svg", *formats)}
    written = [save(drawn.chart, path) for path in paths.values()]
    written.append(_write(folder / f"{name}.csv", drawn.summary.write_csv()))
    caption = f"{drawn.title}: {drawn.place}"
    return written, Figure(caption=caption, svg=paths["svg"].read_text(encoding="utf-8"))


def _file_name(kind: str, place: str, used: set[str]) -> str:
    """A file name that no file system objects to, unlike those in `used`, to which it is added."""
    stem = f"{kind}-" + re.sub(r"[^A-Za-z0-9.=]+", "_", place).strip("_.")[:100]
    name, number = stem, 2
    while name.lower() in used:
        name, number = f"{stem}-{number}", number + 1
    used.add(name.lower())
    return name


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
