"""Many drivers at once on one fresh store, of several suites or of one: all that may succeed do, the rest say why."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import Store, read_results

NUM_PROCESSES = 8

# MLflow is imported once and the drivers are forked from there, so that they meet at the store.
RACE = """
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from mlflow.tracking import MlflowClient
from bench.errors import BenchError
from bench.store import Store, Tracker
from bench.outcome import Outcome, Result
from bench.trial import Choice, Knobs, Trial

home, uri, suites, hold_s = Path(sys.argv[1]), sys.argv[2] or None, json.loads(sys.argv[3]), float(sys.argv[4])

def result(seed):
    one = Choice(name="x", params={"num_steps": 1})
    trial = Trial(workload=one, method=one, optimizer=one, schedule=one, knobs=Knobs(lr=1), seed=seed, probe_every=1)
    return Result(trial=trial, outcome=Outcome.COMPLETED, initial_loss=1.0, final_loss=0.5, wall_s=1.0)

def drive(barrier, number):
    output = os.open(home / f"output {number}", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    barrier.wait()
    try:
        store = Store(home, uri, warn=lambda line: print(line, flush=True))
        store.create()
        tracker = Tracker(store, suites[number])
        tracker.start("{}")
        tracker.put([result(number)], {})
        assert tracker.deliver() == 0
        time.sleep(hold_s)
        tracker.finish("FINISHED")
        assert tracker.close() == 0
    except BenchError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)

home.mkdir(mode=0o700)
fork = multiprocessing.get_context("fork")
barrier = fork.Barrier(len(suites))
drivers = [fork.Process(target=drive, args=(barrier, number)) for number in range(len(suites))]
for driver in drivers:
    driver.start()
for driver in drivers:
    driver.join()
print(json.dumps([[driver.exitcode, (home / f"output {number}").read_text()] for number, driver in enumerate(drivers)]))
"""


def race(home: Path, uri: str, suites: list[str], hold_s: float) -> list[tuple[int, str]]:
    """Exit code and output of a driver for each suite, all at once. uri: "" for the embedded store."""
    hidden = ("MLFLOW_TRACKING_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RACE, str(home), uri, json.dumps(suites)]
    done = subprocess.run(
        [*command, str(hold_s)],
        env=environment,
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(code, output) for code, output in json.loads(done.stdout)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.stores)])
def make_uri(request):
    """Gives the tracking URI of a fresh store, "" for the embedded one."""
    return request.getfixturevalue("postgres").fresh if request.param == "postgres" else lambda: ""


def assert_drivers_of_different_suites_succeed(home: Path, uri: str) -> None:
    suites = [f"suite {number}" for number in range(NUM_PROCESSES)]
    assert race(home, uri, suites, 0.0) == [(0, "")] * NUM_PROCESSES
    store = Store(home, uri or None, warn=pytest.fail)
    for number, suite in enumerate(suites):
        assert read_results(store, suite, undelivered=False)["seed"].to_list() == [number]
        experiment = store.experiment(suite)
        assert experiment is not None
        assert [run.status for run in store.runs(experiment)] == ["FINISHED"] * 3


@pytest.mark.stores
@pytest.mark.parametrize("num_times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_drivers_that_open_a_fresh_store_at_once_all_succeed(tmp_path, make_uri, num_times):
    for start in range(num_times):
        assert_drivers_of_different_suites_succeed(tmp_path / f"home {start}", make_uri())


@pytest.mark.stores
@pytest.mark.parametrize("num_times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_of_drivers_of_one_suite_one_runs_and_the_others_say_who(tmp_path, make_uri, num_times):
    for start in range(num_times):
        home, uri = tmp_path / f"home {start}", make_uri()
        ended = race(home, uri, ["the suite"] * NUM_PROCESSES, 3.0)
        assert sorted(code for code, _ in ended) == [0] + [2] * (NUM_PROCESSES - 1), ended
        for code, output in ended:
            assert (code == 0) == (output == "")
            assert not code or output.startswith("suite 'the suite' is already being run by process ")
            assert output.count("\n") <= 1
        store = Store(home, uri or None, warn=pytest.fail)
        assert read_results(store, "the suite", undelivered=False).height == 1
