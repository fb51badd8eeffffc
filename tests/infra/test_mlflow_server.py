"""The MLflow server as infra/mlflow starts it: the same program and environment, on SQLite and on Postgres."""

import configparser
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.infra.ports import free_port

SERVE = Path(__file__).parents[2] / "infra" / "mlflow" / "serve.py"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
START_SECONDS = 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Its address and environment."""
    folder = tmp_path_factory.mktemp("mlflow")
    environment = _environment(folder)
    with _served(environment, folder) as url:
        yield url, environment


@pytest.mark.slow
def test_only_accounts_get_in(server: tuple[str, dict[str, str]]) -> None:
    url, environment = server
    administrator = (environment["MLFLOW_AUTH_ADMIN_USERNAME"], environment["MLFLOW_AUTH_ADMIN_PASSWORD"])
    account = ("researcher", secrets.token_hex(12))

    def status(path: str = SEARCH, **options) -> int:
        return requests.get(url + path, timeout=30, **options).status_code

    assert status() == 401
    assert status(auth=(administrator[0], "wrong")) == 401
    assert status(auth=("admin", "password1234")) == 401  # what MLflow once shipped
    assert status(auth=administrator) == 200
    assert status("/health") == 200  # probes have no account
    assert status(auth=administrator, headers={"Host": "elsewhere.example"}) == 403

    made = requests.post(
        f"{url}/api/2.0/mlflow/users/create",
        json={"username": account[0], "password": account[1]},
        auth=administrator,
        timeout=30,
    )
    assert made.status_code == 200, made.text
    assert status(auth=account) == 200
    again = requests.post(
        f"{url}/api/2.0/mlflow/users/create",
        json={"username": "third", "password": account[1]},
        auth=account,
        timeout=30,
    )
    assert again.status_code == 403  # accounts don't make accounts


@pytest.mark.slow
def test_secrets_are_in_no_command_line_and_the_ini_is_private(server: tuple[str, dict[str, str]]) -> None:
    import psutil

    _, environment = server
    ini = Path(environment["MLFLOW_AUTH_CONFIG_PATH"])
    assert ini.stat().st_mode & 0o777 == 0o600
    assert environment["MLFLOW_AUTH_ADMIN_PASSWORD"] not in ini.read_text()
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    for name in ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_DATABASE_URI"):
        assert not any(environment[name] in line for line in lines), name


@pytest.mark.slow
def test_results_and_accounts_live_in_postgres(postgres, tmp_path: Path) -> None:
    environment = _environment(tmp_path) | {
        "MLFLOW_BACKEND_STORE_URI": postgres.fresh(),  # their password holds the letters of a URI
        "MLFLOW_AUTH_DATABASE_URI": postgres.fresh(),
    }
    administrator = (environment["MLFLOW_AUTH_ADMIN_USERNAME"], environment["MLFLOW_AUTH_ADMIN_PASSWORD"])
    with _served(environment, tmp_path) as url:
        assert requests.get(url + SEARCH, timeout=30).status_code == 401
        assert requests.get(url + SEARCH, auth=administrator, timeout=30).status_code == 200


def test_each_missing_setting_is_named(tmp_path: Path) -> None:
    environment = _environment(tmp_path) | {"MLFLOW_AUTH_ADMIN_PASSWORD": ""}
    del environment["MLFLOW_FLASK_SERVER_SECRET_KEY"]
    done = subprocess.run([sys.executable, SERVE], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY" in done.stderr


def test_ini_keeps_an_escaped_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SERVE.parent))
    import serve  # pyright: ignore

    uri = "postgresql+psycopg://mlflow:a%40b%2Fc@postgres:5432/mlflow_auth"
    serve.write_ini(tmp_path / "basic_auth.ini", database_uri=uri)
    read = configparser.ConfigParser()  # as MLflow reads it
    read.read(tmp_path / "basic_auth.ini")
    assert read["mlflow"]["database_uri"] == uri


def _environment(folder: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))},
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_AUTH_DATABASE_URI": f"sqlite:///{folder}/auth.db",
        "MLFLOW_AUTH_CONFIG_PATH": f"{folder}/basic_auth.ini",
        "MLFLOW_AUTH_ADMIN_USERNAME": "root-of-results",
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.token_hex(12),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_ARTIFACTS_DESTINATION": f"{folder}/artifacts",
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_WORKERS": "1",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost:*,127.0.0.1:*",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


@contextmanager
def _served(environment: dict[str, str], folder: Path) -> Iterator[str]:
    pytest.importorskip("flask_wtf", reason="needs mlflow[auth]")
    port = free_port()
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, SERVE],
        env=environment | {"MLFLOW_PORT": str(port)},
        cwd=folder,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, folder / "log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # workers too
        process.wait()
        log.close()


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.3)
