"""The Ray of a run on one machine: from where it is reached, and by whom."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cluster.connect import ray_cluster
from bench.errors import UsageError
from tests.infra.ports import free_port
from tests.security.knocking import VERDICTS

STARTED = """
import json, os, subprocess, sys, time
import psutil, ray
from bench.cluster.connect import ray_cluster
from tests.security.knocking import answers_without_token
from tests.security.test_private_files import got_by_another

STRANGER = "from ray._raylet import GcsClient; print(GcsClient(%r).check_alive([], timeout=20), 'alive')"

with ray_cluster():
    address = ray.get_runtime_context().gcs_address
    me, deadline, expected = psutil.Process(), time.monotonic() + 90, json.loads(os.environ["EXPECTED"])
    # Ray's dashboard and monitor open theirs when they get to it, and on a busy machine answer one knock of two.
    sockets = set()
    while set(expected) - {name for name, _ in sockets} and time.monotonic() < deadline:
        time.sleep(bool(sockets))
        sockets |= {tuple(one) for one in answers_without_token([me, *me.children(recursive=True)])}
    listening = sorted(
        (one.name(), socket.laddr.ip)
        for one in (me, *me.children(recursive=True))
        for socket in one.net_connections(kind="inet")
        if socket.status == psutil.CONN_LISTEN
    )
    folder = os.path.dirname(os.path.dirname(ray._private.worker._global_node.get_session_dir_path()))
    inside = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    entered = got_by_another(folder, *inside) if os.getuid() == 0 else []
    tried = {}
    for who, token in (("without", None), ("wrong", "0" * 64), ("own", os.environ["RAY_AUTH_TOKEN"])):
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["STRANGERS_HOME"]}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_MODE": "disabled"}
        words = [sys.executable, "-c", STRANGER % address]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, cwd="/")
        tried[who] = (done.returncode, done.stdout + done.stderr)
    environments = [f"/proc/{one.pid}/environ" for one in (me, *me.children(recursive=True))]
    read = subprocess.run(
        ["cat", *environments], capture_output=True, user=65534 if os.getuid() == 0 else None, cwd="/"
    ).stdout
    tried["environments"] = (len(environments), os.environ["RAY_AUTH_TOKEN"] in read.decode(errors="replace"))
print(json.dumps({"listening": listening, "tried": tried, "mode": os.environ.get("RAY_AUTH_MODE"),
                  "sockets": sorted(sockets), "files": len(inside), "entered": entered, "folder": folder}))
"""


def stated_sockets() -> set[tuple[str, str]]:
    """Process and verdict of each row of the guide's table of sockets."""
    readme = Path(__file__).parents[2] / "infra" / "README.md"
    rows = re.findall(r"^\| `(.+?)` \| .+? \| .+? \| (.+?) \|", readme.read_text("utf-8"), re.MULTILINE)
    return {(process, verdict) for process, verdict in rows if verdict in VERDICTS}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """What was seen of a Ray that a run of a user with a fresh home started."""
    home, strangers = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("stranger")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"HOME": str(home), "STRANGERS_HOME": str(strangers)}
    # By default the same for every Ray of a machine, of which the first alone then has this socket.
    environment["AUTOSCALER_METRIC_PORT"] = str(free_port())
    environment["EXPECTED"] = json.dumps(sorted({process for process, _ in stated_sockets()}))
    done = subprocess.run([sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"home": home}


@pytest.mark.whole
def test_everything_listens_on_loopback_alone(started):
    assert {name for name, _ in started["listening"]} >= {"gcs_server", "raylet"}
    assert {ip for _, ip in started["listening"]} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.whole
def test_the_table_of_sockets_says_what_answers_without_a_token(started):
    assert {tuple(one) for one in started["sockets"]} == stated_sockets()


@pytest.mark.whole
def test_nobody_else_enters_the_folder_of_sockets_and_logs(started):
    assert started["files"] > 20
    assert started["entered"] == []
    assert not Path(started["folder"]).exists(), "it went with Ray"


@pytest.mark.whole
@pytest.mark.parametrize("who", ["without", "wrong"])
def test_whoever_has_not_the_token_gets_nothing(started, who):
    code, said = started["tried"][who]
    assert code != 0
    assert "alive" not in said
    assert "token" in said


@pytest.mark.whole
@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_another_user_reads_the_token_from_no_process(started):
    number_of, was_found = started["tried"]["environments"]
    assert number_of > 3
    assert not was_found


@pytest.mark.whole
def test_the_token_is_what_opens_it(started):
    code, said = started["tried"]["own"]
    assert code == 0, said
    assert "alive" in said


@pytest.mark.whole
def test_no_token_is_written_where_others_may_read_it(started):
    assert not list(started["home"].rglob("auth_token"))
    assert started["mode"] is None, "what it was before"


def test_a_ray_for_everybody_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="--insecure"), ray_cluster():
        pass
