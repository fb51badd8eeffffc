"""Puts what was computed of a subject on its runs in MLflow: numbers of each method, and the page of the suite run."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.report.views import view_of
from analysis.subject import AnySubject, Subject
from analysis.tables.forms.table import NOTHING, Number
from analysis.text import decimals, lr_text
from bench.errors import UsageError
from bench.lazy import polars as pl
from bench.store import Store, Tracker

RENDERER = ("altair", "vl_convert")  # what draws figures
PAGE_FORMATS = ("html",)  # of its figures; the page itself holds them as SVG
PAGE_SUFFIXES = (".html", ".csv", ".md", ".tex", ".json")  # of a report's files that MLflow keeps
# Tag of the suite run and its method runs: field of the manifest.
PROVENANCE_TAGS: dict[str, str] = {
    "bench.version": "bench",
    "bench.commit": "git",
    "bench.date": "written",
    "bench.suite_sha256": "suite_sha256",
    "bench.device": "device",
}


def check_renderer() -> None:
    """Raises UsageError if one of RENDERER is not installed, before a run that would miss it at its end."""
    missing = [name for name in RENDERER if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{' and '.join(missing)}: not installed, which figures need; required it, or --no-figures")


def publish(subject: AnySubject, store: Store, tracker: Tracker, *, has_figures: bool = True) -> None:
    """Put the board on the method runs and the page on the suite run.

    Where a server keeps the traces, the page goes without the scores that need those of all trials: they would have to
    be downloaded one by one. has_figures: false for a page of tables, which needs none of RENDERER installed.
    """
    from analysis.report.folder import write_report  # draws: a run alone loads nothing of it

    if isinstance(subject, Subject) and store.is_remote:
        subject = dataclasses.replace(subject, is_measured=False)
    view = view_of(subject)
    tracker.log_leaderboard(subject.board, texts=board_texts(subject.board))
    tracker.tag(provenance_tags(subject.plain_manifest))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = write_report(subject, folder, formats=PAGE_FORMATS if has_figures else None, is_linked=False)
        names = {"index.html": view.page}
        kept = [path.relative_to(folder).as_posix() for path in paths if path.suffix in PAGE_SUFFIXES]
        tracker.log_page(view.page_text(subject, folder), {names.get(name, name): folder / name for name in kept})


def board_texts(board: pl.DataFrame) -> dict[str, list[str]]:
    """For people, in few digits, by title: LR sensitivity with its interval, least loss with its rate; a text a line.

    MLflow shows metrics with as many digits as there is room for. {} for a board without these columns.
    """
    if not {"lr_sensitivity", "ci_low", "ci_high", "best_loss", "best_lr"} <= set(board.columns):
        return {}
    places = decimals(board["lr_sensitivity"].drop_nulls(), 3)
    sensitivity = [
        Number(value=value, low=low, high=high, decimals=places).text
        for value, low, high in board.select("lr_sensitivity", "ci_low", "ci_high").iter_rows()
    ]
    best = [
        NOTHING if loss is None or lr is None else f"{Number(value=loss).text} at {lr_text(lr)}"
        for loss, lr in board.select("best_loss", "best_lr").iter_rows()
    ]
    return {"LR sensitivity": sensitivity, "Best loss": best}


def provenance_tags(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a suite's runs are found by in MLflow's search bar, from the manifest of its last start; {} without one."""
    return {tag: str(manifest[name]) for tag, name in PROVENANCE_TAGS.items() if name in manifest}
