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
from analysis.scores.leaderboard import leaderboard
from bench.entry import build
from bench.errors import UsageError
from bench.lazy import polars
from bench.suite import Suite
from bench.tracking import (
    Store,
    Tracker,
    imported_trials,
    read_imports,
    read_manifest,
    read_results,
    read_traces,
)
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
    return _write(suite, store, read_board(suite, store, score=score, loss=loss), out, compare=compare)


def publish(suite: Suite, store: Store, tracker: Tracker) -> Board:
    """Put the leaderboard on the method runs and the page on the suite run; returns the leaderboard."""
    board = read_board(suite, store)
    tracker.log_leaderboard(board.frame)
    tracker.tag(provenance_tags(json.loads(read_manifest(store, suite.name) or "{}")))
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(suite, store, board, Path(folder), compare=None, formats=PAGE_FORMATS, is_linked=False)
        log_report(tracker, Path(folder), paths, suite.description)
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
        provenance=_provenance(suite, json.loads(manifest or "{}"), board),
        num_keys={choice.label: build(WORKLOADS, choice).num_keys for choice in suite.entries["workloads"]},
        manifest=manifest,
        references=references.load(compare) if compare else None,
        score=board.score,
        loss=board.loss,
        formats=formats,
        board=board.frame,
        is_linked=is_linked,
    )


def manifest_with_imports(store: Store, suite_name: str) -> str | None:
    """JSON text of the suite's manifest, and under `imports` what was imported beside its trials; None without both."""
    text, imports = read_manifest(store, suite_name), read_imports(store, suite_name)
    return json.dumps({**json.loads(text or "{}"), "imports": imports}, indent=2) if imports else text


def provenance_tags(manifest: dict[str, Any]) -> dict[str, str]:
    """What a suite's runs are found by in MLflow's search bar, from the manifest of its last start; {} without one."""
    return {tag: str(manifest[name]) for tag, name in PROVENANCE_TAGS.items() if name in manifest}


def _workloads(suite: Suite) -> list[str]:
    return [choice.label for choice in suite.entries["workloads"]]


def _provenance(suite: Suite, manifest: dict[str, Any], board: Board) -> dict[str, Any]:
    for name in ("manifest_version", "suite", "seeds", "num_trials"):
        manifest.pop(name, None)
    packages = manifest.pop("packages", {})
    attention = manifest.pop("attention", {})
    seeds = ", ".join(map(str, suite.seeds))
    return {
        "suite": suite.description or suite.name,
        "trials": f"{suite.num_trials - board.num_missing} of {suite.num_trials} finished",
        "seeds": seeds,
        **{name: _shown(value) for name, value in manifest.items()},
        "attention": "; ".join(
            f"{workload}: " + ", ".join(f"{method} {how}" for method, how in by_method.items())
            for workload, by_method in attention.items()
        ),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }


def _shown(value: Any) -> Any:
    """A value of the manifest, a dict in one line."""
    return ", ".join(f"{name} {one}" for name, one in value.items()) if isinstance(value, dict) else value
