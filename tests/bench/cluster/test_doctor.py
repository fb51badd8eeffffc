"""What `bench doctor --cluster` finds: on facts of made-up clusters, and on a real one of two nodes."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.doctor import judge
from tests.faults.clusters import RayCluster

NAMES = ["token", "nodes", "python", "ray", "torch", "bench", "gpus", "checkpoints", "mlflow", "clock"]


def node(name: str, **changes: Any) -> dict[str, Any]:
    versions = {"ray": metadata.version("ray"), "bench": metadata.version("attention-robustness-bench")}
    plain = {"id": name, "node": name, "python": "3.11.7", **versions, "torch": "2.13.0", "num_gpus": 1, "gpus": ["L4"]}
    return plain | {"sees_checkpoints": True, "wrote": True, "reaches_store": False, "clock_s": 1005.0} | changes


def found(*nodes: dict[str, Any], is_closed: bool = True, **changes: Any) -> dict[str, dict[str, Any]]:
    facts = {"nodes": nodes, "head": "a", "clock_s": [1000.0, 1010.0], "checkpoints": "/shared"}
    facts |= {"checkpoints_error": "", "store": "https://mlflow", "store_error": ""}
    return judge(facts | changes, is_closed=is_closed, asked_s=(999.0, 1011.0))


def test_a_good_cluster_has_a_line_for_each_check() -> None:
    findings = found(node("a", num_gpus=0, gpus=[]), node("b"))
    assert list(findings) == NAMES
    assert all(finding["ok"] for finding in findings.values())
    assert all("\n" not in finding["text"] for finding in findings.values())
    assert findings["gpus"]["text"] == "b: 1 L4"
    assert findings["mlflow"]["text"] == "https://mlflow answers the head; 0 of 1 other nodes reach it, and none has to"


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("nodes", {"error": "gone"}, "1 of 2 answered; b: gone"),
        ("python", {"python": "3.12.1"}, "3.11.7 on a; 3.12.1 on b"),
        ("torch", {"torch": "missing"}, "2.13.0 on a; missing on b"),
        ("gpus", {"gpus": []}, "a: 1 L4; b: none, though Ray counts 1"),
        (
            "checkpoints",
            {"sees_checkpoints": False, "wrote": False},
            "/shared: not the head's folder on b: packs",
        ),
        ("checkpoints", {"wrote": False}, "/shared: can NOT be written by b"),
        ("clock", {"clock_s": 900.0}, "b: off by 100 s or more (30 s or less are required)"),
        ("clock", {"clock_s": 1050.0}, "b: off by 40 s or more"),
    ],
)
def test_what_is_wrong_with_a_node_is_said_with_its_name(name: str, changes: dict[str, Any], text: str) -> None:
    findings = found(node("a"), node("b", **changes))
    assert [one for one, finding in findings.items() if not finding["ok"]] == [name]
    assert findings[name]["text"].startswith(text)


def test_a_cluster_of_another_version_than_this_machine_is_bad() -> None:
    findings = found(node("a", bench="0.0.1"), node("b", bench="0.0.1"))
    assert not findings["bench"]["ok"]
    assert findings["bench"]["text"] == f"0.0.1 on every node; here {metadata.version('attention-robustness-bench')}"


def test_what_the_head_can_not_do_is_bad() -> None:
    findings = found(node("a"), is_closed=False, checkpoints_error="no folder", store_error="no server")
    assert [name for name, one in findings.items() if not one["ok"]] == ["token", "checkpoints", "mlflow"]
    assert (findings["checkpoints"]["text"], findings["mlflow"]["text"]) == ("no folder", "no server")


def test_a_head_whose_clock_is_off_from_this_machine_is_bad() -> None:
    assert not found(node("a", clock_s=2005.0), clock_s=[2000.0, 2010.0])["clock"]["ok"]


def examined(cluster: RayCluster, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.cli", "doctor", "--json", "--cluster", cluster.address, *words]
    environment = cluster.environment | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_real_cluster_is_examined_and_nothing_stays(cluster: RayCluster, tmp_path: Path) -> None:
    done = examined(cluster, "--checkpoints", str(tmp_path / "shared"), "--cluster-store", str(tmp_path / "store"))
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)
    assert list(findings) == NAMES
    assert findings["nodes"]["text"] == "2 of 2 answered"
    assert findings["checkpoints"]["text"] == f"{tmp_path}/shared: seen and written by every node"
    assert not list((tmp_path / "shared").iterdir())
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_what_is_missing_is_exit_code_3_and_a_wrong_token_4(cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ("--checkpoints", str(tmp_path / "file" / "shared"), "--tracking-uri", "http://127.0.0.1:1")
    done = examined(cluster, *words)
    assert done.returncode == 3, done.stdout + done.stderr
    bad = {name: one["text"] for name, one in json.loads(done.stdout).items() if not one["ok"]}
    assert list(bad) == ["checkpoints", "mlflow"]
    assert bad["mlflow"].startswith("http://127.0.0.1:1: can't be reached")
    done = examined(cluster, RAY_AUTH_TOKEN="0" * 48)
    assert (done.returncode, done.stdout) == (4, "")
    assert "refuses this token" in done.stderr
