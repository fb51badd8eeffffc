"""How far a suite is, by the store of record alone: what the driver noted on the suite run, and the trials there."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bench.store import records
from bench.store.run_writers import Point
from bench.store.store import Store
from bench.trial import canonical_json

PROGRESS = "bench.progress"  # tag of the suite run: JSON, `noted_ms` and the driver's counts
_NOT_IN_A_NAME = re.compile(r"[^\w .:/-]", re.ASCII)
NOTE_S, SIGN_OF_LIFE_S = 5.0, 30.0  # between two notes that differ, and between any two
SILENT_SECONDS = 120.0  # a driver that noted nothing for so long is probably gone


class Notes:
    """What a driver notes on the suite run now and then: counts that changed, the same again as a sign of life."""

    def __init__(self) -> None:
        self._started_s = time.time()
        self._counts = ""  # JSON, as it should be
        self._points: list[Point] = []  # metrics that are not written yet
        self._written = ("", 0.0)  # the counts as they are, and when they were written

    def note(self, counts: Mapping[str, int], numbers: Mapping[str, float] | None = None) -> None:
        """numbers: metrics as they are now, finite; their step is the seconds since the start."""
        self._counts = canonical_json(dict(counts))
        if numbers:
            self._points = live_points(numbers, self._started_s)

    def write(self, log: Callable[[list[Point], Mapping[str, str]], None], *, is_last: bool = False) -> None:
        """Gives `log` metrics and tags of the suite run, if they are due; is_last: if there are any."""
        counts, written_s = self._written
        age_s = time.monotonic() - written_s
        if self._counts and (is_last or age_s > SIGN_OF_LIFE_S or (self._counts != counts and age_s > NOTE_S)):
            points, self._points = self._points, []
            noted = {"noted_ms": time.time_ns() // 1_000_000, **json.loads(self._counts)}
            log(points, {PROGRESS: json.dumps(noted, sort_keys=True)})
            self._written = (self._counts, time.monotonic())


def live_points(numbers: Mapping[str, float], started_s: float) -> list[Point]:
    """Points of metrics now; step: whole seconds since `started_s`. MLflow takes few signs in a name: others are _."""
    now_ms = time.time_ns() // 1_000_000
    step = max(0, int(now_ms / 1000 - started_s))
    names = {_NOT_IN_A_NAME.sub("_", name)[: records.MAX_NAME]: number for name, number in numbers.items()}
    return [Point(name, number, now_ms, step) for name, number in names.items()]


def read_status(store: Store, suite_name: str) -> dict[str, Any]:
    """state, trials with a result by outcome, and what the driver noted last with its age in seconds.

    state: "waiting" (nothing stored yet), "running", "silent" (running, but its driver noted nothing for two minutes),
    "finished", "killed" or "failed". Raises StoreError if the store can't be read.
    """
    experiment = store.experiment(suite_name)
    if experiment is None:
        return {"state": "waiting"}
    runs = store.runs(experiment, "suite", tags_only=True)
    trials = store.runs(experiment, "trial", is_ended=True, tags_only=True)
    outcomes = {run.tags[records.TRIAL_ID]: run.tags[records.OUTCOME] for run in trials}
    counts = dict(sorted(Counter(outcomes.values()).items()))
    if not runs:
        return {"state": "waiting", **counts}
    suite = runs[0]
    noted: dict[str, Any] = json.loads(suite.tags[PROGRESS]) if PROGRESS in suite.tags else {}
    age_s = (time.time_ns() // 1_000_000 - noted.pop("noted_ms")) / 1000 if noted else None
    state = suite.status.lower()
    if state == "running" and (age_s is None or age_s > SILENT_SECONDS):
        state = "silent"
    return {
        "state": state,
        **counts,
        **{f"driver_{name}": count for name, count in noted.items()},
        "driver_age_s": age_s,
    }
