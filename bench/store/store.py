"""Store: where results are kept, an MLflow server, a database, or by default SQLite and files below a home folder.

Artifacts of a database are files beside it, or below the URI in MLFLOW_DEFAULT_ARTIFACT_ROOT, such as an S3 bucket; a
server keeps its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bench.errors import StoreError, UsageError
from bench.files import open_private, private_folder
from bench.secrecy import without_secrets
from bench.store import database, records
from bench.store.database import WriteAheadLog
from bench.store.embedded import EmbeddedReader, can_read
from bench.store.failures import as_store_error, failures
from bench.store.home import claim
from bench.store.outbox import Outbox
from bench.store.quiet import quiet
from bench.store.run_writers import ClientWriter, RunWriter
from bench.store.runs import ClientReader, ExperimentRecord, Reader, RunRecord, Wanted
from bench.store.table_writer import TableWriter
from bench.trial import canonical_json

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.tracking import MlflowClient

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


class Store:
    """Where results are kept. Nothing is opened or made before it is needed.

    home: folder of the outbox, of locks, and of the embedded store (`mlflow.db` and `artifacts/`).
    uri: tracking URI; None means the environment's MLFLOW_TRACKING_URI, or else the embedded store.
    warn: called with one line a warning.
    """

    def __init__(self, home: Path, uri: str | None = None, *, warn: Callable[[str], None]) -> None:
        quiet()  # before anything imports MLflow, which starts its telemetry
        self.home = home.resolve()
        self.warn = warn
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home / 'mlflow.db'}"
        self.uri = self.uri.rstrip("/")
        scheme = self.uri.partition(":")[0].partition("+")[0]
        if scheme not in SCHEMES:
            raise UsageError(f"tracking URI {self.shown_uri!r}: required one of {', '.join(SCHEMES)}, got {scheme!r}")
        self.database: Path | None = None
        if scheme == "sqlite":
            self.database = Path(self.uri.partition(":///")[2])
            if self.database.name in ("", ":memory:") or "?" in self.uri:
                raise UsageError(
                    f"tracking URI {self.shown_uri!r}: required sqlite:///path/to/file.db, or a folder, without ? in it"
                )
            self.database = self.database.resolve()
            self.uri = f"sqlite:///{self.database}"
        self._is_claimed = False
        self._client: MlflowClient | None = None
        self._reader: Reader | None = None
        self._repositories: dict[str, ArtifactRepository] = {}

    @property
    def is_remote(self) -> bool:
        return self.uri.startswith(("http:", "https:"))

    @functools.cached_property
    def shown_uri(self) -> str:
        """The tracking URI without its password."""
        return without_secrets(self.uri)

    @property
    def artifacts(self) -> Path:
        """Folder of artifacts, unless they are kept elsewhere."""
        return (self.database.parent if self.database else self.home) / "artifacts"

    @property
    def artifact_root(self) -> str | None:
        """URI below which new suites keep their artifacts; None where a server decides."""
        if self.is_remote:
            return None
        return os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or self.artifacts.as_uri()

    def outbox(self, suite_name: str) -> Outbox:
        """Finished packs of a suite that this store does not hold yet."""
        return Outbox(self.home / "outbox" / self._slug(suite_name), warn=self.warn)

    def create(self) -> None:
        """Makes the store in a fresh database; of several processes one does, the others wait."""
        if self._is_postgres:
            with self.reported():
                database.make_postgres(self.uri, self.artifact_root or "")
        self._claim()
        if self.database is None or database.is_made(self.database):
            return
        with self.reported(), _locked(self.database.with_name(f"{self.database.name}.lock")):
            if not database.is_made(self.database):
                database.make_sqlite(self.database, self.artifact_root or "")

    def is_made(self) -> bool:
        """Whether its SQLite database is there; servers and other databases say so when they are asked."""
        return self.database is None or database.is_made(self.database)

    def schema(self) -> str | None:
        """The schema of the database, None where a server has it.

        Raises StoreError for a database that MLflow would make, migrate or try for minutes to open.
        """
        if self.is_remote:
            return None
        with self.reported():
            if self.database is not None:
                is_made = database.is_made(self.database)
            else:
                is_made = not self._is_postgres or database.has_tables(self.uri)
            if not is_made:
                raise StoreError(f"{self.database or self.shown_uri}: no results yet; run a suite first")
            return database.check(self.uri)

    def client(self) -> MlflowClient:
        """MLflow's client. Raises StoreError if there is no store, or it can't be reached or read."""
        if self._client is None:
            self.schema()
            with self.reported():
                from mlflow.tracking import MlflowClient

                quiet()  # importing MLflow sets the levels of its loggers
                self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    def writer(self, log: WriteAheadLog | None) -> RunWriter:
        """What writes runs; log: of the SQLite database, None for any other. Raises StoreError as `client` does."""
        has_known_tables = not self.is_remote and can_read(self.schema())
        if log is not None and has_known_tables:
            return TableWriter(log.transaction)
        client = self.client()
        if not (self._is_postgres and has_known_tables):
            return ClientWriter(client)
        with self.reported():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            sessions = SqlAlchemyStore(self.uri, self.artifact_root or "").ManagedSessionMaker
        return TableWriter(functools.partial(database.session_transaction, sessions))

    @property
    def reader(self) -> Reader:
        """What reads runs. Raises StoreError as `client` does."""
        if self._reader is None:
            if self.database is not None and can_read(self.schema()):
                self._reader = EmbeddedReader(self.database)
            else:
                self._reader = ClientReader(self.client())
        return self._reader

    def experiment(self, suite_name: str) -> ExperimentRecord | None:
        """MLflow's experiment of a suite, or None if there is none yet."""
        with self.reported():
            experiment = self.reader.experiment(suite_name)
        if experiment is not None and not experiment.is_active:
            raise StoreError(
                f"{self.shown_uri}: the results of suite {suite_name!r} are in MLflow's trash; "
                f"bring them back with `mlflow experiments restore --experiment-id {experiment.experiment_id}`"
            )
        if experiment is not None:
            records.check_schema(experiment.tags, f"{self.shown_uri}: suite {suite_name!r}")
        return experiment

    def runs(
        self,
        experiment: ExperimentRecord,
        kind: str | None = None,
        *,
        is_ended: bool = False,
        tag: str | None = None,
        tags_only: bool = False,
        tags: tuple[str, ...] | None = None,
    ) -> list[RunRecord]:
        """Runs of an experiment, the latest start first; arguments as `Wanted` has them."""
        wanted = Wanted(kind=kind, is_ended=is_ended, tag=tag, tags_only=tags_only, tags=tags)
        with self.reported():
            return self.reader.runs(experiment.experiment_id, wanted)

    def experiments(self) -> list[ExperimentRecord]:
        """Experiments of all suites, and of other programs if they use the store too."""
        with self.reported():
            return self.reader.experiments()

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Turns every failure of MLflow, its database, its server or the disk into a StoreError of one line.

        FullStoreError where a disk is full.
        """
        try:
            yield
        except failures() as error:
            raise as_store_error(self.shown_uri, error) from error

    @contextlib.contextmanager
    def lock(self, suite_name: str) -> Iterator[None]:
        """Holds the suite for this process. Raises UsageError if another process holds it."""
        path = self._lock_path(suite_name)
        self._claim()
        private_folder(path.parent)
        with open_private(path, "a+") as file:
            _hold(file, suite_name, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    @contextlib.contextmanager
    def shared_lock(self, suite_name: str) -> Iterator[None]:
        """Keeps others from running the suite while it is read, and writes nothing.

        A suite that was never run from this home has nothing to hold. Raises UsageError if another process runs it.
        """
        path = self._lock_path(suite_name)
        if not path.exists():
            yield
            return
        with path.open() as file:
            _hold(file, suite_name, fcntl.LOCK_SH)
            yield

    def run_folder(self, experiment: ExperimentRecord, run_id: str) -> Path | None:
        """Folder of a run's artifacts if they are files of this machine; found again after the home was moved."""
        parts = urlsplit(experiment.artifact_location)
        if parts.scheme not in ("", "file"):
            return None
        root = Path(unquote(parts.path))
        if not root.exists() and self.artifacts.exists():
            root = self.artifacts
        return root / run_id / "artifacts"

    def artifact_repository(self, experiment: ExperimentRecord) -> ArtifactRepository:
        """Artifacts of all runs of an experiment, below `<run id>/artifacts`: one for all, as each starts threads."""
        location = experiment.artifact_location
        if location not in self._repositories:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            self._repositories[location] = get_artifact_repository(location, tracking_uri=self.uri)
        return self._repositories[location]

    def _claim(self) -> None:
        """Makes home and the folder of a SQLite database this user's alone. Raises UsageError if they are another's."""
        if not self._is_claimed:
            claim(self.home, "mlflow.db", self.warn)
            if self.database is not None:
                if self.database.parent != self.home:
                    claim(self.database.parent, self.database.name, self.warn)
                private_folder(self.artifacts)
            self._is_claimed = True

    @property
    def _is_postgres(self) -> bool:
        return self.uri.startswith("postgresql")

    def _lock_path(self, suite_name: str) -> Path:
        return self.home / "locks" / f"{self._slug(suite_name)}.lock"

    def _slug(self, suite_name: str) -> str:
        """A file name for a suite in this store; the same after the home was moved."""
        where = self.shown_uri
        if self.database is not None and self.database.is_relative_to(self.home):
            where = str(self.database.relative_to(self.home))
        digest = hashlib.sha256(canonical_json([suite_name, where]).encode()).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', suite_name)[:40]}-{digest[:8]}"


def _hold(file: IO[str], suite_name: str, kind: int) -> None:
    """Locks the file, exclusively or with other readers. Raises UsageError if another process is in the way."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            raise UsageError(f"suite {suite_name!r} is being verified by another process; wait for that") from error
        raise UsageError(f"suite {suite_name!r} is already being run by process {holder}") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open_private(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
