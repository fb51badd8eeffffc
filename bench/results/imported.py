"""What the store holds of other people's runs alone: their leaderboard, report, paper bundle and page in MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from analysis import references
from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.foreign.runs import mark_imported, told_apart
from analysis.paper.bundle import write_bundle
from analysis.report.folder import write_report
from analysis.scores.leaderboard import leaderboard
from bench.errors import UsageError
from bench.lazy import polars
from bench.results.board import PAGE_FORMATS, Board, log_report, manifest_with_imports, publish
from bench.store import Store, Tracker, imported_trials, read_imports, read_results, suite_names
from bench.store.outbox import empty_traces
from bench.suite import Suite

NUM_KEYS = 1  # of figures from traces, which imports have not


def read_imported(store: Store, suite_name: str, *, score: str = "lr_sensitivity", loss: str = "train") -> Board:
    """Leaderboard over all that was imported into a suite. Raises UsageError if nothing was."""
    imported = imported_trials(store, suite_name)
    if not imported:
        raise UsageError(f"{store.shown_uri}: nothing was imported as {suite_name!r}")
    found = read_results(store, suite_name).filter(polars.col("trial_id").is_in(imported.keys()))
    results = told_apart(found, imported)
    frame = mark_imported(leaderboard(results, score, loss), results, imported)
    return Board(score=score, loss=loss, frame=frame, results=results, num_missing=0)


def report_imported(
    store: Store,
    suite_name: str,
    out: Path,
    *,
    compare: str | None = None,
    score: str = "lr_sensitivity",
    loss: str = "train",
) -> list[Path]:
    """Write the report folder of a suite of imports alone; returns the files written, the page first."""
    board = read_imported(store, suite_name, score=score, loss=loss)
    return _write(store, suite_name, board, out, compare=compare, is_linked=True)


def bundle_imported(
    store: Store,
    suite_name: str,
    out: Path,
    *,
    published: polars.DataFrame | None,
    score: str,
    loss: str,
    command: str,
) -> list[Path]:
    """Write the paper bundle of a suite of imports alone; returns the files written, its document first.

    published: numbers to set beside theirs. command: said to have made it. Raises UsageError as `write_bundle` does.
    """
    board = read_imported(store, suite_name, score=score, loss=loss)
    return write_bundle(
        board.results,
        empty_traces(),
        out,
        title=f"{suite_name} (imported)",
        num_keys=dict.fromkeys(board.results["workload"], NUM_KEYS),
        manifest=manifest_with_imports(store, suite_name),
        references=published,
        board=board.frame,
        score=score,
        loss=loss,
        command=command,
    )


def holds_imports(store: Store, suite_name: str) -> bool:
    """Whether runs of others, and none of ours, are kept under this name.

    Raises UsageError for a suite with trials of ours, which its file alone tells from what else they stand among.
    """
    num_imported, num_runs = len(imported_trials(store, suite_name)), read_results(store, suite_name).height
    if num_runs > num_imported:
        raise UsageError(
            f"{suite_name}: {store.shown_uri} has {num_runs - num_imported} trials of this suite that were trained "
            "here; required its file"
        )
    return num_imported > 0


def suites_of_imports(store: Store) -> list[str]:
    """Names that runs of others were imported under."""
    return [name for name in suite_names(store) if read_imports(store, name)]


def publish_imports(suite: Suite | str | None, suite_name: str, store: Store, tracker: Tracker) -> None:
    """Put the leaderboard of a suite of ours with its imports, or of imports alone, on the suite run."""
    if isinstance(suite, Suite):
        publish(suite, store, tracker)
        return
    board = read_imported(store, suite_name)
    tracker.log_leaderboard(board.frame)
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(store, suite_name, board, Path(folder), compare=None, is_linked=False)
        log_report(tracker, Path(folder), paths, "Runs of others, imported.")


def end_status(suite: Suite | str | None, state: str) -> Literal["FINISHED", "FAILED", "KILLED"]:
    """What the suite run was before; an import neither ends a run nor makes up for one that was stopped."""
    if not isinstance(suite, Suite) or state == "finished":
        return "FINISHED"
    return "FAILED" if state == "failed" else "KILLED"


def _write(
    store: Store, suite_name: str, board: Board, out: Path, *, compare: str | None, is_linked: bool
) -> list[Path]:
    imports = read_imports(store, suite_name)
    formats = tuple(FIGURE_FORMATS) if is_linked else PAGE_FORMATS
    return write_report(
        board.results,
        empty_traces(),
        out,
        title=f"{suite_name} (imported)",
        provenance={f"import {name}": _shown(record) for name, record in imports.items()},
        num_keys=NUM_KEYS,
        manifest=manifest_with_imports(store, suite_name),
        references=references.load(compare) if compare else None,
        score=board.score,
        loss=board.loss,
        formats=formats,
        board=board.frame,
        is_linked=is_linked,
    )


def _shown(record: dict[str, Any]) -> str:
    sources = "; ".join(record["sources"]) or "not stated"
    assumed = ", ".join(f"{name} {value}" for name, value in record["assumed"].items()) or "nothing"
    runs = f"{record['num_runs']} runs of {record['file']}, sha256 {record['sha256']}"
    return f"{runs}; source: {sources}; assumed: {assumed}"
