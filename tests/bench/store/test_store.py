import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import StoreError, UsageError
from bench.store import Store, read_results

OPEN_FRESH = """
import sys
import time
from pathlib import Path
from bench.store import Store

store = Store(Path(sys.argv[1]), warn=print)
store.create()
store.client().create_experiment(sys.argv[2], artifact_location=store.artifacts.as_uri())
"""


def children(code: str, *arguments: list[str]) -> list[subprocess.Popen]:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return [
        subprocess.Popen([sys.executable, "-c", code, *each], env=environment, cwd=Path.cwd(), stderr=subprocess.PIPE)
        for each in arguments
    ]


def test_kill_while_making_the_store_leaves_none_or_a_whole_one(tmp_path):
    """When the new database is whole and only lacks its name."""
    killed = "import os, sys\nsys.addaudithook(lambda event, _: event == 'os.rename' and os.kill(os.getpid(), 9))\n"
    (child,) = children(killed + OPEN_FRESH, [str(tmp_path), "first"])
    child.communicate()
    assert child.returncode == -9
    assert list(tmp_path.glob("mlflow.db.new-*"))
    assert not (tmp_path / "mlflow.db").exists()
    store = Store(tmp_path, warn=pytest.fail)
    store.create()
    assert store.experiment("first") is None
    assert sorted(path.name for path in tmp_path.glob("mlflow.db*")) == ["mlflow.db", "mlflow.db.lock"]


def test_reader_makes_nothing(tmp_path):
    with pytest.raises(StoreError, match="no results yet"):
        read_results(Store(tmp_path / "home", warn=pytest.fail), "suite")
    assert list(tmp_path.iterdir()) == []


def test_database_of_something_else_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path, warn=pytest.fail).client()


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:9", "postgresql://user:secret@127.0.0.1:9/results"])
def test_unreachable_store_is_one_line_without_password(tmp_path, uri):
    with pytest.raises(StoreError) as caught:
        read_results(Store(tmp_path, uri, warn=pytest.fail), "suite")
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/x", "databricks", "sqlite://", "sqlite:///:memory:"])
def test_unsupported_uri_is_refused(tmp_path, uri):
    with pytest.raises(UsageError, match="tracking URI"):
        Store(tmp_path, uri, warn=pytest.fail)


def test_environment_names_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/")
    assert Store(tmp_path, warn=pytest.fail).uri == "http://127.0.0.1:9"
    assert Store(tmp_path, f"sqlite:///{tmp_path / 'x.db'}", warn=pytest.fail).database == tmp_path / "x.db"


def test_second_driver_is_told_who_runs_the_suite(store, open_tracker):
    open_tracker(store, "a suite")
    with pytest.raises(UsageError, match=f"'a suite' is already being run by process {os.getpid()}"):
        open_tracker(store, "a suite")
    open_tracker(store, "another suite")


def test_closed_tracker_lets_the_suite_go(store, open_tracker):
    open_tracker(store).close()
    assert open_tracker(store).finished() == set()


def test_import_loads_nothing_heavy():
    heavy = "('mlflow', 'polars', 'torch', 'sqlalchemy')"
    code = f"import sys, bench.store; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
