"""What Prometheus reads of a driver on a real cluster."""

import json
import subprocess
import sys
import urllib.request

import pytest

from bench.cluster.metrics import GAUGES
from tests.faults.clusters import RayCluster, wait_for

DRIVER = """
import sys
from bench.cluster.connect import ray_cluster
from bench.cluster.metrics import DriverMetrics
from bench.cluster.schedule import Progress

with ray_cluster(sys.argv[1]):
    progress = Progress(total=10, completed=3, diverged=1, failed=2, running=4, retries=5)
    DriverMetrics().tell("mine", progress, num_waiting=7)
    sys.stdin.read()
"""


def scraped(cluster: RayCluster) -> dict[str, float]:
    """Values by name of what the nodes export of the suite `mine`."""
    found = {}
    for path in cluster.folder.glob("*/prom_metrics_service_discovery.json"):
        for target in (one for group in json.loads(path.read_text()) for one in group["targets"]):
            port = target.rpartition(":")[2]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            found |= {one.partition("{")[0]: float(one.split()[-1]) for one in lines if 'suite="mine"' in one}
    return found


@pytest.mark.slow
def test_gauges_are_among_the_metrics_of_the_node(cluster: RayCluster) -> None:
    command = [sys.executable, "-c", DRIVER, f"127.0.0.1:{cluster.port}"]
    with subprocess.Popen(command, env=cluster.environment, stdin=subprocess.PIPE) as driver:
        found = wait_for(lambda: len(one := scraped(cluster)) == len(GAUGES) and one, seconds=120, every=1)
        driver.communicate()
    assert found == {
        "ray_bench_trials_finished": 6,
        "ray_bench_trials_failed": 2,
        "ray_bench_trials_left": 4,
        "ray_bench_trials_running": 4,
        "ray_bench_attempts_failed": 5,
        "ray_bench_packs_waiting": 7,
    }
