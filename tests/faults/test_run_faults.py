"""A run goes on through a method that crashes, a worker that is killed and Ctrl-C; what happened is an outcome."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from bench.store import Store, read_results

METHODS = '''
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.methods.softmax import Softmax


@dataclass(frozen=True, kw_only=True)
class Crashes(Softmax):
    """Fails whenever it is used."""

    def weights(self, q, k, mask, params):
        raise RuntimeError("this method always fails")


@dataclass(frozen=True, kw_only=True)
class CrashesWhereLanesDiverge(Softmax):
    """Raises as soon as one lane of the pack is not finite, as many decompositions do."""

    def weights(self, q, k, mask, params):
        p = super().weights(q, k, mask, params)
        return p + 0 * torch.linalg.eigvalsh(q.mT @ q).sum()


@dataclass(frozen=True, kw_only=True)
class Dies(Softmax):
    """Kills every worker that uses it."""

    def weights(self, q, k, mask, params):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Hangs(Softmax):
    """Never gets on."""

    def weights(self, q, k, mask, params):
        time.sleep(1000)


@dataclass(frozen=True, kw_only=True)
class DiesOnce(Softmax):
    """Kills the worker that uses it first."""

    marker: str = ""

    def weights(self, q, k, mask, params):
        if not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().weights(q, k, mask, params)
'''

SUITE = """
name: faults
workloads: [{{name: in_context_regression, num_steps: 20, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}}]
methods: [softmax, "faulty:Crashes", {{name: "faulty:DiesOnce", marker: {marker}}}]
optimizers: [sgd]
knobs: {{lr: [1e-3, 0.1]}}
seeds: 2
probe_every: 5
"""

LONG = """
name: long
workloads: [{name: in_context_regression, num_steps: 2000, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax]
optimizers: [sgd]
knobs: {lr: {log: [1e-4, 1], per_decade: [1, 2, 3, 4, 5]}}
seeds: 2
probe_every: 100
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.cli", "run", *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_crash_and_killed_worker_are_outcomes_and_the_rest_goes_on(tmp_path):
    (tmp_path / "faulty.py").write_text(METHODS)
    (tmp_path / "faults.yaml").write_text(SUITE.format(marker=json.dumps(str(tmp_path / "died"))))
    process = start(tmp_path, "faults.yaml", "--allow-code", "--store", "store")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 3, errors
    assert "8 completed, 0 diverged, 4 failed" in errors
    assert (
        "4 trials: faulty:Crashes crashed: RuntimeError: this method always fails (faulty.py:18 in weights)" in errors
    )
    assert (tmp_path / "died").exists()
    found = read_results(Store(tmp_path / "store", warn=pytest.fail), "faults")
    outcomes = {method: set(rows["outcome"]) for (method,), rows in found.group_by("method")}
    assert {method.partition("(")[0]: kinds for method, kinds in outcomes.items()} == {
        "softmax": {"completed"},
        "faulty:Crashes": {"crashed"},
        "faulty:DiesOnce": {"completed"},
    }
    losses = found.filter(found["outcome"] == "completed").sort("lr", "seed", "method")["final_loss"].to_list()
    assert losses[0::2] == losses[1::2]  # the retried method is softmax, and gives what softmax gives


def outcomes_of(folder: Path, suite: str) -> dict[str, list[str]]:
    """Of each method, in the order of its learning rates and seeds."""
    found = read_results(Store(folder / "store", warn=pytest.fail), suite).sort("lr", "seed")
    return {method.partition("(")[0]: rows["outcome"].to_list() for (method,), rows in found.group_by("method")}


def run_methods(folder: Path, methods: str, lrs: str, *words: str) -> str:
    """A run that ends with trials lost; what it said."""
    (folder / "faulty.py").write_text(METHODS)
    text = SUITE.format(marker="x").replace(
        '[softmax, "faulty:Crashes", {name: "faulty:DiesOnce", marker: x}]', methods
    )
    (folder / "faults.yaml").write_text(text.replace("[1e-3, 0.1]", lrs))
    process = start(folder, "faults.yaml", "--allow-code", "--store", "store", *words)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    return errors


@pytest.mark.slow
def test_a_lane_that_makes_its_pack_raise_is_alone_lost(tmp_path):
    run_methods(tmp_path, '["faulty:CrashesWhereLanesDiverge"]', "[1e-3, 0.1, 1e30]")
    assert outcomes_of(tmp_path, "faults") == {
        "faulty:CrashesWhereLanesDiverge": ["completed"] * 4 + ["crashed"] * 2,
    }


@pytest.mark.slow
def test_lanes_that_kill_their_worker_are_lost_and_the_rest_goes_on(tmp_path):
    errors = run_methods(tmp_path, '[softmax, "faulty:Dies"]', "[1e-3]")
    assert outcomes_of(tmp_path, "faults") == {"softmax": ["completed"] * 2, "faulty:Dies": ["crashed"] * 2}
    assert "2 trials: faulty:Dies crashed: its process died (SYSTEM_ERROR)" in errors


@pytest.mark.slow
def test_a_worker_without_a_sign_of_life_is_ended(tmp_path):
    # 18 s: with 6 a healthy worker that only starts slowly, on a busy machine, was ended, too.
    errors = run_methods(tmp_path, '[softmax, "faulty:Hangs"]', "[1e-3]", "--timeout", "0.3")
    assert outcomes_of(tmp_path, "faults") == {"softmax": ["completed"] * 2, "faulty:Hangs": ["timed_out"] * 2}
    assert "faulty:Hangs timed_out: no sign of life for too long" in errors


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_last_checkpoint(tmp_path):
    """So does a killed driver: the folder of checkpoints outlives it. The losses are those of an undisturbed run."""
    text = LONG.replace("num_steps: 2000", "num_steps: 10000").replace("seeds: 2", "seeds: 1")
    text = text.replace("{log: [1e-4, 1], per_decade: [1, 2, 3, 4, 5]}", "0.01")  # one pack
    (tmp_path / "long.yaml").write_text(text)
    words = ("long.yaml", "--checkpoint-seconds", "1", "--max-lanes", "4")
    undisturbed = start(tmp_path, *words, "--store", "plain")
    _, errors = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, errors
    driver = start(tmp_path, *words, "--store", "store")
    for victim in ("worker", "driver"):
        wait_for(lambda: list((tmp_path / "store" / "checkpoints").glob("*/*-cpu.pt")))
        (checkpoint,) = (tmp_path / "store" / "checkpoints").glob("*/*-cpu.pt")
        before = torch.load(checkpoint, weights_only=True)["state"]["step"]
        if victim == "worker":
            workers = [one for one in psutil.Process(driver.pid).children(recursive=True) if "Trainable" in one.name()]
            worker = max(workers, key=lambda one: one.cpu_times().user)  # beside it, one that Ray keeps ready
            worker.kill()
            wait_for(lambda seen=before, path=checkpoint: torch.load(path, weights_only=True)["state"]["step"] > seen)
        else:
            kill_tree(driver.pid)
            driver.communicate(timeout=60)
    driver = start(tmp_path, *words, "--store", "store")
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    plain, found = (read_results(Store(tmp_path / home, warn=pytest.fail), "long") for home in ("plain", "store"))
    columns = ["trial_id", "final_loss", "initial_loss"]
    assert plain.select(columns).sort("trial_id").equals(found.select(columns).sort("trial_id"))
    assert not list((tmp_path / "store" / "checkpoints").glob("*/*"))
    assert found["wall_s"].sum() < 4 * plain["wall_s"].sum()


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_tree(pid: int) -> None:
    """SIGKILL of a process and all that it started, as when its machine loses power."""
    for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.slow
def test_suite_of_which_everything_crashes_says_so(tmp_path):
    (tmp_path / "faulty.py").write_text(METHODS)
    text = SUITE.format(marker="x").replace("softmax, ", "").replace(', {name: "faulty:DiesOnce", marker: x}', "")
    (tmp_path / "faults.yaml").write_text(text)
    process = start(tmp_path, "faults.yaml", "--allow-code", "--store", "store")
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 3, errors
    assert "0 completed, 0 diverged, 4 failed" in errors
    assert "Traceback" not in errors
    assert output == ""


@pytest.mark.slow
@pytest.mark.parametrize("num_interrupts", [1, 2])
def test_interrupt_keeps_what_is_finished(tmp_path, num_interrupts):
    (tmp_path / "long.yaml").write_text(LONG)
    process = start(tmp_path, "long.yaml", "--store", "store", "--max-lanes", "2")
    assert process.stderr is not None
    lines = []
    while not any("done" in line and not line.startswith("0/") for line in lines):  # until a pack is finished
        lines.append(process.stderr.readline())
        assert process.poll() is None, lines
    process.send_signal(signal.SIGINT)
    if num_interrupts == 2:  # while packs in training finish
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    num_kept = read_results(Store(tmp_path / "store", warn=pytest.fail), "long").height
    assert 2 <= num_kept < 42
