"""A disk without space is told from a store that is away, however it was said, and has an exit code of its own."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from bench.errors import FullStoreError, StoreError, is_full
from bench.store.store import Store
from tests.faults.campaign import can_mount, small_disk


def filled(connection) -> None:
    """Raises what SQLite does once a database may not grow."""
    connection.exec_driver_sql("pragma max_page_count = 4")
    connection.exec_driver_sql("create table t (x)")
    connection.exec_driver_sql("insert into t values (zeroblob(100000))")


def test_a_full_database_is_told_through_sqlalchemy(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection, pytest.raises(OperationalError) as caught:
        filled(connection)
    assert is_full(caught.value)
    assert isinstance(caught.value.orig, sqlite3.OperationalError)
    assert is_full(caught.value.orig)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_what_the_system_says_of_a_full_disk(number):
    assert is_full(OSError(number, os.strerror(number)))


def test_other_failures_are_not_a_full_disk(tmp_path):
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "none" / "a.db")
    assert not is_full(caught.value)
    assert not is_full(OSError(errno.EIO, os.strerror(errno.EIO)))


def test_reported_failures_end_with_4_and_those_of_a_full_disk_with_5(tmp_path):
    store = Store(tmp_path / "home", warn=print)
    for error, kind, code in (
        (OSError(errno.ECONNREFUSED, "refused"), StoreError, 4),
        (sqlite3.OperationalError("database or disk is full"), FullStoreError, 5),
    ):
        with pytest.raises(StoreError) as caught, store.reported():
            raise error
        assert (type(caught.value), caught.value.exit_code) == (kind, code)


@pytest.fixture
def disk(tmp_path):
    if not shutil.which("mount") or not can_mount(tmp_path / "tried"):
        pytest.skip("no small disk can be mounted here")
    with small_disk(tmp_path / "disk") as folder:
        yield folder


SUITE = """
name: full
workloads: [{name: in_context_regression, num_steps: 50, final_loss_steps: 10, batch_size: 8, depth: 1}]
methods: [softmax]
optimizers: [sgd]
knobs: {lr: [0.01, 0.1]}
seeds: 2
probe_every: 10
"""


@pytest.mark.whole
@pytest.mark.parametrize("left_kb", [64, pytest.param(1400, marks=pytest.mark.slow)])
def test_a_run_whose_store_is_on_a_full_disk_ends_with_5_and_no_traceback(disk: Path, left_kb):
    """With room for a part of an empty store, and for all of it but for what is trained."""
    suite, free = disk / "full.yaml", shutil.disk_usage(disk).free
    suite.write_text(SUITE)
    (disk / "filler").write_bytes(bytes(free - 1024 * left_kb))
    command = [sys.executable, "-m", "bench.cli", "run", str(suite), "--store", str(disk / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
