"""Take runs of others out of the store again. Trials that were trained here are never touched."""

from __future__ import annotations

import json

from bench.errors import FullStoreError, StoreError, UsageError
from bench.lazy import polars
from bench.outcome import RESULT_OUTCOMES
from bench.results.imports_delivery import end_status
from bench.results.publish import publish
from bench.results.stored import Stored, holds_imports, suites_of_imports
from bench.results.subjects import read_subject
from bench.store import (
    Store,
    Tracker,
    imported_trials,
    read_import,
    read_imports,
    read_manifest,
    read_results,
    read_status,
)


def remove_imports(store: Store, name: str, *, beside: Stored | None) -> dict[str, int]:
    """Delete imports, and say how many runs of each went; what is left is published anew.

    beside: the suite, or the name of imports alone, whose import `name` it is; None: all that was imported as `name`.
    Runs go to MLflow's trash, as all that the store replaces. What a killed removal left is removed by the next.

    Raises UsageError if there is no such import, and while the suite is being run.
    """
    store.schema()
    stored = Stored(name=name, suite=None) if beside is None else beside
    suite_name = stored.name
    if stored.suite is None:
        holds_imports(store, suite_name)  # raises for one that has trials of ours
    held = _held(store, suite_name)
    wanted = held if beside is None else held & {name}
    if not wanted:
        raise UsageError(_none_of_that_name(store, suite_name, name, held))
    tracker = Tracker(store, suite_name)
    try:
        state = read_status(store, suite_name)["state"]
        if num_waiting := tracker.deliver():
            kind = FullStoreError if tracker.is_disk_full else StoreError
            raise kind(f"{num_waiting} packs of {suite_name!r} wait in the outbox; the same command goes on")
        counts = {one: _remove(store, tracker, suite_name, one) for one in sorted(wanted)}
        if not tracker.remove_empty_suite():
            _publish_rest(stored, store, tracker)
            tracker.finish(end_status(stored, state))
    finally:
        tracker.close()
    return counts


def _held(store: Store, suite_name: str) -> set[str]:
    """Names of the imports of a suite, those that a killed import or removal left in part included."""
    return {*read_imports(store, suite_name), *imported_trials(store, suite_name).values()}


def _none_of_that_name(store: Store, suite_name: str, name: str, held: set[str]) -> str:
    if held:
        return f"{store.shown_uri}: no import {name!r} in suite {suite_name!r}; there are {', '.join(sorted(held))}"
    there_are = suites_of_imports(store)
    others = [other for other in there_are if name in _held(store, other)]
    hint = f"; there are {', '.join(there_are)}" if there_are else ""
    hint = f"; suite {others[0]!r} has an import of that name, which --suite {others[0]} removes" if others else hint
    return f"{store.shown_uri}: nothing was imported as {suite_name!r}{hint}"


def _remove(store: Store, tracker: Tracker, suite_name: str, name: str) -> int:
    """Deletes the runs of an import, and last its record, so that a killed removal is seen and ended."""
    trials = read_import(store, suite_name, name).keys()
    tracker.remove(trials)
    manifest = json.loads(read_manifest(store, suite_name) or "{}")
    imports = manifest.pop("imports", {})
    left = {other: record for other, record in imports.items() if other != name}
    plain = {**manifest, **({"imports": left} if left else {})}
    tracker.forget_import(name, json.dumps(plain, indent=2) if imports else None)
    return len(trials)


def _publish_rest(stored: Stored, store: Store, tracker: Tracker) -> None:
    results = read_results(store, stored.name)
    if results.filter(polars.col("outcome").is_in(RESULT_OUTCOMES)).is_empty():
        tracker.log_page("No trial has a result.\n", {})
    else:
        publish(read_subject(stored, store), store, tracker)
