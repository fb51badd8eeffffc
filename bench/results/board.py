"""Join what tracking reads with what analysis computes: the leaderboard of a suite, its page on MLflow, its report."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import references
from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.foreign.runs import mark_imported, told_apart
from analysis.report.folder import trials_to_trace, write_report
from analysis.report.provenance import provenance_of
from analysis.scores.leaderboard import leaderboard
from analysis.scores.table import trials_to_measure
from analysis.scores.traces import lot_measures
from bench.entry import build
from bench.errors import UsageError
from bench.lazy import polars
from bench.store import (
    Store,
    Tracker,
    imported_trials,
    read_imports,
    read_manifest,
    read_results,
    read_traces,
    trace_lots,
)
from bench.suite import Suite
from bench.workloads import WORKLOADS

PAGE_FORMATS = ("html",)  # of its figures; the page itself holds them as SVG
# Tag of the suite run and its method runs: field of the manifest.
PROVENANCE_TAGS: dict[str, str] = {
    "bench.version": "bench",
    "bench.commit": "git",
    "bench.date": "written",
    "bench.suite_sha256": "suite_sha256",
    "bench.device": "device",
}
PAGE_SUFFIXES = (".html", ".csv", ".md", ".tex", ".json")  # of a report's files that MLflow keeps


@dataclass(frozen=True, kw_only=True)
class Board:
    """A suite's leaderboard and the results behind it; `num_missing` trials of the suite have no result yet.

    `score` and `loss` are what the leaderboard is ordered by and which loss all of its scores are of.
    """

    score: str
    loss: str
    frame: polars.DataFrame
    results: polars.DataFrame
    num_missing: int


def read_board(suite: Suite, store: Store, *, score: str = "lr_sensitivity", loss: str = "train") -> Board:
    """Leaderboard over the trials of this suite and those imported beside them, whatever else its experiment holds.

    Raises UsageError if none ran, and for the validation loss of a workload without held-out data.
    """
    wanted = {trial.id for trial in suite.expand()}
    imported = imported_trials(store, suite.name)
    is_beside = polars.col("trial_id").is_in(imported.keys()) & polars.col("workload").is_in(_workloads(suite))
    results = read_results(store, suite.name).filter(polars.col("trial_id").is_in(wanted) | is_beside)
    finished = results.filter(polars.col("outcome").is_in(["completed", "diverged"]))
    if finished.is_empty():
        raise UsageError(f"{store.shown_uri}: no trial of suite {suite.name!r} has a result yet; run it first")
    results = told_apart(results, imported)
    frame = mark_imported(leaderboard(results, score, loss), results, imported)
    num_missing = len(wanted - set(finished["trial_id"]))
    return Board(score=score, loss=loss, frame=frame, results=results, num_missing=num_missing)


def report(
    suite: Suite,
    store: Store,
    out: Path,
    *,
    compare: str | None,
    score: str = "lr_sensitivity",
    loss: str = "train",
) -> list[Path]:
    """Write the report folder of a suite; returns the files written, the page first."""
    board = read_board(suite, store, score=score, loss=loss)
    return _write(suite, store, board, out, measures=_measures(suite, store, board), compare=compare)


def publish(suite: Suite, store: Store, tracker: Tracker) -> Board:
    """Put the leaderboard on the method runs and the page on the suite run; returns the leaderboard.

    Where a server keeps the traces, the page goes without the scores that need those of all trials: they would have to
    be downloaded one by one.
    """
    board = read_board(suite, store)
    tracker.log_leaderboard(board.frame)
    tracker.tag(provenance_tags(json.loads(read_manifest(store, suite.name) or "{}")))
    measures = None if store.is_remote else _measures(suite, store, board)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        paths = _write(suite, store, board, out, measures=measures, compare=None, formats=PAGE_FORMATS, is_linked=False)
        log_report(tracker, out, paths, suite.description)
    return board


def log_report(tracker: Tracker, folder: Path, paths: Collection[Path], description: str) -> None:
    """Puts the report in `folder` on the page of the suite run."""
    kept = [path for path in paths if path.suffix in PAGE_SUFFIXES]
    names = {"index.html": "leaderboard.html"}
    files = {names.get(path.name, path.relative_to(folder).as_posix()): path for path in kept}
    markdown = (folder / "leaderboard.md").read_text(encoding="utf-8")
    tracker.log_page(f"{markdown}\n{description}\n", files)


def _write(
    suite: Suite,
    store: Store,
    board: Board,
    out: Path,
    *,
    measures: polars.DataFrame | None,
    compare: str | None,
    formats: Collection[str] = tuple(FIGURE_FORMATS),
    is_linked: bool = True,
) -> list[Path]:
    traces = read_traces(store, suite.name, trials_to_trace(board.results, board.loss))
    manifest = manifest_with_imports(store, suite.name)
    return write_report(
        board.results,
        traces,
        out,
        title=suite.name,
        provenance=provenance_of(
            json.loads(manifest or "{}"),
            description=suite.description or suite.name,
            trials=f"{suite.num_trials - board.num_missing} of {suite.num_trials} finished",
            seeds=suite.seeds,
        ),
        num_keys=_num_keys(suite),
        manifest=manifest,
        references=references.load(compare) if compare else None,
        score=board.score,
        loss=board.loss,
        formats=formats,
        board=board.frame,
        measures=measures,
        is_linked=is_linked,
    )


def _measures(suite: Suite, store: Store, board: Board) -> polars.DataFrame:
    """What the traces of all trials say, read a lot of trials at a time."""
    trials = trials_to_measure(board.results, _num_keys(suite))
    return lot_measures(trace_lots(store, suite.name, trials["trial_id"].to_list(), ("loss", "entropy")), trials)


def manifest_with_imports(store: Store, suite_name: str) -> str | None:
    """JSON text of the suite's manifest, and under `imports` what was imported beside its trials; None without both."""
    text, imports = read_manifest(store, suite_name), read_imports(store, suite_name)
    return json.dumps({**json.loads(text or "{}"), "imports": imports}, indent=2) if imports else text


def provenance_tags(manifest: dict[str, Any]) -> dict[str, str]:
    """What a suite's runs are found by in MLflow's search bar, from the manifest of its last start; {} without one."""
    return {tag: str(manifest[name]) for tag, name in PROVENANCE_TAGS.items() if name in manifest}


def _num_keys(suite: Suite) -> dict[str, int]:
    """Number of keys of the attention of every workload, by label."""
    return {choice.label: build(WORKLOADS, choice).num_keys for choice in suite.entries["workloads"]}


def _workloads(suite: Suite) -> list[str]:
    return [choice.label for choice in suite.entries["workloads"]]
