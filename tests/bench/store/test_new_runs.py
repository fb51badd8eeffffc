"""Runs that are inserted at once are those that MLflow's client would have made, and all are there or none."""

import re
import shutil

import pytest

from bench.store import Store, embedded
from bench.trial import Outcome
from tests.bench.store import finished_packs
from tests.bench.store.stored import assert_holds, put, rows, runs_by_kind

TABLES = {
    "runs": "run_uuid, name, status, start_time, end_time, deleted_time, lifecycle_stage, artifact_uri, experiment_id, "
    "source_type, source_name, source_version, entry_point_name, user_id",
    "tags": "run_uuid, key, value",
    "params": "run_uuid, key, value",
    "metrics": "run_uuid, key, value, timestamp, step, is_nan",
    "latest_metrics": "run_uuid, key, value, timestamp, step, is_nan",
}
TRIALS = "select run_uuid from runs where name like '%seed=%'"


def tables(store: Store) -> dict[str, list[str]]:
    """All rows of trials' runs, names instead of run ids."""
    names = dict(rows(store, "select run_uuid, name from runs"))
    home = store.home.as_uri()

    def plain(row: tuple) -> str:
        return re.sub(r"\b[0-9a-f]{32}\b", lambda found: str(names[found[0]]), repr(row)).replace(home, "")

    return {
        table: sorted(map(plain, rows(store, f"select {columns} from {table} where run_uuid in ({TRIALS})")))
        for table, columns in TABLES.items()
    }


def test_inserted_runs_are_those_of_mlflows_client(store, open_tracker, fresh_database, tmp_path, monkeypatch):
    awkward = finished_packs.result(40, method='it\'s "odd" ñ', workload="x" * 300)
    lost = finished_packs.result(41, outcome=Outcome.CRASHED, initial_loss=None, final_loss=None, message="m" * 9000)
    tracker = open_tracker(store)
    put(tracker, [*finished_packs.results(range(6)), awkward, lost, finished_packs.held_out_result(43)])
    (tmp_path / "other").mkdir()
    shutil.copy(fresh_database, tmp_path / "other" / "mlflow.db")
    other = Store(tmp_path / "other", warn=pytest.fail)
    through_client = open_tracker(other)
    shutil.copytree(tracker.outbox.folder, through_client.outbox.folder)
    assert tracker.deliver() == 0
    monkeypatch.setattr(embedded, "SCHEMA", "of another version")
    assert through_client.deliver() == 0
    inserted, made = tables(store), tables(other)
    for table in TABLES:
        assert inserted[table] == made[table]
    assert len(inserted["runs"]) == 9


def test_an_entry_that_fails_half_way_leaves_no_run(store, open_tracker, warnings_seen):
    finished = finished_packs.results(range(4))
    tracker = open_tracker(store)
    tracker.finished()
    on = "create trigger refused before insert on metrics when new.key = 'final_loss'"
    rows(store, f"{on} begin select raise(abort, 'no'); end")
    put(tracker, finished)
    assert tracker.deliver() == 1
    assert runs_by_kind(store) == {"suite": 1, "method": 2}
    assert "the store refused it" in warnings_seen[0]
    rows(store, "drop trigger refused")
    assert tracker.deliver() == 0
    assert_holds(store, finished)


def test_a_run_that_a_user_put_into_the_trash_is_made_anew(store, open_tracker):
    """A kill after delivery leaves the entry; meanwhile its run is deleted, and its id is taken."""
    finished = finished_packs.results(range(2))
    tracker = open_tracker(store)
    put(tracker, finished)
    (entry,) = tracker.outbox.entries()
    shutil.copytree(entry, store.home / "entry")
    tracker.deliver()
    for (run_id,) in rows(store, "select run_uuid from runs where name like '%seed=%'"):
        store.client().delete_run(run_id)
    tracker.close()
    tracker = open_tracker(store)
    shutil.copytree(store.home / "entry", entry)
    assert tracker.deliver() == 0
    assert_holds(store, finished)
    assert rows(store, "select count(*) from runs where lifecycle_stage = 'deleted'") == [(2,)]
