"""The report folder: tables, curves, figures and one HTML page that works offline. The only file here that writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.aggregate import loss_summary, telling_lr, trace_summary
from analysis.curves import ENTRY, curves, with_knobs
from analysis.figures import FIGURE_FORMATS, Chart, loss_against_lr, save, training_behaviour
from analysis.leaderboard import compare, leaderboard
from analysis.page import Figure, leaderboard_body, whole_page
from analysis.tables import FORMATS
from bench.errors import UsageError

# Suffix of each table file: which of FORMATS fills it. The HTML one is the page itself.
TABLE_FILES: dict[str, str] = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}

_METHODS_PER_FIGURE = 14  # seven colours, each solid and dashed

_LOSS_NOTE = (
    "Line: mean over seeds; bar: least to largest seed; ×: at least one seed diverged and counts as its loss at init"
)
_TRACE_NOTE = (
    "Mean over the seeds that completed; lines ending in ×: over the seeds that diverged, up to the first divergence\n"
    "Entropy band: standard deviation over layers"
)


def write_report(
    results: pl.DataFrame,
    traces: pl.DataFrame,
    out: Path,
    *,
    title: str,
    provenance: Mapping[str, Any],
    num_keys: int | Mapping[str, int],
    references: pl.DataFrame | None = None,
    score: str = "lr_sensitivity",
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    `results` has RESULT_COLUMNS, `traces` TRACE_COLUMNS and trial_id (of `trials_to_trace` at least; no rows: no
    training figures). `num_keys` is the number of keys N of the workload's attention, or one a workload label.
    `references` is a frame of published numbers (analysis.references.load). Training figures are drawn at the lr at
    which methods differ most. Raises UsageError if no trial has a result or a workload lacks its number of keys.
    """
    board = leaderboard(results, score)
    if board.is_empty():
        raise UsageError("there is nothing to report: no trial completed or diverged")
    keys_of = dict.fromkeys(board["workload"], num_keys) if isinstance(num_keys, int) else dict(num_keys)
    unknown = sorted(set(board["workload"]) - set(keys_of))
    if unknown:
        raise UsageError(f"num_keys lacks the workloads {', '.join(unknown)}; it has {', '.join(keys_of)}")
    out.mkdir(parents=True, exist_ok=True)
    written = [_write(out / f"leaderboard.{suffix}", FORMATS[form](board)) for suffix, form in TABLE_FILES.items()]
    columns = ["workload", "method", "optimizer", "lr", "seed", "final_loss", "initial_loss", "outcome", "knobs"]
    written.append(_write(out / "curves.csv", curves(results).select(columns).write_csv()))
    compared = None if references is None else compare(board, references)
    if compared is not None:
        written.append(_write(out / "comparison.csv", compared.write_csv()))
    figures = []
    for name, caption, chart in _charts(results, traces, keys_of):
        paths = {suffix: out / "figures" / f"{name}.{suffix}" for suffix in FIGURE_FORMATS}
        (out / "figures").mkdir(exist_ok=True)
        written += [save(chart, path) for path in paths.values()]
        figures.append(Figure(caption=caption, svg=paths["svg"].read_text(encoding="utf-8")))
    body = leaderboard_body(board, title=title, provenance=provenance, compared=compared)
    files = [path.relative_to(out).as_posix() for path in written]
    page = whole_page(body, title=title, figures=figures, files=files)
    return [_write(out / "index.html", page), *written]


def trials_to_trace(results: pl.DataFrame) -> list[str]:
    """Ids of the trials whose traces `write_report` draws; a caller need read no others."""
    parts = [part for _, part in _parts(results) if not loss_summary(part).is_empty()]
    drawn = [part.filter(pl.col("lr") == telling_lr(part))["trial_id"].to_list() for part in parts]
    return sorted(set().union(*drawn))


def _charts(
    results: pl.DataFrame, traces: pl.DataFrame, num_keys: Mapping[str, int]
) -> Iterator[tuple[str, str, Chart]]:
    """(file name without suffix, caption, chart) of every figure, a few methods at a time."""
    used: set[str] = set()
    for place, part in _parts(results):
        summary = loss_summary(part)
        if summary.is_empty():
            continue
        title, subtitle = "Final loss against learning rate", f"{place}\n{_LOSS_NOTE}"
        chart = loss_against_lr(summary, title=title, subtitle=subtitle)
        yield _file_name("loss_against_lr", place, used), f"{title}: {place}", chart
        lr = telling_lr(part)
        traced = trace_summary(part, traces, lr)
        if traced.height:
            title, subtitle = f"Training behaviour at lr = {lr:g}, where methods differ most", f"{place}\n{_TRACE_NOTE}"
            keys = num_keys[part["workload"][0]]
            chart = training_behaviour(traced, num_keys=keys, title=title, subtitle=subtitle)
            yield _file_name("training_behaviour", place, used), f"{title}: {place}", chart


def _parts(results: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The results of one workload, optimizer and setting of the other knobs, _METHODS_PER_FIGURE at most at a time."""
    for key, group in with_knobs(results).sort(*ENTRY).group_by("workload", "optimizer", "knobs", maintain_order=True):
        place = ", ".join(str(part) for part in key if part)
        methods = group["method"].unique().sort().to_list()
        for start in range(0, len(methods), _METHODS_PER_FIGURE):
            chosen = methods[start : start + _METHODS_PER_FIGURE]
            yield place, group.filter(pl.col("method").is_in(chosen)).drop("knobs")


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
