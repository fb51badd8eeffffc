import contextlib
import logging
import secrets
import shutil
from pathlib import Path

import pytest

from bench.store import Store, Tracker
from tests.bench.store.servers import AWS_SECRET, PASSWORD, USER, Server

STORES = (
    "sqlite",
    pytest.param("postgres and s3", marks=pytest.mark.stores),
    pytest.param("postgres", marks=pytest.mark.stores),
    pytest.param("server", marks=pytest.mark.stores),
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        monkeypatch.delenv(name, raising=False)


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
    folder.mkdir(mode=0o700)
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


@pytest.fixture(params=STORES)
def any_store(request, warnings_seen, monkeypatch) -> Store:
    """A store of each kind, made and empty; only the server's holds what other tests left."""
    return request.getfixturevalue(request.param.replace(" ", "_") + "_store")


@pytest.fixture
def sqlite_store(store) -> Store:
    return store


@pytest.fixture
def postgres_store(postgres, postgres_template, tmp_path, warnings_seen) -> Store:
    return Store(tmp_path / "home", postgres.fresh(postgres_template), warn=warnings_seen.append)


@pytest.fixture
def postgres_and_s3_store(postgres_store, bucket, monkeypatch) -> Store:
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", f"s3://{bucket}/results")
    return postgres_store


@pytest.fixture
def server_store(server, tmp_path, warnings_seen, monkeypatch) -> Store:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    return Store(tmp_path / "home", server.uri, warn=warnings_seen.append)


@pytest.fixture(scope="session")
def postgres_template(postgres, tmp_path_factory) -> str:
    """Name of a database with MLflow's tables; copying it takes a tenth of a second."""
    uri = postgres.fresh()
    Store(tmp_path_factory.mktemp("template"), uri, warn=pytest.fail).create()
    return uri.rpartition("/")[2]


@pytest.fixture(scope="session")
def s3_endpoint():
    """A real server of S3's protocol on loopback."""
    moto = pytest.importorskip("moto.server", reason="needs moto and boto3 (the extra `dev`)")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint, monkeypatch) -> str:
    boto3 = pytest.importorskip("boto3", reason="needs boto3 (the extra `s3`)")
    settings = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": AWS_SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**settings, "MLFLOW_S3_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{secrets.token_hex(4)}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def server_process(tmp_path_factory, fresh_database):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(fresh_database, folder / "mlflow.db")
    server = Server(folder, f"sqlite:///{folder / 'mlflow.db'}")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(server_process) -> Server:
    server_process.start()
    return server_process
