"""The databases that MLflow keeps runs in: made once, checked before MLflow opens them, and written at less cost.

Measured traps of MLflow 3.17.2 that this file works around:
- Several processes that open a fresh database migrate it at once and brick it, and a kill during the migration leaves
  SQLite half made. It is made under a lock; SQLite under a temporary name, and renamed.
- A database that can't be opened is tried again for minutes, with a traceback each time; one that lacks a table, as
  those of other versions do, is migrated without a word. Both are found out first.
- SQLite waits for the disk about a dozen times a trial. A driver writes through SQLite's write-ahead log instead.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import open_private
from bench.secrecy import without_secrets
from bench.store import embedded
from bench.store.outbox import sync_folder
from bench.store.quiet import quiet
from bench.store.table_writer import Statements

# SQLite's write-ahead log needs memory shared by all that open the database: no network file system.
LOCAL_FILE_SYSTEMS = {"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}

_REVISION = re.compile(r'^(down_)?revision\s*=\s*"(\w+)"', re.MULTILINE)  # of a migration of alembic's
_ADVISORY_LOCK = 7_233_907_412  # any number that other programs on the same server don't use
_CONNECT_SECONDS = 10
_BUSY_SECONDS = 30.0  # to wait for a process that writes
_DEFAULT_EXPERIMENT = """
insert into experiments
    (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)
values (0, 'Default', :location, 'active', :now_ms, :now_ms, 'default')
"""  # without it MLflow's UI does not open
_SCHEMA = "select max(version_num) from alembic_version"


def is_made(database: Path) -> bool:
    """Whether there is a SQLite database: it gets its name once it is whole."""
    return database.exists() and database.stat().st_size > 0


def make_sqlite(database: Path, artifact_root: str) -> None:
    """Makes MLflow's database, whole or not at all. Only under a lock.

    Its tables are those that the migrations of its known version leave, which take seconds; another version migrates.
    """
    for leftover in database.parent.glob(f"{database.name}.new-*"):
        leftover.unlink()
    temporary = database.with_name(f"{database.name}.new-{os.getpid()}")
    open_private(temporary, "a").close()  # SQLite gives its log the mode of the database
    script = Path(__file__).with_name(f"tables_{newest_schema()}.sql")
    if script.exists():
        with contextlib.closing(sqlite3.connect(temporary)) as connection:
            connection.executescript(f"begin;\n{script.read_text(encoding='utf-8')}commit;")
            values = {"location": f"{artifact_root.rstrip('/')}/0", "now_ms": time.time_ns() // 1_000_000}
            connection.execute(_DEFAULT_EXPERIMENT, values)
            connection.commit()
    else:
        _initialise(f"sqlite:///{temporary}", artifact_root)
    temporary.rename(database)
    sync_folder(database.parent)


def make_postgres(uri: str, artifact_root: str) -> None:
    """Makes MLflow's tables in a Postgres database that has none: of several processes one does, the others wait."""
    import sqlalchemy

    with _connected(uri) as connection:
        if _is_initialised(connection):
            return
        lock = sqlalchemy.bindparam("lock", _ADVISORY_LOCK, sqlalchemy.BigInteger)
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(lock)))  # let go with the connection
        if not _is_initialised(connection):
            check(uri)
            _initialise(uri, artifact_root)


def check(uri: str) -> str | None:
    """The database's schema; None for one without MLflow's tables.

    Raises StoreError if it is not that of this MLflow, and for SQLite that isn't MLflow's.
    """
    names, schema = _tables_of_sqlite(uri) if uri.startswith("sqlite") else _tables_and_schema(uri)
    printed = without_secrets(uri)
    if schema is None and "experiments" not in names:
        if uri.startswith("sqlite"):
            raise StoreError(
                f"{printed.removeprefix('sqlite:///')}: not a store of MLflow; name a --store that is one, or new"
            )
        return None
    needed = newest_schema()
    if schema is not None and schema != needed:
        raise StoreError(
            f"{printed}: its schema {schema} is of another version of MLflow, {version('mlflow')} needs {needed}; use "
            f"the MLflow that made it, or make a copy and `mlflow db upgrade` it"
        )
    return schema


def newest_schema() -> str:
    """The revision of the installed MLflow's schema, read off its migrations as text: alembic would load them all."""
    spec = importlib.util.find_spec("mlflow")
    assert spec is not None, "MLflow is a dependency"
    assert spec.submodule_search_locations, "MLflow is a package"
    folder = Path(spec.submodule_search_locations[0]) / "store" / "db_migrations" / "versions"
    revisions = [match for path in folder.glob("*.py") for match in _REVISION.findall(path.read_text(encoding="utf-8"))]
    (newest,) = {name for down, name in revisions if not down} - {name for down, name in revisions if down}
    return newest


def has_tables(uri: str) -> bool:
    """Whether MLflow's tables are in a database."""
    with _connected(uri) as connection:
        return _is_initialised(connection)


class WriteAheadLog:
    """A connection that commits to SQLite's write-ahead log without waiting for the disk; `sync` waits for all of it.

    A power cut before `sync` may lose commits, the last first; the database is whole at any moment. Where the log can't
    be used every commit waits, as usual. Afterwards the database is one file again, unless another process uses it.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._connection = sqlite3.connect(
            database, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("pragma foreign_keys = on")
        if _is_local(database):
            with contextlib.suppress(sqlite3.OperationalError):  # another process uses the database without
                if self._connection.execute("pragma journal_mode = wal").fetchone()[0] == "wal":
                    self._connection.execute("pragma synchronous = normal")

    def close(self) -> None:
        """Ends the log, unless another process uses it."""
        self._connection.close()
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self._database, timeout=0)) as own:
            own.execute("pragma journal_mode = delete")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Statements]:
        """Begins one, committed at the end of the block, or undone where that raises."""
        self._connection.execute("begin immediate")
        try:
            yield _OfSqlite(self._connection)
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    def sync(self) -> None:
        """Waits until every commit is on the disk.

        A checkpoint of SQLite's waits for log and database before it starts the log anew, so the log's own file is all
        that is left to wait for. The database must not be opened here: closing it would let go of SQLite's locks.
        """
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(f"{self._database}-wal", os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self._database.parent)


class _OfSqlite:
    """Statements of a connection of SQLite's own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._connection.executemany(sql, rows)

    def read(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


@contextlib.contextmanager
def session_transaction(sessions: Callable[..., Any]) -> Iterator[Statements]:
    """A transaction in a session that MLflow makes on its database."""
    with sessions(read_only=False) as session:
        yield _OfSession(session)


class _OfSession:
    """Statements of a session of SQLAlchemy's."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def write(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import sqlalchemy

        if rows:
            self._session.execute(sqlalchemy.text(sql), list(rows))

    def read(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        import sqlalchemy

        return [tuple(row) for row in self._session.execute(sqlalchemy.text(sql), dict(values))]


def _is_local(database: Path) -> bool:
    import psutil

    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    folder = next((folder for folder in database.parents if folder in mounts), None)
    return folder is not None and mounts[folder] in LOCAL_FILE_SYSTEMS


@contextlib.contextmanager
def _connected(uri: str) -> Iterator[Any]:
    import sqlalchemy

    options = {"connect_timeout": _CONNECT_SECONDS} if uri.startswith(("postgresql", "mysql")) else {}
    engine = sqlalchemy.create_engine(
        uri, poolclass=sqlalchemy.NullPool, connect_args=options, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        yield connection


def _tables_of_sqlite(uri: str) -> tuple[set[str], str | None]:
    """Names of tables, and MLflow's schema if it has one; without SQLAlchemy, whose import takes a quarter second."""
    with embedded.opened(Path(uri.partition(":///")[2])) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        return names, connection.execute(_SCHEMA).fetchone()[0] if "alembic_version" in names else None


def _tables_and_schema(uri: str) -> tuple[set[str], str | None]:
    import sqlalchemy

    with _connected(uri) as connection:
        names = set(sqlalchemy.inspect(connection).get_table_names())
        return names, _schema(connection) if "alembic_version" in names else None


def _schema(connection: Any) -> str | None:
    import sqlalchemy

    return connection.execute(sqlalchemy.text(_SCHEMA)).scalar()


def _is_initialised(connection: Any) -> bool:
    """Whether MLflow has done all that it does to a fresh database; the default experiment comes last."""
    import sqlalchemy

    if not {"alembic_version", "experiments"} <= set(sqlalchemy.inspect(connection).get_table_names()):
        return False
    experiments = connection.execute(sqlalchemy.text("select count(*) from experiments")).scalar()
    return _schema(connection) is not None and experiments > 0


def _initialise(uri: str, artifact_root: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    quiet()
    SqlAlchemyStore(uri, artifact_root).engine.dispose()
