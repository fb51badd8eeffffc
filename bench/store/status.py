"""How far a suite is, by the store of record alone: what the driver noted on the suite run, and the trials there."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.store import records
from bench.store.run_writers import Point
from bench.store.store import Store

PROGRESS = "bench.progress"  # tag of the suite run: JSON, `noted_ms` and the driver's counts
_NOT_IN_A_NAME = re.compile(r"[^\w .:/-]", re.ASCII)
SILENT_SECONDS = 120.0  # a driver that noted nothing for so long is probably gone


def progress_text(counts: str) -> str:
    """The value of PROGRESS now, for counts of trials as JSON."""
    return json.dumps({"noted_ms": time.time_ns() // 1_000_000, **json.loads(counts)}, sort_keys=True)


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
