"""Who gets in where MLflow's pages are served: `bench ui`, and `bench ui --login`."""

import base64
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from bench.store import Store, Tracker, login_of, ui_command
from tests.bench.store import finished_packs

SEARCH = "api/2.0/mlflow/experiments/search?max_results=10"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = tmp_path_factory.mktemp("ui") / "home"
    store = Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail)
    finished = finished_packs.results(range(2))
    with contextlib.closing(Tracker(store, "suite")) as tracker:
        tracker.put(finished, finished_packs.traces(finished))
        tracker.deliver()
    return store


def test_without_a_word_it_listens_on_loopback_and_runs_no_jobs(store):
    words, environment = ui_command(store, 5000)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert "--app-name" not in words
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_a_login_keeps_its_password_to_its_environment(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    login = login_of(store)
    words, environment = ui_command(store, 5000, login=login)
    assert login.new_password is not None
    assert len(login.new_password) >= 20
    assert login.new_password not in repr(login) + " ".join(words)
    assert environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == login.new_password
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "of the user's own")
    assert login_of(store).new_password is None
    kept = [store.home / "login", *(store.home / "login").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} <= {0o700, 0o600}


@pytest.fixture(scope="module")
def served(store):
    """`bench ui --login` beyond loopback: its address, and all that it said before it served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "bench.cli", "ui", "--host", "0.0.0.0", "--login", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (store.home.parent / "log").open("wb+") as log:
        server = subprocess.Popen(
            [*words, "--store", str(store.home)], stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            while answer(f"http://127.0.0.1:{port}/health") != 200:
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.3)
            log.seek(0)
            yield f"http://127.0.0.1:{port}", log.read().decode()
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def answer(address: str, password: str | None = None, **headers: str) -> int:
    """The code of the answer, 0 if there is none."""
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"bench:{password}".encode()).decode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as found:
            return found.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_beyond_loopback_it_warns_and_lets_in_who_has_the_password(served, store):
    base, said = served
    assert "warning: listening on 0.0.0.0, beyond this machine: passwords and results travel in the clear" in said
    password = said.partition("with the password ")[2].partition(",")[0]
    run = next(path.name for path in store.artifacts.iterdir() if (path / "artifacts" / "trace.parquet").exists())
    for place in (SEARCH, f"get-artifact?run_uuid={run}&path=trace.parquet"):
        got = [answer(f"{base}/{place}", secret) for secret in (None, "wrong", "", password)]
        assert got == [401, 401, 401, 200], place
    assert answer(f"{base}/{SEARCH}", password, Host="evil.example") == 403
    every = [path for path in store.home.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in every} == {0o600}, "what the server wrote, too"
