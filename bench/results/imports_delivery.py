"""Make the store hold the runs of an import, or, where that fails, what it held before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.subject import Subject
from bench.errors import FullStoreError, StoreError
from bench.imports.runs import ImportedRuns
from bench.lazy import polars
from bench.outcome import Result
from bench.results.publish import publish
from bench.results.stored import Stored
from bench.results.subjects import read_grid
from bench.store import Store, Tracker, read_import, read_imports, read_status, read_traces

RUNS_AT_ONCE = 1000  # of one entry of the outbox


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What the store holds of an import: results as JSON text and traces by trial id, its record, the suite's state."""

    texts: Mapping[str, str]
    traces: Mapping[str, polars.DataFrame]
    record: Mapping[str, Any] | None
    state: str


def end_status(stored: Stored, state: str) -> Literal["FINISHED", "FAILED", "KILLED"]:
    """The status of the suite run before the import, which neither ends a run nor makes up for one that was stopped."""
    if stored.suite is None or state == "finished":
        return "FINISHED"
    return "FAILED" if state == "failed" else "KILLED"


def put_import(
    runs: ImportedRuns, texts: dict[str, str], store: Store, *, name: str, record: dict[str, Any], stored: Stored
) -> tuple[Mapping[str, str], Subject]:
    """Make the store hold these runs as the import of that name, or nothing new.

    Returns what it held of it before, and all that it holds under the name of `stored` now. `texts` and the former:
    results as JSON text, by trial id. What a killed import of runs alone left is ended.
    Runs whose results are the same are put anew where their traces differ.
    """
    tracker = Tracker(store, stored.name)
    try:
        held = _held(store, stored.name, name, runs)
        is_whole = stored.suite is not None or held.state == "finished"
        if held.texts != texts or held.record != record or not is_whole:
            changed = {trial_id for trial_id, text in texts.items() if held.texts.get(trial_id) != text}
            retraced = {
                one for one in texts.keys() - changed if not _is_same(held.traces.get(one), runs.traces.get(one))
            }
            try:
                tracker.remove(retraced)
                _deliver(tracker, [one for one in runs.results if one.trial.id in changed | retraced], runs.traces)
                tracker.remove(held.texts.keys() - texts.keys())
                tracker.log_import(name, record)
                subject = read_grid(stored, store)
                publish(subject, store, tracker)
                tracker.finish(end_status(stored, held.state))
            except StoreError:  # what the store did not take waits in the outbox: the same import goes on
                raise
            except BaseException:
                _take_back(tracker, texts, held, store, name=name, stored=stored)
                raise
        else:
            subject = read_grid(stored, store)
    finally:
        tracker.close()
    return held.texts, subject


def _held(store: Store, suite_name: str, name: str, runs: ImportedRuns) -> _Held:
    """What the store holds of the import; traces only where it or the new runs have any."""
    texts = read_import(store, suite_name, name)
    record = read_imports(store, suite_name).get(name)
    traces: dict[str, polars.DataFrame] = {}
    if texts and (runs.traces or (record is not None and "traces" in record)):
        of_trials = read_traces(store, suite_name, texts.keys()).partition_by(
            "trial_id", as_dict=True, include_key=False
        )
        traces = {str(trial_id): trace for (trial_id,), trace in of_trials.items()}
    return _Held(texts=texts, traces=traces, record=record, state=read_status(store, suite_name)["state"])


def _is_same(one: polars.DataFrame | None, other: polars.DataFrame | None) -> bool:
    """Whether two traces are equal, or there is neither."""
    if one is None or other is None:
        return one is other
    return one.equals(other)


def _take_back(
    tracker: Tracker, texts: Mapping[str, str], held: _Held, store: Store, *, name: str, stored: Stored
) -> None:
    """Make the store hold what it held of the import before; parameters as in `put_import`."""
    changed = {one for one, text in held.texts.items() if texts.get(one) != text} | held.traces.keys()
    tracker.remove((texts.keys() - held.texts.keys()) | held.traces.keys())
    old = [Result.from_dict(json.loads(text)) for one, text in held.texts.items() if one in changed]
    _deliver(tracker, old, held.traces)
    if held.record is None:
        tracker.forget_import(name, None)
    else:
        tracker.log_import(name, held.record)
    if tracker.remove_empty_suite():
        return
    try:
        publish(read_grid(stored, store), store, tracker)
    finally:
        tracker.finish(end_status(stored, held.state))


def _deliver(tracker: Tracker, results: list[Result], traces: Mapping[str, polars.DataFrame]) -> None:
    for start in range(0, len(results), RUNS_AT_ONCE):
        some = results[start : start + RUNS_AT_ONCE]
        tracker.put(some, {one.trial.id: traces[one.trial.id] for one in some if one.trial.id in traces})
    if num_waiting := tracker.deliver():
        kind = FullStoreError if tracker.is_disk_full else StoreError
        raise kind(f"the store did not take {num_waiting} packs of the import; the same import delivers them")
