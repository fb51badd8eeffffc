"""`bench run --abort-on-warning`: what is trained, aborted, said and shown; and what is refused in one line."""

import csv
import io
import json
from pathlib import Path

import pytest

from bench.cli.aborting import abort_words
from bench.driver.queues import GridQueue
from bench.errors import UsageError
from bench.store import Store, Tracker, read_results
from bench.suite import load_suite
from bench.training.pack import make_packs
from bench.training.train import train_pack
from tests.command_line import bench_here

SUITE = """
name: fails
workloads: [{name: in_context_regression, num_steps: 40, final_loss_steps: 20, batch_size: 32, depth: 1, num_pairs: 5}]
methods: [softmax, relu_kernel]
optimizers: [sgd]
knobs: {lr: [0.01, 0.03, 1000.0]}
seeds: 2
probe_every: 1
blown_up_margin: 1.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """SUITE trained into a store, whose largest learning rate is too large, and more.yaml, with further seeds."""
    folder = tmp_path_factory.mktemp("aborting")
    (folder / "fails.yaml").write_text(SUITE)
    (folder / "more.yaml").write_text(SUITE.replace("fails", "more").replace("seeds: 2", "seeds: [2, 3]"))
    (folder / "other.yaml").write_text(SUITE.replace("fails", "other").replace("num_steps: 40", "num_steps: 30"))
    (folder / "search.yaml").write_text(SUITE.replace("fails", "search") + "search: {name: sensitivity, knob: lr}\n")
    suite = load_suite(folder / "fails.yaml")
    tracker = Tracker(Store(folder / "store", None, warn=pytest.fail), "fails")
    tracker.start(json.dumps({"manifest_version": 2, "suite": suite.model_dump(mode="json"), "bench": "0.1.0"}))
    tracker.keep_suite(suite.text)
    for pack in make_packs(suite.expand(), max_lanes=64):
        tracker.put(*train_pack(pack))
    assert tracker.close() == 0
    board = bench_here(folder, "warnings", "fails.yaml", "--store", "store", "--format", "csv")
    (folder / "board.csv").write_text(board.stdout)
    return folder


def run(folder: Path, *words: str):
    return bench_here(folder, "run", *words, "--store", "store", "--no-figures")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("more.yaml", "--abort-on-warning", "max_logits"), "did you mean 'max_logit'?"),
        (("more.yaml", "--abort-on-warning", "hindsight"), "a baseline"),
        (("more.yaml", "--abort-on-warning", "edge_ratio"), "required `sharpness` among its `probes`"),
        (("more.yaml", "--abort-on-warning", "max_logit"), "--warnings-of names where thresholds are"),
        (
            ("more.yaml", "--abort-on-warning", "max_logit", "--warnings-of", "none.csv"),
            "can't be read as a board",
        ),
        (("other.yaml", "--abort-on-warning", "max_logit", "--warnings-of", "board.csv"), "no threshold for"),
        (("search.yaml", "--abort-on-warning", "max_logit", "--warnings-of", "board.csv"), "sensitivity reads"),
        (("more.yaml", "--warnings-of", "board.csv"), "which is not given"),
    ],
)
def test_what_can_abort_nothing_is_refused_in_one_line(folder, words, told):
    done = run(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert told in line


def test_a_job_aborts_as_a_run_does_by_a_file_that_travels_along(folder):
    suite = load_suite(folder / "more.yaml")
    board = str(folder / "board.csv")
    assert abort_words(suite, "loss", board) == ["--abort-on-warning", "loss", "--warnings-of", "board.csv"]
    assert abort_words(suite, "loss", "fails") == ["--abort-on-warning", "loss", "--warnings-of", "fails"]
    assert abort_words(suite, None, None) == []
    with pytest.raises(UsageError, match="no threshold for"):
        abort_words(load_suite(folder / "other.yaml"), "loss", board)


@pytest.mark.whole
def test_runs_are_aborted_reported_and_missing_without_the_option(folder):
    """Thresholds of a suite in the store, fitted on few runs; then the same command again."""
    words = ("more.yaml", "--abort-on-warning", "loss", "--warnings-of", "fails")
    done = run(folder, *words)
    assert done.returncode == 0, done.stderr
    store = Store(folder / "store", None, warn=pytest.fail)
    rows = read_results(store, "more")
    aborted = rows.filter(outcome="aborted")
    assert "aborted" in set(rows.filter(lr=1000.0)["outcome"]) <= {"aborted", "diverged"}
    assert set(rows["outcome"]) <= {"aborted", "diverged", "completed"}
    saved = sum(40 - step - 1 for step in aborted["aborted_step"])
    told = f"Loss alone, above its median aborted {aborted.height} of 12 trials, which saved {saved} steps"
    assert f"{aborted.height} aborted ({told}" in done.stderr
    again = run(folder, *words)
    assert again.returncode == 0, again.stderr
    assert "12 of 12 trials were finished already" in again.stderr
    report = bench_here(folder, "report", "more.yaml", "--store", "store", "--out", "report")
    assert report.returncode == 0, report.stderr
    assert "Aborted on a warning" in (folder / "report" / "index.html").read_text()
    lines = list(csv.DictReader(io.StringIO((folder / "report" / "aborts.csv").read_text())))
    assert {line["detector"] for line in lines} == {"loss"}
    assert sum(int(line["num_aborted"]) for line in lines) == aborted.height
    manifest = json.loads((folder / "report" / "manifest.json").read_text())
    assert manifest["abort_on_warning"]["source"].startswith("fails in ")
    tracker = Tracker(store, "more")
    missing = GridQueue(load_suite(folder / "more.yaml"), tracker.finished()).next()
    assert tracker.close() == 0
    assert {trial.id for trial in missing} == set(aborted["trial_id"])
