"""What another version of bench or MLflow wrote: later is refused in one line and left alone, earlier is read."""

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest
from alembic.script import ScriptDirectory

from bench.errors import StoreError
from bench.outcome import Outcome
from bench.store import Store, read_manifest, read_results, records
from bench.store.database import newest_schema
from tests.bench.store import finished_packs


def change(store: Store, statement: str) -> None:
    assert store.database is not None
    with contextlib.closing(sqlite3.connect(store.database)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.fixture
def delivered(store, open_tracker) -> Store:
    tracker = open_tracker(store)
    finished = finished_packs.results(range(2))
    tracker.start(json.dumps({"manifest_version": records.MANIFEST_VERSION}))
    tracker.put(finished, finished_packs.traces(finished))
    tracker.finish("FINISHED")
    tracker.close()
    return Store(store.home, warn=pytest.fail)


def test_every_run_and_its_suite_say_their_schema(delivered):
    experiment = delivered.experiment("suite")
    assert experiment is not None
    runs = delivered.runs(experiment)
    assert [one.tags["bench.schema"] for one in runs] == ["2"] * 5
    assert experiment.tags["bench.schema"] == "2"


@pytest.mark.parametrize("table", ["experiment_tags", "tags"])
@pytest.mark.parametrize("version", ["3", "a later one"])
def test_a_suite_of_a_later_schema_is_refused(delivered, open_tracker, table, version):
    change(delivered, f"update {table} set value = '{version}' where key = 'bench.schema'")
    with pytest.raises(StoreError, match=f"of schema {version}, this program reads up to 2; update bench"):
        read_results(delivered, "suite")
    with pytest.raises(StoreError, match="update bench"):
        open_tracker(delivered).finished()


def test_a_suite_of_an_earlier_schema_is_read_and_goes_on(delivered, open_tracker):
    change(delivered, "delete from tags where key in ('bench.schema', 'bench.trace_sha256')")
    change(delivered, "delete from experiment_tags where key = 'bench.schema'")
    assert read_results(delivered, "suite").height == 2
    assert len(open_tracker(delivered).finished()) == 2
    experiment = delivered.experiment("suite")
    assert experiment is not None
    assert experiment.tags["bench.schema"] == "2"


def test_a_later_manifest_is_refused(delivered):
    (path,) = delivered.artifacts.glob("*/artifacts/manifest.json")
    path.write_text('{"manifest_version": 9}')
    with pytest.raises(StoreError, match="is of version 9, this program reads up to 2; update bench"):
        read_manifest(delivered, "suite")


def test_a_later_entry_of_the_outbox_is_refused_and_left_alone(delivered, open_tracker):
    tracker = open_tracker(delivered)
    tracker.put(finished_packs.results([5]), {})
    (path,) = tracker.outbox.entries()
    text = (path / "entry.json").read_text()
    (path / "entry.json").write_text(text.replace('"version":1}', '"version":9}'))
    with pytest.raises(StoreError, match="entry of version 9, this program reads up to 1; update bench"):
        tracker.finished()
    with pytest.raises(StoreError, match="entry of version 9"):
        read_results(delivered, "suite")
    delivered.warn = lambda line: None
    assert tracker.close() == 1
    assert path.exists()


@pytest.mark.parametrize(
    "statements",
    [
        ["update alembic_version set version_num = '89d4b8295536'"],
        ["update alembic_version set version_num = 'ffffffffffff'"],
        ["update alembic_version set version_num = '89d4b8295536'", "drop table scorers"],
    ],
)
def test_a_database_of_another_mlflow_is_refused_and_not_migrated(fresh_database, open_tracker, tmp_path, statements):
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    store = Store(tmp_path, warn=pytest.fail)
    for statement in statements:
        change(store, statement)
    before = (tmp_path / "mlflow.db").read_bytes()
    for use in (lambda: read_results(store, "suite"), lambda: open_tracker(store).finished()):
        with pytest.raises(StoreError, match=r"its schema \w{12} is of another version of MLflow, 3") as caught:
            use()
        assert "\n" not in str(caught.value)
    store.warn = lambda line: None
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_the_newest_schema_is_the_one_that_alembic_finds():
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    assert ScriptDirectory(str(migrations)).get_heads() == [newest_schema()]


def test_runs_that_a_killed_driver_left_are_ended_or_filled(store, open_tracker):
    """A driver that is killed after delivery of a pack began: the suite, a method and trials are left RUNNING."""
    tracker = open_tracker(store)
    filled, stale = finished_packs.results([1, 3])
    tracker.start("{}")
    tracker.put([filled, stale], finished_packs.traces([filled, stale]))
    tracker.deliver()
    tracker.finish("FINISHED")
    tracker.close()
    change(store, "update runs set status = 'RUNNING', end_time = null")

    tracker = open_tracker(Store(store.home, warn=pytest.fail))
    assert tracker.finished() == set()
    tracker.put([filled], finished_packs.traces([filled]))
    tracker.deliver()
    assert tracker.finished() == {filled.trial.id}
    tracker.finish("FINISHED")
    tracker.close()
    experiment = store.experiment("suite")
    assert experiment is not None
    runs = store.runs(experiment)
    statuses = {one.name: one.status for one in runs}
    assert all(one.end_ms is not None for one in runs)
    assert sorted(statuses.values()) == ["FINISHED", "FINISHED", "FINISHED", "KILLED"]
    assert statuses[records.trial_name(stale)] == "KILLED"
    assert read_results(store, "suite")["trial_id"].to_list() == [filled.trial.id]

    tracker = open_tracker(store)
    tracker.put([stale], finished_packs.traces([stale]))
    tracker.deliver()
    assert tracker.finished() == {filled.trial.id, stale.trial.id}
    assert len(store.runs(experiment)) == 4


def test_runs_that_an_entry_will_still_fill_are_left_open(store, open_tracker):
    """The store takes no more after it was asked to begin a trial: its entry waits, and its run with it."""
    tracker = open_tracker(store)
    waiting, stale = finished_packs.results([1, 3])
    tracker.put([waiting, stale], finished_packs.traces([waiting, stale]))
    tracker.deliver()
    tracker.close()
    change(store, "update runs set status = 'RUNNING', end_time = null where name like '%seed=%'")

    tracker = open_tracker(store)
    tracker.put([waiting], finished_packs.traces([waiting]))
    tracker.finish("FINISHED")
    experiment = store.experiment("suite")
    assert experiment is not None
    statuses = {one.name: one.status for one in store.runs(experiment)}
    assert statuses[records.trial_name(waiting)] == "RUNNING"
    assert statuses[records.trial_name(stale)] == "KILLED"


def test_of_two_runs_of_a_trial_that_ended_the_one_with_a_result_is_kept(store, open_tracker):
    """A FAILED run has ended as well; which was begun first makes no difference."""
    found = [finished_packs.result(number) for number in (1, 3)]
    lost = [
        finished_packs.result(number, outcome=Outcome.CRASHED, initial_loss=None, final_loss=None) for number in (1, 3)
    ]
    tracker = open_tracker(store)
    tracker.put([found[0], lost[1]], {})
    tracker.deliver()
    for hidden in map(records.trial_name, (found[0], lost[1])):
        change(store, f"update runs set lifecycle_stage = 'deleted' where name = '{hidden}'")
    tracker.close()
    tracker = open_tracker(store)
    tracker.put([lost[0], found[1]], {})
    tracker.deliver()
    tracker.close()
    change(store, "update runs set lifecycle_stage = 'active'")
    tracker = open_tracker(store)
    assert tracker.finished() == {one.trial.id for one in found}
    tracker.deliver()
    assert read_results(store, "suite")["outcome"].to_list() == ["completed", "completed"]


def test_a_suite_that_was_started_and_not_finished_is_failed(store, open_tracker):
    tracker = open_tracker(store)
    tracker.start("{}")
    tracker.close()
    experiment = store.experiment("suite")
    assert experiment is not None
    assert [one.status for one in store.runs(experiment)] == ["FAILED"]
