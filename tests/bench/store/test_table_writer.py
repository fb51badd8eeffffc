"""What is written into MLflow's tables is what its client would write, and all of an entry is there or nothing."""

import re
import shutil

import polars as pl
import pytest

from bench.errors import StoreError
from bench.outcome import Outcome
from bench.store import Store, embedded
from bench.store.table_writer import artifact_uri
from tests.bench.store import finished_packs
from tests.bench.store.stored import assert_holds, put, rows, runs_by_kind

TABLES = {
    "runs": "run_uuid, name, status, start_time, end_time, deleted_time, lifecycle_stage, artifact_uri, experiment_id, "
    "source_type, source_name, source_version, entry_point_name, user_id",
    "tags": "run_uuid, key, value",
    "params": "run_uuid, key, value",
    "metrics": "run_uuid, key, value, timestamp, step, is_nan",
    "latest_metrics": "run_uuid, key, value, timestamp, step, is_nan",
    "experiments": "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time",
    "experiment_tags": "experiment_id, key, value",
}
BOARD = {"workload": "regression", "optimizer": "adam", "flags": ["few_seeds"], "lr_sensitivity": 0.25, "best_lr": None}


def tables(store: Store) -> dict[str, list[str]]:
    """All rows, names instead of run ids, and the times of now as one word: those of trials are of their entry."""
    names = dict(rows(store, "select run_uuid, name from runs"))
    home = store.home.as_uri()

    def plain(row: tuple) -> str:
        named = re.sub(r"\b[0-9a-f]{32}\b", lambda found: str(names[found[0]]), repr(row)).replace(home, "")
        return named if "seed=" in named else re.sub(r"\b1[0-9]{12}\b", "now", named)

    return {
        table: sorted(map(plain, rows(store, f"select {columns} from {table}"))) for table, columns in TABLES.items()
    }


def write_all(tracker) -> None:
    """Delivers what waits, and writes all else that a driver writes; some of it twice, some taken back."""
    assert tracker.deliver() == 0
    for score in (0.5, 0.25):
        tracker.log_leaderboard(pl.DataFrame([{**BOARD, "method": "softmax", "lr_sensitivity": score}]))
    tracker.log_leaderboard(pl.DataFrame([{**BOARD, "method": "softmax", "best_lr": 0.1, "lr_sensitivity": None}]))
    tracker.tag({"bench.version": "0.1.0"})
    tracker.tag({"bench.version": "0.2.0", "bench.date": "2026"})
    tracker.log_page("# Board", {"x.html": "<p>"})
    for name in ("theirs", "others"):
        tracker.log_import(name, {"file": name})
    tracker.forget_import("others", "{}")
    tracker.remove({finished_packs.result(3).trial.id})
    tracker.finish("FAILED")


def test_what_is_written_is_what_mlflows_client_writes(store, open_tracker, fresh_database, tmp_path, monkeypatch):
    awkward = finished_packs.result(40, method='it\'s "odd" ñ', workload="x" * 300)
    lost = finished_packs.result(41, outcome=Outcome.CRASHED, initial_loss=None, final_loss=None, message="m" * 9000)
    tracker = open_tracker(store)
    put(tracker, [*finished_packs.results(range(6)), awkward, lost, finished_packs.held_out_result(43)])
    (tmp_path / "other").mkdir(mode=0o700)
    shutil.copy(fresh_database, tmp_path / "other" / "mlflow.db")
    other = Store(tmp_path / "other", warn=pytest.fail)
    through_client = open_tracker(other)
    shutil.copytree(tracker.outbox.folder, through_client.outbox.folder)
    write_all(tracker)
    monkeypatch.setattr(embedded, "SCHEMA", "of another version")
    write_all(through_client)
    written, made = tables(store), tables(other)
    for table in TABLES:
        assert written[table] == made[table]
    assert len(written["runs"]) == 9 + 1 + 3, "trials, their suite and methods"


@pytest.mark.parametrize("location", ["file:///a b/c", "s3://bucket/results", "s3://bucket", "/a/b/", "http://x/y?z=1"])
def test_artifacts_are_where_mlflow_keeps_them(location):
    from mlflow.utils.uri import append_to_uri_path

    assert artifact_uri(location, "f" * 32) == append_to_uri_path(location, "f" * 32, "artifacts")


def test_a_run_that_a_user_put_into_the_trash_is_not_written_to(store, open_tracker):
    tracker = open_tracker(store)
    put(tracker, finished_packs.results(range(2)))
    tracker.deliver()
    ((suite,),) = rows(store, "select run_uuid from runs where name = 'suite'")
    store.client().delete_run(suite)
    with pytest.raises(StoreError, match=f"run {suite}: in the trash of MLflow"):
        tracker.log_page("# Board", {})


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
