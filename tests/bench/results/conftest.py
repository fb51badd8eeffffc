"""Empty stores, and copies of one that theirs.csv was imported into."""

import shutil
from pathlib import Path

import pytest

from bench.store import (
    Store,
)
from bench.suite import Context, Suite
from tests.bench.results.imported_stores import PLAIN_SUITE, imported_into, runs, sweep


@pytest.fixture
def suite() -> Suite:
    return Suite.model_validate(PLAIN_SUITE, context=Context(allow_code=False))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("empty")
    Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail).create()
    return home / "mlflow.db"


@pytest.fixture
def store(tmp_path, empty_database, monkeypatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
    (tmp_path / "home").mkdir(mode=0o700)
    shutil.copy(empty_database, tmp_path / "home/mlflow.db")
    return Store(tmp_path / "home", warn=pytest.fail)


@pytest.fixture(scope="session")
def imported_home(empty_database, tmp_path_factory) -> Path:
    """A home that theirs.csv was imported into, to be copied; the file lies beside it."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "home").mkdir(mode=0o700)
    shutil.copy(empty_database, folder / "home/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
        path = runs(folder, sweep() | sweep("mega"), extra="source")
        done = imported_into(Store(folder / "home", warn=pytest.fail), path)
    assert (done.subject.name, done.num_new, done.num_replaced, done.num_removed) == ("theirs", 8, 0, 0)
    return folder


@pytest.fixture
def imported(imported_home, store) -> tuple[Store, Path]:
    """A store that holds an import, and its file."""
    shutil.rmtree(store.home)
    shutil.copytree(imported_home / "home", store.home)
    return store, imported_home / "theirs.csv"
