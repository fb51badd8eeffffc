"""The report folder: tables, curves, figures and one HTML page that works offline. The only file here that writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analysis.aggregate import layer_summary, loss_summary, telling_lr, trace_summary
from analysis.chart_style import Chart
from analysis.comparison import compare
from analysis.curves import ENTRY, HELD_OUT_COLUMNS, curves, with_knobs
from analysis.figures import FIGURE_FORMATS, loss_against_lr, save
from analysis.leaderboard import leaderboard
from analysis.losses import SCORED_LOSSES, choose_loss, has_held_out
from analysis.page import Figure, leaderboard_body, whole_page
from analysis.tables import FORMATS
from analysis.trace_figures import entropy_by_layer, training_behaviour
from bench.errors import UsageError

# Suffix of each table file: which of FORMATS fills it. The HTML one is the page itself.
TABLE_FILES: dict[str, str] = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}

_METHODS_PER_FIGURE = 14  # seven colours, each solid and dashed

# Which of SCORED_LOSSES is drawn against lr: the file's name.
_LOSS_FIGURES: dict[str, str] = {"train": "loss_against_lr", "validation": "val_loss_against_lr"}

_LOSS_NOTE = (
    "Line: mean over seeds; bar: least to largest seed; ×: at least one seed diverged and counts as its loss at init"
)
_TRACE_NOTE = (
    "Mean over the seeds that completed; lines ending in ×: over the seeds that diverged, up to the first divergence\n"
    "Entropy band: standard deviation over layers"
)
_LAYER_NOTE = (
    "Mean over the seeds that completed; dashed lines ending in ×: over the seeds that diverged, up to the first "
    "divergence"
)


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
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `index.html` first.

    `results` has RESULT_COLUMNS, `traces` TRACE_COLUMNS and trial_id (of `trials_to_trace` at least; no rows: no
    training figures). `num_keys` is the number of keys N of the workload's attention, or one a workload label.
    `manifest`, JSON text, goes into the folder as it is. `references` is a frame of published numbers
    (analysis.references.load). Each figure has what it draws beside it, as CSV. Training figures are drawn at the lr at
    which methods differ most in the scored `loss`; the loss against lr is drawn for held-out data as well, where there
    are any. Raises UsageError if no trial has a result, a workload lacks its number of keys or the scored loss, or no
    method is among the references.
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
    figures = []
    for name, caption, drawn in _figures(results, traces, keys_of, loss):
        paths = {suffix: out / "figures" / f"{name}.{suffix}" for suffix in FIGURE_FORMATS}
        (out / "figures").mkdir(exist_ok=True)
        written += [save(drawn.chart, path) for path in paths.values()]
        written.append(_write(out / "figures" / f"{name}.csv", drawn.summary.write_csv()))
        figures.append(Figure(caption=caption, svg=paths["svg"].read_text(encoding="utf-8")))
    body = leaderboard_body(board, title=title, provenance=provenance, compared=compared)
    files = [path.relative_to(out).as_posix() for path in written]
    page = whole_page(body, title=title, figures=figures, files=files)
    return [_write(out / "index.html", page), *written]


def trials_to_trace(results: pl.DataFrame, loss: str = "train") -> list[str]:
    """Ids of the trials whose traces `write_report` draws; a caller need read no others."""
    parts = [part for _, part in _parts(choose_loss(results, loss)) if not loss_summary(part).is_empty()]
    drawn = [part.filter(pl.col("lr") == telling_lr(part))["trial_id"].to_list() for part in parts]
    return sorted(set().union(*drawn))


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """One figure: `kind` starts its file name, `summary` is what the chart draws."""

    kind: str
    title: str
    chart: Chart
    summary: pl.DataFrame


def _figures(
    results: pl.DataFrame, traces: pl.DataFrame, num_keys: Mapping[str, int], scored: str
) -> Iterator[tuple[str, str, _Drawn]]:
    """(file name without suffix, caption, figure) of each, a few methods at a time."""
    used: set[str] = set()
    for place, part in _parts(results):
        keys = num_keys[part["workload"][0]]
        for drawn in (*_loss_figures(part, place), *_trace_figures(part, traces, place, keys, scored)):
            yield _file_name(drawn.kind, place, used), f"{drawn.title}: {place}", drawn


def _loss_figures(part: pl.DataFrame, place: str) -> Iterator[_Drawn]:
    """Final loss against lr: of training, and of held-out data where there are any."""
    for loss, kind in _LOSS_FIGURES.items():
        if loss == "validation" and not has_held_out(part):
            continue
        summary = loss_summary(choose_loss(part, loss))
        if not summary.is_empty():
            title = f"Final {SCORED_LOSSES[loss].title} against learning rate"
            chart = loss_against_lr(summary, title=title, subtitle=f"{place}\n{_LOSS_NOTE}", loss=loss)
            yield _Drawn(kind=kind, title=title, chart=chart, summary=summary)


def _trace_figures(
    part: pl.DataFrame, traces: pl.DataFrame, place: str, num_keys: int, scored: str
) -> Iterator[_Drawn]:
    """What is drawn against step, at the lr that tells methods apart in the scored loss."""
    chosen = choose_loss(part, scored)
    if loss_summary(chosen).is_empty():
        return
    lr = telling_lr(chosen)
    where = f"at lr = {lr:g}, where methods differ most"
    traced, layers = trace_summary(part, traces, lr), layer_summary(part, traces, lr)
    if traced.height:
        title, subtitle = f"Training behaviour {where}", f"{place}\n{_TRACE_NOTE}"
        chart = training_behaviour(traced, num_keys=num_keys, title=title, subtitle=subtitle)
        yield _Drawn(kind="training_behaviour", title=title, chart=chart, summary=traced)
    if layers.height:
        title, subtitle = f"Attention entropy of every layer {where}", f"{place}\n{_LAYER_NOTE}"
        chart = entropy_by_layer(layers, num_keys=num_keys, title=title, subtitle=subtitle)
        yield _Drawn(kind="entropy_by_layer", title=title, chart=chart, summary=layers)


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
