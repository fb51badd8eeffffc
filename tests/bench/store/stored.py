"""What a store holds, looked at from outside: through its readers and in MLflow's own database."""

import contextlib
import sqlite3

import polars as pl

from bench.store import Store, read_results, read_traces
from tests.bench.store import finished_packs


def put(tracker, finished) -> None:
    tracker.put(finished, finished_packs.traces(finished))


def rows(store: Store, query: str) -> list[tuple]:
    assert store.database is not None
    with contextlib.closing(sqlite3.connect(store.database)) as connection:
        return connection.execute(query).fetchall()


def runs_by_kind(store: Store) -> dict[str, int]:
    kinds = "select value, count(*) from tags join runs using (run_uuid) where key = 'bench.kind'"
    return dict(rows(store, f"{kinds} and lifecycle_stage = 'active' group by value"))


def assert_holds(store: Store, finished) -> None:
    """The store gives back exactly these results and their traces."""
    frame = read_results(store, "suite")
    expected = pl.DataFrame([one.row() for one in finished], schema=frame.schema)
    assert frame.sort("trial_id").rows() == expected.sort("trial_id").rows()
    traces = read_traces(store, "suite", frame["trial_id"].to_list())
    assert set(traces["trial_id"]) == set(frame["trial_id"])
    for one in finished:
        trace = traces.filter(pl.col("trial_id") == one.trial.id).drop("trial_id")
        assert trace.equals(finished_packs.trace(one.trial.seed))
