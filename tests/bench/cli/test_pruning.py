"""A search that prunes by `bench run`: what is trained, said and shown; and `--pruner` with what it refuses."""

import csv
import io
import json
from pathlib import Path

import pytest

from bench.store import Store, read_searched
from tests.command_line import bench_here

SUITE = """
name: pruned
workloads: [{name: in_context_regression, num_steps: 60, final_loss_steps: 10, batch_size: 16, depth: 1, num_pairs: 5}]
methods: [softmax]
optimizers: [sgd]
box: {lr: {log: [1e-4, 1]}, warmup_steps: {int: [0, 30]}}
search: {name: tune_box, budget: 40, startup: 8, batch: 12, sampler: random}
stop: {worse_than: halving, first_step: 6}
seeds: 2
probe_every: 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """SUITE in a folder."""
    folder = tmp_path_factory.mktemp("pruning")
    (folder / "pruned.yaml").write_text(SUITE)
    (folder / "grid.yaml").write_text(
        SUITE.partition("box:")[0] + "knobs: {lr: [0.1, 1]}\nstop: median\nseeds: 1\nprobe_every: 1\n"
    )
    return folder


@pytest.fixture(scope="module")
def trained(folder) -> Path:
    """The folder with SUITE trained."""
    done = run(folder)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def run(folder: Path, *words: str):
    return bench_here(folder, "run", "pruned.yaml", "--store", "store", "--no-figures", *words)


@pytest.mark.whole
def test_settings_are_pruned_said_and_asked_for_no_more(trained):
    folder = trained
    rows = read_searched(Store(folder / "store", None, warn=pytest.fail), "pruned").values()
    ends = [row["outcome"] for row in rows]
    assert len(ends) == 40
    assert 0 < ends.count("pruned") <= 24
    assert ends.count("pruned") + ends.count("completed") + ends.count("diverged") == 40
    assert f"{ends.count('pruned')} pruned" in (folder / "stderr").read_text()
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert "40 of 40 trials were finished already" in again.stderr
    assert "halving pruned" in again.stdout


@pytest.mark.whole
def test_the_report_says_which_settings_were_pruned_and_when(trained):
    folder = trained
    done = bench_here(folder, "report", "pruned.yaml", "--store", "store", "--out", "report")
    assert done.returncode == 0, done.stderr
    lines = list(csv.DictReader(io.StringIO((folder / "report" / "trail.csv").read_text())))
    ends = {line["pruned_step"] for line in lines} - {""}
    assert ends <= {"5", "17", "53"}
    assert "pruned after 6 steps" in (folder / "report" / "index.html").read_text()
    manifest = json.loads((folder / "report" / "manifest.json").read_text())
    assert manifest["suite"]["stop"] == {"worse_than": "halving", "first_step": 6}
    verified = bench_here(folder, "verify", "pruned.yaml", "--store", "store")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "grid.yaml"), "grid.yaml:7:1: the leaderboard needs the final loss of every trial"),
        (("tune", "softmax", "--pruner", "wilcoxon"), "asks for one seed at a time"),
        (
            ("tune", "softmax", "--knobs", "lr,weight_decay", "--pruner", "wilcoxon", "--seeds", "2"),
            "needs at least 4 seeds",
        ),
        (("tune", "softmax", "--pruner", "median", "--num-steps", "1"), "below num_steps of every workload (1)"),
        (("run", "pruned.yaml", "--abort-on-warning", "max_logit"), "has stop, which prunes; required one of both"),
    ],
)
def test_what_cannot_be_pruned_is_refused_in_one_line(folder, words, told):
    done = bench_here(folder, *words, "--store", "store")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert told in line
