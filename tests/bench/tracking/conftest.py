import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from bench.tracking import Store, Tracker


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory) -> Path:
    """An empty store's database; making one takes seconds, copying it none."""
    home = tmp_path_factory.mktemp("fresh")
    Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail).create()
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path, fresh_database) -> Path:
    """A home whose embedded store is made and empty."""
    folder = tmp_path / "a home"
    folder.mkdir()
    shutil.copy(fresh_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def warnings_seen() -> list[str]:
    return []


@pytest.fixture
def store(home, warnings_seen) -> Store:
    return Store(home, warn=warnings_seen.append)


@pytest.fixture
def open_tracker():
    """Makes trackers and lets their suites go at the end."""
    with contextlib.ExitStack() as held:

        def make(store: Store, suite_name: str = "suite") -> Tracker:
            tracker = Tracker(store, suite_name)
            held.callback(tracker.close, timeout_s=5)
            return tracker

        yield make


class Server:
    """A real MLflow server on loopback that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server_process(tmp_path_factory, fresh_database):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(fresh_database, folder / "mlflow.db")
    server = Server(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(server_process) -> Server:
    server_process.start()
    return server_process
