"""The command line for real: Ray, MLflow on sqlite, a suite with a method of the user's own, every command once."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.outcome import Outcome, Result
from bench.store import Store, Tracker
from bench.suite import load_suite
from tests.command_line import bench_here

SUITE = """
name: tiny
workloads: [{name: in_context_regression, num_steps: 12, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, "my_attention:Cauchy"]
optimizers: [sgd]
knobs: {lr: [1e-3, 0.1, 1e+30]}
seeds: 2
probe_every: 3
"""

STORED_SUITE = """
name: stored
workloads: [{name: in_context_regression, num_steps: 12, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, relu_kernel]
optimizers: [sgd]
knobs: {lr: [1e-3, 0.1]}
seeds: 2
probe_every: 3
"""

MY_ATTENTION = '''
from dataclasses import dataclass

from bench.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class Cauchy(Method):
    """P proportional to 1 / (1 + |q - k|^2 / scale^2)."""

    source = "ours"
    controls = "variance: heavy tails"

    scale: float = 1.0

    def weights(self, q, k, mask, params):
        squared = (q[..., :, None, :] - k[..., None, :, :]).square().sum(-1)
        similarity = mask / (1 + squared / self.scale**2)
        return similarity / similarity.sum(-1, keepdim=True)
'''

COLUMNS = (
    "rank,rank_worst,workload,method,optimizer,lr_sensitivity,ci_low,ci_high,best_loss,best_lr,stable_decades,"
    "diverged_share,blown_up_share,stuck_share,blown_up_loss,num_seeds,num_trials,flags"
)


def bench(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONWARNINGS": "default", "COLUMNS": "200"} | variables
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "bench.cli", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "tiny.yaml").write_text(SUITE)
    (folder / "my_attention.py").write_text(MY_ATTENTION)
    return folder


@pytest.fixture(scope="module")
def first_run(folder) -> subprocess.CompletedProcess[str]:
    return bench(folder, "run", "tiny.yaml", "--allow-code", "--compile", "always", CXX="no-such-compiler")


def test_run_trains_every_trial_and_prints_the_leaderboard(first_run):
    assert first_run.returncode == 0, first_run.stderr
    assert "8 completed, 4 diverged, 0 failed" in first_run.stderr
    assert all(method in first_run.stdout for method in ("softmax", "my_attention:Cauchy"))
    assert "Traceback" not in first_run.stderr


def test_what_cannot_be_compiled_trains_all_the_same_and_its_cause_is_said_once(first_run):
    """As it would be on a GPU without Triton; the manifest, tested with the report, has every function."""
    assert first_run.stderr.count("No working C++ compiler found") == 1
    assert "Inductor failed at train, which goes on uncompiled (" in first_run.stderr


def test_run_again_trains_nothing(first_run, folder):
    again = bench_here(folder, "run", "tiny.yaml", "--allow-code")
    assert again.returncode == 0
    assert "12 of 12 trials were finished already" in again.stderr
    assert again.stdout == first_run.stdout


def test_leaderboard_formats(first_run, folder):
    found = bench_here(folder, "leaderboard", "tiny.yaml", "--allow-code", "--format", "csv")
    assert found.stdout.startswith(COLUMNS)
    rows = list(csv.DictReader(found.stdout.splitlines()))
    assert sorted(row["method"] for row in rows) == ["my_attention:Cauchy", "softmax"]
    assert {row["num_trials"] for row in rows} == {"6"}
    as_json = json.loads(bench_here(folder, "leaderboard", "tiny.yaml", "--allow-code", "--format", "json").stdout)
    assert [str(row["lr_sensitivity"]) for row in as_json] == [row["lr_sensitivity"] for row in rows]


def test_report_is_written(first_run, folder):
    found = bench_here(folder, "report", "tiny.yaml", "--allow-code", "--out", "out", "--compare", "paper")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "out/index.html"
    written = {path.name for path in (folder / "out").rglob("*")}
    assert {"index.html", "leaderboard.tex", "leaderboard.md", "leaderboard.csv", "curves.csv"} <= written
    assert {path.suffix for path in (folder / "out/figures").iterdir()} == {".svg", ".png", ".pdf", ".csv"}
    assert "charts.html" in written
    manifest = json.loads((folder / "out/manifest.json").read_text())
    assert (manifest["suite"]["name"], manifest["compiling"]) == ("tiny", "always")
    methods = ("softmax", "my_attention:Cauchy")
    uncompiled = [re.match(r"(\S+) on .*: Inductor failed at (\w+), which", line) for line in manifest["uncompiled"]]
    assert {match and match.groups() for match in uncompiled} == {
        (method, function) for method in methods for function in ("train", "observe", "loss")
    }


def store_of(folder: Path, name: str, **held_out: float) -> Path:
    """A store of results that no training gave, and with `stored.yaml` beside it."""
    (folder / "stored.yaml").write_text(STORED_SUITE)
    results = []
    for trial in load_suite(folder / "stored.yaml", allow_code=False).expand():
        loss = 1.0 + trial.knobs.lr + trial.seed / 10
        measured: dict[str, Any] = {"held_out": {"val_loss": loss + 0.5, **held_out}} if held_out else {}
        results.append(
            Result(trial=trial, outcome=Outcome.COMPLETED, initial_loss=4.0, final_loss=loss, wall_s=1.0, **measured)
        )
    tracker = Tracker(Store(folder / name, f"sqlite:///{folder / name / 'mlflow.db'}", warn=pytest.fail), "stored")
    tracker.put(results, {})
    assert tracker.close() == 0
    return folder


@pytest.fixture(scope="module")
def without(folder) -> Path:
    return store_of(folder, "without")


@pytest.fixture(scope="module")
def held_out(folder) -> Path:
    return store_of(folder, "held_out", initial_val_loss=4.0, val_accuracy=0.25, val_calibration_error=0.1)


@pytest.mark.slow
def test_leaderboard_on_the_validation_loss(held_out):
    words = ("leaderboard", "stored.yaml", "--store", "held_out", "--format", "json")
    train, validation = (
        json.loads(bench_here(held_out, *words, "--loss", loss).stdout) for loss in ("train", "validation")
    )
    assert [row["best_loss"] for row in train] == pytest.approx([1.051] * 2)
    assert [row["best_loss"] for row in validation] == pytest.approx([1.551] * 2)
    for row in train + validation:
        assert (row["val_accuracy"], row["generalisation_gap"]) == pytest.approx((0.25, 0.5))
    table = bench_here(held_out, *words[:-2], "--loss", "validation").stdout
    assert "depth=1): scores of the held-out loss\n" in table
    assert "depth=1): on held-out data at each best_lr\n" in table
    assert "generalisation_gap" in table
    page = bench_here(
        held_out, "report", "stored.yaml", "--store", "held_out", "--loss", "validation", "--out", "held_out_report"
    )
    assert page.returncode == 0, page.stderr
    assert "Scores are of the held-out loss" in (held_out / "held_out_report/index.html").read_text()


@pytest.mark.parametrize("command", ["leaderboard", "report"])
def test_validation_loss_without_held_out_data_is_one_clear_line(without, command):
    found = bench_here(without, command, "stored.yaml", "--store", "without", "--loss", "validation")
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("no trial of 'in_context_regression(")
    assert found.stderr.count("\n") == 1


def test_table_without_held_out_data_does_not_mention_them(without):
    found = bench_here(without, "leaderboard", "stored.yaml", "--store", "without")
    assert found.returncode == 0
    assert not any(word in found.stdout for word in ("val_", "generalisation", " loss ", "train"))


def test_code_needs_the_flag(folder):
    refused = bench_here(folder, "validate", "tiny.yaml")
    assert refused.returncode == 2
    assert refused.stderr.startswith("tiny.yaml:4:20: ")
    assert "--allow-code" in refused.stderr


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("validate", "missing.yaml"), "missing.yaml"),
        (("leaderboard", "paper_table1", "--store", "empty"), "run a suite first"),
        (("leaderboard", "tiny.yaml", "--allow-code", "--compare", "papr"), "did you mean 'paper'"),
        (("leaderboard", "tiny.yaml", "--allow-code", "--score", "lr_sensitivty"), "did you mean 'lr_sensitivity'"),
        (("leaderboard", "tiny.yaml", "--format", "pdf"), "'pdf' is not one of"),
        (("leaderboard", "tiny.yaml", "--loss", "test"), "'test' is not one of"),
        (("run", "tiny.yaml", "--max-lanes", "0"), "--max-lanes"),
        (("run", "tiny.yaml", "--compile", "sometimes"), "auto"),
        (("run", "tiny.yaml", "--allow-code", "--tracking-uri", "ftp://x"), "ftp"),
        (("nonsense",), "nonsense"),
    ],
)
def test_mistake_gets_one_clear_message(first_run, folder, words, fragment):
    found = bench_here(folder, *words)
    assert found.returncode in (2, 4)
    assert fragment in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


def test_unreachable_cluster_is_exit_code_4(folder):
    found = bench_here(folder, "run", "quickstart", "--store", "other", "--address", "127.0.0.1:1")
    assert found.returncode == 4
    assert "127.0.0.1:1" in found.stderr
    assert "Traceback" not in found.stderr


def test_lists_schema_and_validate(folder):
    names = {row["name"] for row in json.loads(bench_here(folder, "list", "methods", "--json").stdout)}
    assert {"softmax", "relu_kernel", "sigma_reparam_qk"} <= names
    assert "quickstart" in bench_here(folder, "list", "suites").stdout
    assert json.loads(bench_here(folder, "schema").stdout)["title"] == "Suite"
    assert json.loads(bench_here(folder, "validate", "paper_table1", "--json").stdout)["trials"] == 760


def test_dry_run_estimates_and_trains_nothing(folder):
    found = bench_here(folder, "run", "tiny.yaml", "--allow-code", "--dry-run", "--store", "untouched")
    assert found.returncode == 0, found.stderr
    assert "12 trials in 2 packs" in found.stdout
    assert not (folder / "untouched").exists()


@pytest.mark.parametrize("search", ["edge", "tune"])
def test_a_search_of_an_unknown_method_is_one_line(tmp_path, search):
    found = bench_here(tmp_path, search, "sofmax")
    assert found.returncode == 2
    assert found.stderr == "Suite: methods[0]: unknown method 'sofmax'; did you mean 'softmax'?\n"


def test_a_budget_is_refused_for_a_whole_grid(tmp_path):
    found = bench_here(tmp_path, "run", "quickstart", "--budget", "3")
    assert found.returncode == 2
    assert found.stderr == "--budget is for adaptive searches; suite 'quickstart' trains its whole grid\n"
