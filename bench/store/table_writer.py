"""TableWriter: writes runs into MLflow's tables, as its client leaves them.

Of SQLite without loading MLflow, whose import takes 4 to 7 s of CPU. The SQL is that of SQLite and Postgres, for the
schema that bench.store.embedded knows; any other database, and servers, are written through the client. Tests hold the
two ways equal.
"""

from __future__ import annotations

import contextlib
import math
import posixpath
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from bench.errors import StoreError
from bench.store import records
from bench.store.new_runs import NewRun
from bench.store.run_writers import Point
from bench.store.runs import ExperimentRecord

_AT_ONCE = 500  # values in one condition: SQLite takes 999
_LARGEST = 1.7976931348623157e308  # MLflow's infinity

_EXPERIMENT = """
insert into experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)
values (:name, :location, 'active', :now_ms, :now_ms, 'default')
"""
_EXPERIMENT_ID = "select experiment_id from experiments where name = :name and workspace = 'default'"
_EXPERIMENT_TAG = """
insert into experiment_tags (experiment_id, key, value) values (:experiment_id, :key, :value)
on conflict (experiment_id, key) do update set value = excluded.value
"""
_RUN = """
insert into runs (run_uuid, name, artifact_uri, experiment_id, source_type, source_name, entry_point_name,
    source_version, user_id, status, start_time, end_time, lifecycle_stage)
values (:run_id, :name, :artifact_uri, :experiment_id, 'UNKNOWN', '', '', '', 'unknown', :status, :start_ms, :end_ms,
    'active')
"""
_TAG = """
insert into tags (run_uuid, key, value) values (:run_id, :key, :value)
on conflict (run_uuid, key) do update set value = excluded.value
"""
_NO_TAG = "delete from tags where run_uuid = :run_id and key = :key"
_PARAM = "insert into params (run_uuid, key, value) values (:run_id, :key, :value) on conflict do nothing"
_POINT = "(run_uuid, key, value, timestamp, step, is_nan) values (:run_id, :key, :value, :time_ms, :step, :is_nan)"
_METRIC = f"insert into metrics {_POINT} on conflict do nothing"
_LATEST = f"""
insert into latest_metrics {_POINT} on conflict (run_uuid, key) do update
set value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
where (excluded.step, excluded.timestamp, excluded.value)
    > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""
_TRASH = "update runs set lifecycle_stage = 'deleted', deleted_time = :now_ms where run_uuid = :run_id"


class Statements(Protocol):
    """SQL with :name for values, inside one transaction."""

    def write(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Does the statement once for each of the rows of values."""
        ...

    def read(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that a query gives."""
        ...


Transaction = Callable[[], contextlib.AbstractContextManager[Statements]]


class TableWriter:
    """Writes experiments and runs, as `RunWriter` says, and many runs at once.

    transaction: begins one, which is committed at the end of its block, or undone where that raises.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def create_experiment(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> None:
        assert artifact_location is not None, "only a server decides"
        is_path = not urlsplit(artifact_location).scheme
        location = str(Path(artifact_location).absolute()) if is_path else artifact_location
        with self._transaction() as statements:
            statements.write(_EXPERIMENT, [{"name": name, "location": location, "now_ms": _now_ms()}])
            ((experiment_id,),) = statements.read(_EXPERIMENT_ID, {"name": name})
            rows = [{"experiment_id": experiment_id, "key": key, "value": value} for key, value in tags.items()]
            statements.write(_EXPERIMENT_TAG, rows)

    def tag_experiment(self, experiment_id: str, name: str, value: str) -> None:
        with self._transaction() as statements:
            row = {"experiment_id": int(experiment_id), "key": name, "value": value}
            statements.write(_EXPERIMENT_TAG, [row])

    def create_run(self, experiment: ExperimentRecord, *, name: str, tags: Mapping[str, str], start_ms: int) -> str:
        run_id = uuid.uuid4().hex
        begun = NewRun(
            name=name, status="RUNNING", start_ms=start_ms, end_ms=None, tags=tags, params={}, points=(), files={}
        )
        self.insert_runs(experiment, {run_id: begun}, replaced=())
        return run_id

    def insert_runs(
        self, experiment: ExperimentRecord, runs: Mapping[str, NewRun], *, replaced: Collection[str]
    ) -> None:
        """Puts runs, by run id, into the database, all or none; runs `replaced` go to MLflow's trash."""
        points = [_point_row(run_id, point) for run_id, run in runs.items() for point in dict.fromkeys(run.points)]
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        for row in points:
            key = (row["run_id"], row["key"])
            latest[key] = max(latest.get(key, row), row, key=lambda one: (one["step"], one["time_ms"], one["value"]))
        with self._transaction() as statements:
            statements.write(_TRASH, _trash_rows(replaced))
            statements.write(_RUN, [_run_row(experiment, run_id, run) for run_id, run in runs.items()])
            statements.write(
                _TAG, _text_rows({run_id: {**run.tags, records.RUN_NAME: run.name} for run_id, run in runs.items()})
            )
            statements.write(_PARAM, _text_rows({run_id: run.params for run_id, run in runs.items()}))
            statements.write(_METRIC, points)
            statements.write(_LATEST, list(latest.values()))

    def known_runs(self, run_ids: Collection[str]) -> set[str]:
        """The ids among these that the database has runs of, in the trash or not."""
        listed, known = list(run_ids), set[str]()
        with self._transaction() as statements:
            for start in range(0, len(listed), _AT_ONCE):
                some = {f"id{number}": one for number, one in enumerate(listed[start : start + _AT_ONCE])}
                condition = ", ".join(f":{name}" for name in some)
                rows = statements.read(f"select run_uuid from runs where run_uuid in ({condition})", some)
                known |= {run_id for (run_id,) in rows}
        return known

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        rows = [_point_row(run_id, point) for point in points]
        with self._of_active(run_id) as statements:
            statements.write(_PARAM, _text_rows({run_id: params or {}}))
            statements.write(_METRIC, rows)
            statements.write(_LATEST, rows)
            statements.write(_TAG, _text_rows({run_id: tags or {}}))

    def remove_tag(self, run_id: str, name: str) -> None:
        with self._of_active(run_id) as statements:
            statements.write(_NO_TAG, [{"run_id": run_id, "key": name}])

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        values = {"run_id": run_id, "status": status} | ({} if end_ms is None else {"end_ms": end_ms})
        ended = "" if end_ms is None else ", end_time = :end_ms"
        with self._of_active(run_id) as statements:
            statements.write(f"update runs set status = :status{ended} where run_uuid = :run_id", [values])

    def delete_runs(self, run_ids: Collection[str]) -> None:
        with self._transaction() as statements:
            statements.write(_TRASH, _trash_rows(run_ids))

    @contextlib.contextmanager
    def _of_active(self, run_id: str) -> Iterator[Statements]:
        """A transaction about a run. Raises StoreError for one that is not there, or in MLflow's trash."""
        with self._transaction() as statements:
            rows = statements.read("select lifecycle_stage from runs where run_uuid = :run_id", {"run_id": run_id})
            if rows != [("active",)]:
                raise StoreError(f"run {run_id}: {'in the trash of MLflow' if rows else 'not there any more'}")
            yield statements


def artifact_uri(location: str, run_id: str) -> str:
    """Where MLflow keeps the artifacts of a run of an experiment with this artifact location."""
    parts = urlsplit(location)
    if not parts.scheme:
        return posixpath.join(location, run_id, "artifacts")
    return parts._replace(path=posixpath.join(parts.path or "/", run_id, "artifacts")).geturl()


def _run_row(experiment: ExperimentRecord, run_id: str, run: NewRun) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "name": run.name,
        "artifact_uri": artifact_uri(experiment.artifact_location, run_id),
        "experiment_id": int(experiment.experiment_id),
        "status": run.status,
        "start_ms": run.start_ms,
        "end_ms": run.end_ms,
    }


def _text_rows(texts: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "key": k, "value": v} for run_id, of_run in texts.items() for k, v in of_run.items()]


def _point_row(run_id: str, point: Point) -> dict[str, Any]:
    """A row of metrics: NaN is 0 with is_nan, infinities are the largest numbers."""
    name, value, time_ms, step = point
    is_nan = math.isnan(value)
    held = 0.0 if is_nan else max(-_LARGEST, min(_LARGEST, value))
    return {"run_id": run_id, "key": name, "value": held, "time_ms": time_ms, "step": step, "is_nan": is_nan}


def _trash_rows(run_ids: Collection[str]) -> list[dict[str, Any]]:
    now_ms = _now_ms()
    return [{"run_id": run_id, "now_ms": now_ms} for run_id in run_ids]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
