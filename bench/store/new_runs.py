"""NewRun: a trial's run as it is to be in MLflow, and `insert_runs`, which puts many into its database at once.

MLflow's client takes three calls and a dozen statements a run, 30 to 45 ms. The rows inserted here are those that its
calls leave, in one transaction of MLflow's own session. Tables of another schema than bench.store.embedded knows, and
servers, are written through the client; a test holds the two ways equal.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.lazy import polars
from bench.store import records
from bench.store.outbox import Entry
from bench.store.runs import ExperimentRecord
from bench.trial import Result

TRACE_FILE = "trace.parquet"

_AT_ONCE = 500  # values in one condition: SQLite takes 999


class Point(NamedTuple):
    """A value of a metric; time_ms since 1970."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run with all that it holds; files: its artifacts, by name. Times are milliseconds since 1970."""

    name: str
    status: str
    start_ms: int
    end_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[Point]
    files: Mapping[str, bytes]


def new_runs(entry: Entry) -> Iterator[tuple[Result, NewRun]]:
    """Every result of an entry of the outbox with its run; the same entry gives the same runs."""
    curves = _curves(entry)
    traces = entry.traces.partition_by("trial_id", as_dict=True, include_key=False)
    for result in entry.results:
        trial_id = result.trial.id
        yield result, _new_run(entry, result, curves[trial_id], traces.get((trial_id,)))


def run_id_of(entry: Entry, result: Result) -> str:
    """The same for the same entry and trial: what a kill leaves of a run's files is written over."""
    return hashlib.sha256(f"{entry.path.name}/{result.trial.id}".encode()).hexdigest()[:32]


def insert_runs(
    session: Any, experiment: ExperimentRecord, runs: Mapping[str, NewRun], *, replaced: Collection[str]
) -> None:
    """Puts runs, by run id, into the database of a session of MLflow's; runs `replaced` go to its trash."""
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
    from sqlalchemy import insert

    trash_runs(session, replaced)
    points = [(run_id, point) for run_id, run in runs.items() for point in dict.fromkeys(run.points)]
    latest: dict[tuple[str, str], Point] = {}
    for run_id, point in points:
        key = (run_id, point.name)
        latest[key] = max(latest.get(key, point), point, key=lambda one: (one.step, one.time_ms, one.value))
    tables = {
        SqlRun: [_run_row(experiment, run_id, run) for run_id, run in runs.items()],
        SqlTag: _text_rows({run_id: {**run.tags, records.RUN_NAME: run.name} for run_id, run in runs.items()}),
        SqlParam: _text_rows({run_id: run.params for run_id, run in runs.items()}),
        SqlMetric: [_point_row(run_id, point) for run_id, point in points],
        SqlLatestMetric: [_point_row(run_id, point) for (run_id, _), point in latest.items()],
    }
    for table, rows in tables.items():
        if rows:
            session.execute(insert(table), rows)


def trash_runs(session: Any, run_ids: Collection[str]) -> None:
    """Moves runs of the database of a session of MLflow's to its trash."""
    from mlflow.store.tracking.dbmodels.models import SqlRun
    from sqlalchemy import update

    values = {"lifecycle_stage": "deleted", "deleted_time": time.time_ns() // 1_000_000}
    for some in _some(run_ids):
        session.execute(update(SqlRun).where(SqlRun.run_uuid.in_(some)).values(values))


def known_runs(session: Any, run_ids: Collection[str]) -> set[str]:
    """Those of the ids that the database of a session of MLflow's has runs of, in the trash or not."""
    from mlflow.store.tracking.dbmodels.models import SqlRun
    from sqlalchemy import select

    return {
        run_id
        for some in _some(run_ids)
        for run_id in session.execute(select(SqlRun.run_uuid).where(SqlRun.run_uuid.in_(some))).scalars()
    }


def _curves(entry: Entry) -> dict[str, list[Point]]:
    """The points of the thinned curves of each trial, dated by their step."""
    results = {result.trial.id: result for result in entry.results}
    found: dict[str, list[Point]] = {trial_id: [] for trial_id in results}
    for trial_id, quantity, step, value in records.curves(entry.traces).iter_rows():
        result = results[trial_id]
        seconds = result.wall_s * step / (result.trial.num_steps or step or 1)
        found[trial_id].append(Point(quantity, value, _start_ms(entry, result) + int(1000 * seconds), step))
    return found


def _new_run(entry: Entry, result: Result, curve: list[Point], trace: polars.DataFrame | None) -> NewRun:
    tags = records.trial_tags(result)
    files = {} if trace is None else {TRACE_FILE: _parquet(trace)}
    for name, content in files.items():
        tags |= {records.TRACE: name, records.TRACE_SHA256: hashlib.sha256(content).hexdigest()}
    singles = [
        Point(name, value, entry.created_ms, result.trial.num_steps or 0)  # imported: maybe unknown
        for name, value in records.trial_metrics(result).items()
    ]
    exact = {(single.name, single.step) for single in singles}  # a curve's last point is the same, but rounded
    return NewRun(
        name=records.trial_name(result),
        status="FINISHED" if result.outcome.is_result else "FAILED",
        start_ms=_start_ms(entry, result),
        end_ms=entry.created_ms,
        tags=tags,
        params=records.trial_params(result),
        points=[point for point in curve if (point.name, point.step) not in exact] + singles,
        files=files,
    )


def _start_ms(entry: Entry, result: Result) -> int:
    return entry.created_ms - int(1000 * result.wall_s)


def _parquet(trace: polars.DataFrame) -> bytes:
    buffer = io.BytesIO()
    trace.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def _run_row(experiment: ExperimentRecord, run_id: str, run: NewRun) -> dict[str, Any]:
    """What MLflow's create_run and set_terminated leave in its table of runs."""
    from mlflow.utils.uri import append_to_uri_path

    return {
        "run_uuid": run_id,
        "name": run.name,
        "artifact_uri": append_to_uri_path(experiment.artifact_location, run_id, "artifacts"),
        "experiment_id": int(experiment.experiment_id),
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
        "user_id": "unknown",
        "status": run.status,
        "start_time": run.start_ms,
        "end_time": run.end_ms,
        "lifecycle_stage": "active",
    }


def _text_rows(texts: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    return [{"run_uuid": run_id, "key": k, "value": v} for run_id, of_run in texts.items() for k, v in of_run.items()]


def _point_row(run_id: str, point: Point) -> dict[str, Any]:
    name, value, time_ms, step = point
    return {"run_uuid": run_id, "key": name, "value": value, "timestamp": time_ms, "step": step, "is_nan": False}


def _some(run_ids: Collection[str]) -> Iterator[list[str]]:
    listed = list(run_ids)
    return (listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE))
