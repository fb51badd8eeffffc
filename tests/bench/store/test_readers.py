"""Two ways to read MLflow's runs, by its client and from the embedded database, give the same."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from bench.errors import StoreError
from bench.store import Store, read_results, records
from bench.store.database import newest_schema
from bench.store.embedded import SCHEMA, EmbeddedReader, can_read
from bench.store.runs import ClientReader, Wanted
from tests.bench.store import finished_packs
from tests.bench.store.stored import assert_holds, put

WANTED = [
    Wanted(),
    Wanted(kind="suite"),
    Wanted(kind="method"),
    Wanted(kind="trial"),
    Wanted(kind="trial", is_ended=True),
    Wanted(kind="trial", is_ended=True, tag=records.IMPORTED),
    Wanted(kind="trial", tag=records.TRACE),
    Wanted(kind="nothing"),
]
HOSTILE_NAME = "ñ'; drop table runs; -- % _ `x`"

# Changes a database, with a journal on the disk and half of the changes in the file, and dies.
DIE_WRITING = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("pragma cache_size = 1")
connection.execute("begin immediate")
connection.execute("update tags set value = 'changed ' || value")
connection.execute("update params set value = 'changed ' || value")
print("changed", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def both(store: Store) -> tuple[EmbeddedReader, ClientReader]:
    assert store.database is not None
    return EmbeddedReader(store.database), ClientReader(store.client())


def change(store: Store, statement: str, *values: object) -> None:
    assert store.database is not None
    with contextlib.closing(sqlite3.connect(store.database)) as connection:
        connection.execute(statement, values)
        connection.commit()


@pytest.fixture
def held(store, open_tracker) -> Store:
    """Runs of every kind and status, imported, deleted and without trace, and tags and metrics of every value."""
    for name in ("suite", HOSTILE_NAME):
        tracker = open_tracker(store, name)
        finished = finished_packs.results(range(6))
        tracker.start('{"a": "manifest"}')
        put(tracker, finished)
        tracker.put([finished_packs.held_out_result(7), finished_packs.result(8, method=HOSTILE_NAME)], {})
        tracker.deliver()
        row = {"workload": "regression", "method": "softmax", "optimizer": "adam", "flags": "", "score": 0.1}
        tracker.log_leaderboard(pl.DataFrame([row]))
        tracker.log_leaderboard(pl.DataFrame([{**row, "score": None}], schema_overrides={"score": pl.Float64}))
        tracker.finish("FINISHED")
        tracker.close()
    by_number = "where name like '%seed={}%'"
    change(store, f"update runs set status = 'RUNNING', end_time = null {by_number.format(1)}")
    change(store, f"update runs set status = 'KILLED' {by_number.format(2)}")
    change(store, f"update runs set lifecycle_stage = 'deleted' {by_number.format(3)}")
    change(store, "update runs set start_time = 5 where name like 'softmax%'")  # alike: ordered by id
    chosen = f"select run_uuid from runs {by_number.format(4)}"
    change(
        store, f"insert into tags (run_uuid, key, value) select run_uuid, ?, 'theirs' from ({chosen})", "bench.imported"
    )
    return store


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_both_readers_give_the_same_runs_in_the_same_order(held, wanted):
    embedded, client = both(held)
    for name in ("suite", HOSTILE_NAME):
        experiment = client.experiment(name)
        assert experiment is not None
        expected = [repr(run) for run in map(sorted_run, client.runs(experiment.experiment_id, wanted))]
        assert [repr(run) for run in map(sorted_run, embedded.runs(experiment.experiment_id, wanted))] == expected
        assert bool(expected) == (wanted.kind != "nothing")


def test_tags_that_are_not_needed_are_not_read(held):
    embedded, client = both(held)
    experiment = client.experiment("suite")
    assert experiment is not None
    needed = ("bench.trial_id", "bench.imported")
    some = embedded.runs(experiment.experiment_id, Wanted(kind="trial", tags=needed))
    every = client.runs(experiment.experiment_id, Wanted(kind="trial"))
    assert [one.tags for one in some] == [
        {name: one.tags[name] for name in needed if name in one.tags} for one in every
    ]
    assert any("bench.imported" in one.tags for one in some)


def sorted_run(run):
    """All that a run holds; NaN is equal to itself in what is printed."""
    return (
        run.run_id,
        run.name,
        run.status,
        run.start_ms,
        run.end_ms,
        *(sorted(part.items()) for part in (run.tags, run.params, run.metrics)),
    )


def test_both_readers_give_the_same_experiments(held):
    embedded, client = both(held)
    by_name = {one.name: one for one in client.experiments()}
    assert set(by_name) == {"Default", "suite", HOSTILE_NAME}
    assert {one.name: one for one in embedded.experiments()} == by_name
    for name in (*by_name, "never run"):
        assert embedded.experiment(name) == client.experiment(name)
    held.client().delete_experiment(by_name["suite"].experiment_id)
    assert embedded.experiment("suite") == client.experiment("suite")
    assert {one.name for one in embedded.experiments()} == {one.name for one in client.experiments()}


def test_more_runs_than_one_page_are_all_read(held, monkeypatch):
    monkeypatch.setattr("bench.store.runs._PAGE", 2)
    embedded, client = both(held)
    experiment = client.experiment("suite")
    assert experiment is not None
    assert len(client.experiments()) == 3
    found = [run.run_id for run in client.runs(experiment.experiment_id, Wanted())]
    assert found == [run.run_id for run in embedded.runs(experiment.experiment_id, Wanted())]


def test_the_schema_that_is_read_is_that_of_the_installed_mlflow():
    assert newest_schema() == SCHEMA
    assert can_read(SCHEMA)


def test_other_schemas_and_workspaces_are_left_to_mlflow(held, monkeypatch):
    assert isinstance(held.reader, EmbeddedReader)
    assert not can_read("ffffffffffff")
    assert not can_read(None)
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    assert not can_read(SCHEMA)


def test_any_other_kind_of_store_is_read_by_the_client(any_store):
    assert isinstance(any_store.reader, EmbeddedReader if any_store.database else ClientReader)


def test_reading_neither_writes_nor_loads_mlflow(held):
    assert held.database is not None
    before = held.database.read_bytes()
    code = (
        "import sys, pathlib; from bench.store import Store, read_results, suite_names\n"
        "store = Store(pathlib.Path(sys.argv[1]), warn=print); suite_names(store)\n"
        "print(read_results(store, 'suite').height, {'mlflow', 'sqlalchemy', 'alembic'} & set(sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(held.home)], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "5 set()\n"
    assert held.database.read_bytes() == before
    assert not list(held.home.glob("mlflow.db-*"))


@pytest.mark.whole
def test_what_a_killed_process_left_half_written_is_taken_back(held):
    assert held.database is not None
    expected = read_results(held, "suite")
    for _ in range(400):  # more pages than SQLite keeps in memory
        change(
            held, "insert into params (run_uuid, key, value) select run_uuid, hex(randomblob(8)), ? from runs", "x" * 99
        )
    child = subprocess.run([sys.executable, "-c", DIE_WRITING, str(held.database)], capture_output=True)
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, b"changed\n")
    assert Path(f"{held.database}-journal").stat().st_size > 0
    assert read_results(Store(held.home, warn=pytest.fail), "suite").equals(expected)


def test_a_driver_may_write_while_it_is_read(store, open_tracker):
    """In its process and in others; the write-ahead log is folded in at the end all the same."""
    tracker = open_tracker(store)
    finished = finished_packs.results(range(40))
    stop, heights = threading.Event(), []

    def read() -> None:
        other = Store(store.home, warn=pytest.fail)
        while not stop.is_set():
            heights.append(read_results(other, "suite", undelivered=False).height)

    tracker.finished()
    reading = threading.Thread(target=read)
    reading.start()
    for start in range(0, 40, 8):
        put(tracker, finished[start : start + 8])
        tracker.deliver()
    stop.set()
    reading.join()
    tracker.finish("FINISHED")
    tracker.close()
    assert heights == sorted(heights)
    assert_holds(store, finished)
    assert not list(store.home.glob("mlflow.db-*"))


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_file_that_is_no_database_is_one_line(tmp_path, content):
    (tmp_path / "mlflow.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"mlflow\.db: (file is not a database|.*malformed)") as caught:
        read_results(Store(tmp_path, warn=pytest.fail), "suite")
    assert "\n" not in str(caught.value)
