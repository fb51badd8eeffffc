"""The embedded store's database is what MLflow's own migrations make."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from bench.store import Store, database
from tests.bench.store.mlflow_tables import migrated, script_of


def lines_of(script: str) -> list[list[str]]:
    """The lines of each statement, sorted: MLflow's migrations write the constraints of a table in any order."""
    return sorted(sorted(line.strip(" \t,") for line in one.splitlines()) for one in script.split(";\n"))


@pytest.mark.whole
def test_a_fresh_database_is_that_of_mlflows_migrations(tmp_path):
    store = Store(tmp_path / "home", f"sqlite:///{tmp_path / 'made.db'}", warn=pytest.fail)
    store.create()
    assert lines_of(script_of(tmp_path / "made.db")) == lines_of(script_of(migrated(tmp_path / "migrated.db")))
    assert Path(database.__file__).with_name(f"tables_{database.newest_schema()}.sql").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "made.db")) as made:
        experiments = made.execute("select experiment_id, name, artifact_location, workspace from experiments")
        assert experiments.fetchall() == [(0, "Default", f"{store.artifacts.as_uri()}/0", "default")]
