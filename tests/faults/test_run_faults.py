"""A run goes on through a method that crashes, a worker that is killed and Ctrl-C; what happened is an outcome."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.tracking import Store, read_results

METHODS = '''
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from bench.methods.softmax import Softmax


@dataclass(frozen=True, kw_only=True)
class Crashes(Softmax):
    """Fails whenever it is used."""

    def weights(self, q, k, mask, params):
        raise RuntimeError("this method always fails")


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


def test_crash_and_killed_worker_are_outcomes_and_the_rest_goes_on(tmp_path):
    (tmp_path / "faulty.py").write_text(METHODS)
    (tmp_path / "faults.yaml").write_text(SUITE.format(marker=json.dumps(str(tmp_path / "died"))))
    process = start(tmp_path, "faults.yaml", "--allow-code", "--store", "store")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 3, errors
    assert "8 completed, 0 diverged, 4 failed" in errors
    assert (
        "4 trials: faulty:Crashes crashed: RuntimeError: this method always fails (faulty.py:15 in weights)" in errors
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
    for _ in range(num_interrupts):
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    num_kept = read_results(Store(tmp_path / "store", warn=pytest.fail), "long").height
    assert 2 <= num_kept < 42
