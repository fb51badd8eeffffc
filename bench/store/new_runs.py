"""NewRun: a run as it is to be in MLflow, and `new_runs`, those of the trials of an entry of the outbox."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.lazy import polars
from bench.outcome import Result
from bench.store import records
from bench.store.curves import CURVE_POINTS, curves
from bench.store.outbox import Entry
from bench.store.run_writers import Point

TRACE_FILE = "trace.parquet"


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run with all that it holds; files: its artifacts, by name.

    Times are milliseconds since 1970; end_ms is None while it runs.
    """

    name: str
    status: str
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[Point]
    files: Mapping[str, bytes]


def new_runs(entry: Entry, curve_points: int = CURVE_POINTS) -> Iterator[tuple[Result, NewRun]]:
    """Every result of an entry of the outbox with its run; the same entry gives the same runs.

    curve_points: buckets of a curve in MLflow.
    """
    points = _curves(entry, curve_points)
    traces = entry.traces.partition_by("trial_id", as_dict=True, include_key=False)
    for result in entry.results:
        trial_id = result.trial.id
        yield result, _new_run(entry, result, points[trial_id], traces.get((trial_id,)))


def run_id_of(entry: Entry, result: Result) -> str:
    """The run id, the same for the same entry and trial: what a kill leaves of a run's files is written over."""
    return hashlib.sha256(f"{entry.path.name}/{result.trial.id}".encode()).hexdigest()[:32]


def _curves(entry: Entry, num_buckets: int) -> dict[str, list[Point]]:
    """The points of the thinned curves of each trial, dated by their step."""
    results = {result.trial.id: result for result in entry.results}
    points: dict[str, list[Point]] = {trial_id: [] for trial_id in results}
    for trial_id, quantity, step, value in curves(entry.traces, num_buckets).iter_rows():
        result = results[trial_id]
        seconds = result.wall_s * step / (result.trial.num_steps or step or 1)
        points[trial_id].append(Point(quantity, value, _start_ms(entry, result) + int(1000 * seconds), step))
    return points


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
