"""A real Ray cluster that is scaled to zero, with token authentication and the autoscaler that KubeRay uses."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.infra.ports import free_port

pytestmark = pytest.mark.slow

HEAD_ID = "f" * 51 + "00000"  # Ray's node provider for tests expects it
RESOURCES = "print(json.dumps(ray.cluster_resources()))"
CONNECT = f"import json, ray; ray.init('auto', logging_level=40); {RESOURCES}"
WAIT = f"""
import json, os, sys
from bench.cluster.connect import ray, ray_cluster, wanted_gpus

with ray_cluster(os.environ["RAY_ADDRESS"]), wanted_gpus(1, sys.stderr.write):
    {RESOURCES}
"""
COMMANDS = ("cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands")
COMMANDS += ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
LEAVE_SECONDS = 60  # idle workers go after 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that reaches a head without CPUs whose autoscaler may start workers of 2 CPUs and 1 GPU."""
    folder = tmp_path_factory.mktemp("r")
    port = free_port()
    config = folder / "autoscaling.json"
    config.write_text(json.dumps(_autoscaling(f"{_node_ip()}:{port}")))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    log = (folder / "head.log").open("w+")
    head = subprocess.Popen(
        [
            *(Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=0"),
            *(f"--port={port}", f"--ray-client-server-port={free_port()}", "--include-dashboard=false"),
            *(f"--temp-dir={folder}", f"--autoscaling-config={config}", "--object-store-memory=80000000"),
        ],
        env={
            **environment,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_for("Ray runtime started", folder / "head.log", head)
        yield {**environment, "RAY_ADDRESS": f"{_node_ip()}:{port}"}
    finally:
        head.terminate()
        head.wait(timeout=60)
        _kill_users_of(str(folder))
        log.close()


def test_a_worker_comes_from_zero(cluster: dict[str, str]) -> None:
    assert "GPU" not in _resources(cluster)
    seen = _run(cluster, WAIT)
    assert (seen["GPU"], seen["CPU"]) == (1, 2)


def test_the_worker_leaves_after_the_run(cluster: dict[str, str]) -> None:
    _run(cluster, WAIT)
    end = time.monotonic() + LEAVE_SECONDS
    while "GPU" in _resources(cluster):
        assert time.monotonic() < end, "the worker stayed, to be paid for"
        time.sleep(2)


def _autoscaling(gcs_address: str) -> dict:
    return {
        "cluster_name": "from-zero",
        "max_workers": 1,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
            "gcs_address": gcs_address,
        },
        "auth": {},
        "docker": {},
        "available_node_types": {
            "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
            "gpu": {
                "resources": {"CPU": 2, "GPU": 1, "object_store_memory": 80000000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 1,
            },
        },
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        **{name: [] for name in COMMANDS},
    }


def _resources(environment: dict[str, str]) -> dict[str, float]:
    return _run(environment, CONNECT)


def _run(environment: dict[str, str], program: str) -> dict[str, float]:
    """What a driver of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))  # not the autoscaler's


def _node_ip() -> str:
    """Ray's own idea of this machine's address: it doesn't start a cluster on the loopback address."""
    from ray.util import get_node_ip_address

    return get_node_ip_address()


def _wait_for(text: str, log: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


def _kill_users_of(folder: str) -> None:
    """`ray stop` would stop every Ray of this machine; these are the processes of this cluster alone."""
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in part for part in process.info["cmdline"] or ()):
            process.kill()
