"""Import other people's runs: into the store of record, and onto a leaderboard, marked as imported.

A file is an import, named as the file. Its runs stand in a suite of their own, or beside the trials of a suite of ours.
The same import again replaces its runs: what did not change stays as it is.
"""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from analysis import references
from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.foreign.runs import ABSENT, Foreign, Reading, foreign_results, mark_imported, told_apart
from analysis.foreign.tidy_file import TidyFile
from analysis.report.folder import write_report
from analysis.scores.leaderboard import leaderboard
from bench.errors import StoreError, UsageError
from bench.lazy import polars
from bench.outbox import empty_traces
from bench.publish import PAGE_FORMATS, Board, log_report, manifest_with_imports, publish, read_board
from bench.suite import Suite
from bench.suite.errors import suggest
from bench.tracking import (
    Store,
    Tracker,
    imported_trials,
    read_imports,
    read_results,
    read_status,
    records,
    suite_names,
)
from bench.trial import KNOB_NAMES, Result

RUNS_AT_ONCE = 1000  # of one entry of the outbox
SUITE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did to the store, and the leaderboard that its runs stand on."""

    name: str
    suite_name: str
    foreign: Foreign
    board: Board
    num_new: int
    num_replaced: int
    num_removed: int

    @property
    def is_unchanged(self) -> bool:
        return self.num_new + self.num_replaced + self.num_removed == 0


def import_runs(
    file: TidyFile,
    store: Store,
    *,
    suite: Suite | str | None,
    workload: str | None = None,
    initial_loss: float | None = None,
    settings: tuple[str, ...] = (),
    score: str = "lr_sensitivity",
    loss: str = "train",
) -> Imported:
    """Put the runs of a file into the store and publish their leaderboard; the same file again changes nothing.

    suite: ours, beside whose trials they stand, or the name of one of imports alone (None: the file's).

    Raises UsageError for a file that is not right, before anything is stored, for a name that our own trials have, and
    while the suite is being run.
    """
    name = _import_name(file)
    suite_name = _suite_name(suite, name)
    foreign = _read(file, name, suite, suite_name, workload, initial_loss, settings)
    leaderboard(foreign.frame, score, loss)  # what can't be scored is not stored
    store.create()
    if not isinstance(suite, Suite):
        _refuse_own_trials(store, suite_name)
    texts = {result.trial.id: records.result_text(records.trial_tags(result)) for result in foreign.results}
    record = _record(file, foreign)
    tracker = Tracker(store, suite_name)
    try:
        held = tracker.imported(name)
        is_unchanged = held == texts and read_imports(store, suite_name).get(name) == record
        if not is_unchanged:
            state = read_status(store, suite_name)["state"]
            _deliver(tracker, [result for result in foreign.results if held.get(result.trial.id) != _text(result)])
            tracker.remove(held.keys() - texts.keys())
            tracker.log_import(name, record)
            publish_imports(suite, suite_name, store, tracker)
            tracker.finish(end_status(suite, state))
    finally:
        tracker.close()
    return Imported(
        name=name,
        suite_name=suite_name,
        foreign=foreign,
        board=_read_board(suite, suite_name, store, score, loss),
        num_new=len(texts.keys() - held.keys()),
        num_replaced=sum(held[trial_id] != texts[trial_id] for trial_id in held.keys() & texts.keys()),
        num_removed=len(held.keys() - texts.keys()),
    )


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


def _read(
    file: TidyFile,
    name: str,
    suite: Suite | str | None,
    suite_name: str,
    workload: str | None,
    initial_loss: float | None,
    settings: tuple[str, ...],
) -> Foreign:
    """The runs of the file, and beside a suite's trials on one of its workloads."""
    absent = ABSENT if not isinstance(suite, Suite) else {**ABSENT, **_same_as(suite, workload)}
    has_company = isinstance(suite, Suite) or suite_name != name
    reading = Reading(
        name=name,
        workload=workload,
        initial_loss=initial_loss,
        settings=settings,
        absent=absent,
        label=(lambda method: f"{method}(imported={name})") if has_company else str,
    )
    foreign = foreign_results(file, reading)
    if isinstance(suite, Suite):
        _check_workloads(file, foreign, suite)
    return foreign


def _same_as(suite: Suite, workload: str | None) -> dict[str, Any]:
    """What all trials of a suite, or of its workload, have in common; it counts where a file is silent."""
    if suite.search is not None:
        raise UsageError(f"suite {suite.name!r} searches; required one with a leaderboard, which trains its grid")
    trials = [trial for trial in suite.expand() if workload in (None, trial.workload.label)]
    common: dict[str, set[Any]] = {"num_steps": {trial.num_steps for trial in trials}}
    for name in ("workload", "optimizer", "schedule"):
        common[name] = {getattr(trial, name).label for trial in trials}
    for name in KNOB_NAMES[1:]:
        common[name] = {getattr(trial.knobs, name) for trial in trials}
    return {name: values.pop() for name, values in common.items() if len(values) == 1}


def _check_workloads(file: TidyFile, foreign: Foreign, suite: Suite) -> None:
    labels = [choice.label for choice in suite.entries["workloads"]]
    for row, result in enumerate(foreign.results, 1):
        label = result.trial.workload.label
        if label not in labels:
            raise UsageError(
                f"{file.shown}: row {row}, column 'workload': {label!r}; required a workload of suite {suite.name!r}, "
                f"here or by --workload: {suggest(label, labels, existing='there are')}"
            )


def _deliver(tracker: Tracker, results: list[Result]) -> None:
    for start in range(0, len(results), RUNS_AT_ONCE):
        tracker.put(results[start : start + RUNS_AT_ONCE], {})
    if num_waiting := tracker.deliver():
        raise StoreError(f"the store did not take {num_waiting} packs of the import; the same import delivers them")


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
        num_keys=1,  # of figures from traces, which imports have not
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


def _read_board(suite: Suite | str | None, suite_name: str, store: Store, score: str, loss: str) -> Board:
    if isinstance(suite, Suite):
        return read_board(suite, store, score=score, loss=loss)
    return read_imported(store, suite_name, score=score, loss=loss)


def _record(file: TidyFile, foreign: Foreign) -> dict[str, Any]:
    """What is kept of an import: plain data for JSON."""
    return {
        "file": file.name,
        "sha256": file.sha256,
        "sources": list(foreign.sources),
        "num_runs": len(foreign.results),
        "assumed": {name: plain_value(value) for name, value in foreign.assumed.items()},
    }


def plain_value(value: Any) -> Any:
    """A value that stands for what a file leaves out, as messages and JSON show it."""
    if value is None:
        return "unknown"
    return "off" if value == math.inf else value


def _text(result: Result) -> str:
    return records.result_text(records.trial_tags(result))


def end_status(suite: Suite | str | None, state: str) -> Literal["FINISHED", "FAILED", "KILLED"]:
    """What the suite run was before; an import neither ends a run nor makes up for one that was stopped."""
    if not isinstance(suite, Suite) or state == "finished":
        return "FINISHED"
    return "FAILED" if state == "failed" else "KILLED"


def _import_name(file: TidyFile) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(file.name).stem).lstrip("_.-")[:100] or "runs"


def _suite_name(suite: Suite | str | None, name: str) -> str:
    if isinstance(suite, Suite):
        return suite.name
    if suite is not None and not re.fullmatch(SUITE_NAME, suite):
        raise UsageError(
            f"--suite {suite!r}: required a suite file, or a name of letters, digits, _ - . to import under"
        )
    return suite or name


def _refuse_own_trials(store: Store, suite_name: str) -> None:
    own = read_results(store, suite_name).height - len(imported_trials(store, suite_name))
    if own:
        raise UsageError(
            f"{store.shown_uri}: suite {suite_name!r} has {own} trials of our own; required --suite with its file, to "
            "stand beside them, or another name"
        )
