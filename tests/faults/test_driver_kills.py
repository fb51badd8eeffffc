"""SIGKILL of the driver at random moments, then the same command again: nothing lost, nothing counted twice."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from bench.store import Store, read_results, read_traces
from bench.suite import load_suite

SUITE = """
name: killed
workloads: [{name: in_context_regression, num_steps: 400, final_loss_steps: 20, batch_size: 4, depth: 2, num_pairs: 8}]
methods: [softmax, relu_kernel, qk_layernorm_free]
optimizers: [sgd]
knobs: {lr: [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1]}
seeds: 6
probe_every: 20
"""

SEARCH = """
name: killed
workloads: [{name: in_context_regression, num_steps: 200, final_loss_steps: 20, batch_size: 4, depth: 2, num_pairs: 8}]
methods: [softmax, relu_kernel]
optimizers: [sgd]
knobs: {lr: [1e-3, 10]}
search: {name: edge, budget: 14}
seeds: 3
probe_every: 20
"""

SEARCH_OF_BOX = """
name: killed
workloads: [{name: in_context_regression, num_steps: 200, final_loss_steps: 20, batch_size: 4, depth: 2, num_pairs: 8}]
methods: [softmax]
optimizers: [sgd]
box: {lr: {log: [1e-3, 10]}, warmup_steps: {int: [0, 100]}, grad_clip: {log: [0.1, 10], off: 0.25}}
search: {name: tune_box, budget: 24, startup: 8, batch: 4}
seeds: 2
probe_every: 20
"""

SEARCH_OF_TWO_OBJECTIVES = SEARCH_OF_BOX.replace("startup: 8, batch: 4", "sampler: nsga2, startup: 4, batch: 2")

SEARCH_THAT_PRUNES = SEARCH_OF_BOX + "stop: {worse_than: halving, startup: 8, first_step: 20}\n"


def start(folder: Path, store: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.cli", "run", "killed.yaml", "--store", store, "--max-lanes", "4"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(folder: Path, store: str) -> None:
    """The limit is for a run that hangs: workers of every round start anew, in minutes where the machine is busy."""
    process = start(folder, store)
    _, errors = process.communicate(timeout=1800)
    assert process.returncode == 0, errors.decode()


def board(folder: Path, store: str) -> str:
    command = [sys.executable, "-m", "bench.cli", "leaderboard", "killed.yaml", "--store", store, "--format", "csv"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout


def results(folder: Path, store: str) -> pl.DataFrame:
    opened = Store(folder / store, warn=lambda line: pytest.fail(line))
    return read_results(opened, "killed").drop("wall_s").sort("trial_id")


def traces(folder: Path, store: str, trial_ids: list[str]) -> pl.DataFrame:
    opened = Store(folder / store, warn=lambda line: pytest.fail(line))
    return read_traces(opened, "killed", trial_ids).sort("trial_id", "quantity", "layer", "step")


def num_trial_runs(folder: Path, store: str) -> int:
    opened = Store(folder / store, warn=lambda line: pytest.fail(line))
    experiment = opened.experiment("killed")
    assert experiment is not None
    return len(opened.runs(experiment, "trial"))


def kill_and_finish(folder: Path, num_kills: int, seconds: tuple[float, float], after: str = "") -> None:
    """The suite in another store, its driver killed at random moments, then left alone; a fast one may end before.

    Moments are counted from when the driver says `after`, so that a slow start leaves them where they were.
    """
    moments = random.Random(0)
    num_killed = 0
    for _ in range(num_kills):
        process = start(folder, "disturbed")
        assert process.stderr is not None
        for line in process.stderr if after else ():
            if after in line.decode():
                break
        time.sleep(moments.uniform(*seconds))
        was_running = process.poll() is None
        process.kill()
        process.communicate(timeout=60)
        if not was_running:
            break
        num_killed += 1
        time.sleep(2.0)  # Ray's own processes notice that their driver is gone
    assert num_killed > 0, "every driver had ended by itself: the test proves nothing"
    finish(folder, "disturbed")


@pytest.mark.slow
@pytest.mark.parametrize("num_kills", [10])
def test_driver_killed_at_random_moments_loses_and_repeats_nothing(tmp_path, num_kills):
    (tmp_path / "killed.yaml").write_text(SUITE)
    num_trials = load_suite(tmp_path / "killed.yaml").num_trials
    finish(tmp_path, "undisturbed")
    kill_and_finish(tmp_path, num_kills, seconds=(2.0, 25.0))
    expected, found = results(tmp_path, "undisturbed"), results(tmp_path, "disturbed")
    assert found.height == num_trials
    assert found.equals(expected)
    assert num_trial_runs(tmp_path, "disturbed") == num_trials
    ids = expected["trial_id"].to_list()
    assert traces(tmp_path, "disturbed", ids).equals(traces(tmp_path, "undisturbed", ids))
    assert board(tmp_path, "disturbed") == board(tmp_path, "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "suite",
    [SEARCH, SEARCH_OF_BOX, SEARCH_OF_TWO_OBJECTIVES, SEARCH_THAT_PRUNES],
    ids=["edge", "tune_box", "nsga2", "pruned"],
)
def test_a_search_killed_at_random_moments_asks_and_answers_as_if_undisturbed(tmp_path, suite):
    (tmp_path / "killed.yaml").write_text(suite)
    finish(tmp_path, "undisturbed")
    kill_and_finish(tmp_path, 3, seconds=(2.0, 15.0), after=" to run, in ")
    expected, found = results(tmp_path, "undisturbed"), results(tmp_path, "disturbed")
    assert found.equals(expected)
    assert num_trial_runs(tmp_path, "disturbed") == expected.height
    assert board(tmp_path, "disturbed") == board(tmp_path, "undisturbed")
