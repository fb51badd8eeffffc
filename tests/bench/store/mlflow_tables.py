"""The tables of a fresh SQLite database as MLflow's migrations make them: `python -m tests.bench.store.mlflow_tables`.

Writes bench/store/tables_<schema>.sql, which stands for the migrations of the installed MLflow.
"""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from bench.store import database
from bench.store.quiet import quiet

FILLED = ("alembic_version", "workspaces")  # by migrations; the default experiment is made whenever it lacks


def migrated(path: Path) -> Path:
    """A database that MLflow's migrations made."""
    quiet()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{path}", "file:///artifacts").engine.dispose()
    return path


def script_of(path: Path) -> str:
    """SQL that makes the tables of a database, and the rows of FILLED."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        made = connection.execute("select sql from sqlite_master where sql is not null order by rowid").fetchall()
        rows = [
            f"INSERT INTO {table} VALUES ({', '.join('NULL' if value is None else repr(value) for value in row)})"
            for table in FILLED
            for row in connection.execute(f"select * from {table}")
        ]
    return "".join(f"{text};\n" for text in [*(sql for (sql,) in made), *rows])


def main() -> None:
    path = Path(database.__file__).with_name(f"tables_{database.newest_schema()}.sql")
    with tempfile.TemporaryDirectory() as folder:
        path.write_text(script_of(migrated(Path(folder, "mlflow.db"))), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
