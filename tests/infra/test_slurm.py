"""infra/ray/slurm.sh with real Ray nodes; Slurm's own programs are replaced by ones that run everything here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.infra.ports import free_port

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "infra" / "ray" / "slurm.sh"
PROGRAMS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done\necho "$@" >>"$SRUN_LOG"\nexec "$@"\n',
    "scontrol": "printf 'first\\nsecond\\n'\n",
}
SUITE = """\
name: slurm
workloads: [{name: in_context_regression, num_steps: %d}]
methods: [softmax]
optimizers: [sgd]
knobs:
  lr: [0.01, 0.1]
seeds: 1
probe_every: 10
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}")
        (tmp_path / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "BENCH_"))}
    return kept | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SRUN_LOG": str(tmp_path / "steps"),
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_JOB_NODELIST": "[first-second]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "BENCH_VENV": str(Path(sys.executable).parents[1]),
        "BENCH_STORE": str(tmp_path / "store"),
        "BENCH_PORT": str(free_port() % 10000 + 20000),
    }


def test_suite_is_trained_on_all_nodes_and_nothing_stays(environment: dict[str, str], tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE % 20)
    process = _start(suite, environment, tmp_path)
    assert process.wait(timeout=240) == 0, (tmp_path / "log").read_text()
    assert "sgd" in (tmp_path / "log").read_text()  # the leaderboard
    steps = (tmp_path / "steps").read_text().splitlines()
    assert [("--head" in step, "--block" in step) for step in steps] == [(True, True), (False, True)]
    _assert_nothing_left(environment)


def test_end_of_the_time_stops_the_driver_and_ray(environment: dict[str, str], tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE % 10_000_000)
    process = _start(suite, environment, tmp_path)
    token = _token_file(tmp_path / "store", process)
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64
    end = time.monotonic() + 120
    while "running" not in (tmp_path / "log").read_text():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < end, (tmp_path / "log").read_text()
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) != 0
    _assert_nothing_left(environment)


def _start(suite: Path, environment: dict[str, str], folder: Path) -> subprocess.Popen:
    with (folder / "log").open("w") as log:
        return subprocess.Popen(["bash", SCRIPT, suite], env=environment, cwd=SCRIPT.parents[2], stdout=log, stderr=log)


def _token_file(store: Path, process: subprocess.Popen) -> Path:
    end = time.monotonic() + 30
    while not (found := list(store.glob("ray-token.*"))) or not found[0].read_text():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    return found[0]


def _assert_nothing_left(environment: dict[str, str]) -> None:
    assert not list(Path(environment["BENCH_STORE"]).glob("ray-token.*"))
    end = time.monotonic() + 30
    while left := _processes(environment):
        assert time.monotonic() < end, left
        time.sleep(0.5)


def _processes(environment: dict[str, str]) -> list[list[str]]:
    """Command lines of this cluster's processes."""
    port = f":{environment['BENCH_PORT']}"
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if any(word.endswith(port) for word in line)]
