"""What travels with a job, what never does, and whom a suite is not sent to."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.addresses import is_loopback
from bench.cluster import staging
from bench.cluster.jobs import Job, dashboard_url, recall, submit
from bench.cluster.staging import shipped, stage
from bench.errors import StoreError, UsageError
from bench.suite import load_suite

SUITE = """
name: sent
workloads: [{name: in_context_regression, num_steps: 2, final_loss_steps: 1}]
methods: [softmax, "mine:Softer"]
optimizers: [sgd]
knobs: {lr: [0.1]}
seeds: 1
probe_every: 1
"""
METHOD = """
from dataclasses import dataclass
from bench.methods.softmax import Softmax

@dataclass(frozen=True, kw_only=True)
class Softer(Softmax):
    pass
"""


@pytest.fixture
def suite_file(tmp_path, monkeypatch) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "sent.yaml").write_text(SUITE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "sent.yaml"
    for name in ("mine", "mine_rows"):
        sys.modules.pop(name, None)


def send(suite_file: Path, **changes):
    suite = load_suite(suite_file, allow_code=True)
    settings = {
        "address": "127.0.0.1:1",
        "home": suite_file.parent / "home",
        "store": "~/.bench",
        "tracking_uri": None,
        "options": (),
        "allow_code": True,
        "is_insecure": False,
    }
    return submit(suite, suite_file, **(settings | changes))


def test_the_program_the_suite_and_the_users_code_travel_and_nothing_else(suite_file, tmp_path):
    (tmp_path / "secret.txt").write_text("x")
    folder = tmp_path / "staged"
    folder.mkdir()
    stage(load_suite(suite_file, allow_code=True), suite_file, folder, allow_code=True)
    assert sorted(path.name for path in folder.iterdir()) == ["analysis", "bench", "mine.py", "sent.yaml", "suites"]
    assert (folder / "bench" / "methods" / "softmax.py").exists()
    assert not list(folder.rglob("__pycache__")) + list(folder.rglob("results"))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4e6


def test_a_file_of_thresholds_travels_along_and_replaces_nothing(suite_file, tmp_path):
    suite, board = load_suite(suite_file, allow_code=True), tmp_path / "board.csv"
    board.write_text("detector")
    sent = shipped(suite, suite_file, allow_code=True, beside=[board])
    assert sent.keys() - shipped(suite, suite_file, allow_code=True).keys() == {"board.csv"}
    with pytest.raises(UsageError, match="can't be named like another one"):
        shipped(suite, suite_file, allow_code=True, beside=[suite_file])


def test_what_the_users_code_imports_and_data_beside_the_suite_travel(suite_file, tmp_path, monkeypatch):
    """So that the staged suite stands for the same trials."""
    (tmp_path / "mine.py").write_text(f"from mine_rows import softer\n{METHOD}")
    (tmp_path / "mine_rows.py").write_text("softer = 2\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "small").write_text("some text of my own " * 200)
    (tmp_path / "large").write_text("some text of my own " * 200)
    data = "name: language_modeling, num_steps: 2, final_loss_steps: 1, context: 8"
    workloads = f"[{{{data}, corpus: texts/small}}, {{{data}, corpus: large}}]"
    workload = "[{name: in_context_regression, num_steps: 2, final_loss_steps: 1}]"
    suite_file.write_text(SUITE.replace(workload, workloads))
    monkeypatch.setattr(staging, "MAX_DATA_BYTES", (tmp_path / "large").stat().st_size)
    (tmp_path / "large").write_text("some text of my own " * 201)
    folder = tmp_path / "staged"
    folder.mkdir()
    suite = load_suite(suite_file, allow_code=True)
    stage(suite, suite_file, folder, allow_code=True)
    names = {path.name for path in folder.iterdir()}
    assert names == {"analysis", "bench", "mine.py", "mine_rows.py", "sent.yaml", "suites", "texts"}
    (folder / "large").write_text((tmp_path / "large").read_text())
    # By the program that was sent along, as a job runs it: in the folder, from where it is imported.
    script = (
        "from bench.suite import load_suite\n"
        "print(*(trial.id for trial in load_suite('sent.yaml', allow_code=True).expand()))"
    )
    there = subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, text=True, stdout=subprocess.PIPE)
    assert there.stdout.split() == [trial.id for trial in suite.expand()]


def test_code_stays_here_unless_it_is_allowed(suite_file, tmp_path):
    folder = tmp_path / "staged"
    folder.mkdir()
    stage(load_suite(suite_file, allow_code=True), suite_file, folder, allow_code=False)
    assert not (folder / "mine.py").exists()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("head:8265", "http://head:8265"),
        ("https://ray.example.org/cluster/", "https://ray.example.org/cluster"),
        ("[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_addresses_of_dashboards(address, url):
    assert dashboard_url(address) == url


@pytest.mark.parametrize(
    "address", ["", "ray://head:10001", "http://", "a b", "http://user:secret@head:8265", "file:///x"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="dashboard of a Ray cluster"):
        dashboard_url(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("auto", True),
        ("local", True),
        ("127.0.0.1:6379", True),
        ("http://localhost:8265", True),
        ("http://[::1]:8265", True),
        ("10.0.0.5:6379", False),
        ("http://head:8265/x", False),
        ("ray://0.0.0.0:10001", False),
        ("localhost.example.org:1", False),
    ],
)
def test_what_is_of_this_machine_alone(address, expected):
    assert is_loopback(address) is expected


def test_a_cluster_behind_a_tunnel_is_asked_for_its_token_too(suite_file):
    """Loopback is where a tunnel ends: the cluster answers whether it wants a token, not the address."""
    with dashboard(200) as address, pytest.raises(UsageError, match="asks for no token"):
        send(suite_file, address=address)


def test_nothing_private_of_a_users_package_travels(tmp_path, suite_file, monkeypatch):
    package = tmp_path / "mine_package"
    package.mkdir()
    (package / "__init__.py").write_text(METHOD)
    (package / ".env").write_text("TOKEN=hunter2")
    (package / ".git").mkdir()
    (package / ".git" / "config").write_text("hunter2")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "key").write_text("hunter2")
    (package / "linked").symlink_to(tmp_path / "elsewhere")
    (package / "key").symlink_to(tmp_path / "elsewhere" / "key")
    suite_file.write_text(suite_file.read_text().replace("mine:", "mine_package:"))
    monkeypatch.syspath_prepend(tmp_path)
    sent = shipped(load_suite(suite_file, allow_code=True), suite_file, allow_code=True)
    assert [path for path in sent if path.startswith("mine_package/")] == ["mine_package/__init__.py"]
    assert sent["sent.yaml"] == suite_file.stat().st_size
    sys.modules.pop("mine_package", None)


@contextmanager
def dashboard(status: int) -> Iterator[str]:
    """The address of a server that answers every request so, as Ray's dashboard does without or with a token."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_dead_head_is_one_line(suite_file):
    with pytest.raises(StoreError, match=r"^Ray cluster http://127.0.0.1:1: can't be reached .*refused\)$"):
        send(suite_file)


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@mlflow.example.org",
        "postgresql+psycopg://user:p@ss/hunter2@host/db",
        "postgresql+psycopg://host/db?user=u&password=hunter2",
    ],
)
def test_passwords_do_not_travel(suite_file, uri):
    with pytest.raises(UsageError, match="cluster's environment") as error:
        send(suite_file, tracking_uri=uri)
    assert "hunter2" not in str(error.value)


def test_jobs_are_remembered(tmp_path):
    job = Job(job="j", address="a", suite="s", store="~", tracking_uri=None, bench="0", submitted="now")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "j.json").write_text(json.dumps(vars(job)))
    assert recall("j", tmp_path) == job
    for unknown in ("k", "../jobs/j"):
        with pytest.raises(UsageError, match=r"the last ones: j$"):
            recall(unknown, tmp_path)
