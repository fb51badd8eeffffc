"""`bench warnings` and the report's section, of small suites that are trained into a store."""

import csv
import io
import json
from pathlib import Path

import pytest

from analysis.report.folder import write_report
from analysis.scores.causes.detectors import DETECTORS
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.store import Store, Tracker
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
probe_every: 5
blown_up_margin: 1.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A store in which SUITE is trained, whose largest learning rate is too large, and a suite that lacks it."""
    folder = tmp_path_factory.mktemp("warnings")
    (folder / "fails.yaml").write_text(SUITE)
    (folder / "calm.yaml").write_text(SUITE.replace("fails", "calm").replace(", 1000.0", ""))
    for name in ("fails", "calm"):
        suite = load_suite(folder / f"{name}.yaml")
        tracker = Tracker(Store(folder / "store", None, warn=pytest.fail), name)
        tracker.start(json.dumps({"manifest_version": 2, "suite": suite.model_dump(mode="json"), "bench": "0.1.0"}))
        tracker.keep_suite(suite.text)
        for pack in make_packs(suite.expand(), max_lanes=64):
            tracker.put(*train_pack(pack))
        assert tracker.close() == 0
    return folder


def test_every_detector_has_a_row_or_a_word_why_not(folder):
    done = bench_here(folder, "warnings", "fails.yaml", "--store", "store", "--format", "csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["detector"] for row in rows} == set(DETECTORS)
    for row in rows:
        assert bool(row["left_out"]) != bool(row["recall"])
    hindsight = next(row for row in rows if (row["detector"], row["held_out"]) == ("hindsight", "method"))
    assert (hindsight["num_failed"], hindsight["recall"]) == ("4", "1.0")
    assert "no trace of edge_ratio" in next(row["left_out"] for row in rows if row["detector"] == "edge_ratio")


@pytest.mark.parametrize("format", ["table", "md", "json"])
def test_every_form_is_written(folder, format):
    done = bench_here(folder, "warnings", "fails", "--store", "store", "--format", format)
    assert done.returncode == 0, done.stderr
    assert ("max_logit" if format == "json" else "Largest logit") in done.stdout


@pytest.mark.whole
def test_the_bundle_has_curves_words_and_sources(folder):
    done = bench_here(folder, "export", "fails.yaml", "--store", "store", "--bundle", "paper")
    assert done.returncode == 0, done.stderr
    for name in ("warnings_roc", "warnings_lead"):
        assert (folder / "paper" / "figures" / f"{name}.pdf").is_file()
        assert "detector" in (folder / "paper" / "figures" / f"{name}.csv").read_text()
    assert "at most 5% of the stable runs of other methods" in (folder / "paper" / "methods.md").read_text()
    sources = (folder / "paper" / "references.bib").read_text()
    assert all(key in sources for key in ("boettiger2012early", "wilson1927probable", "kumar2025zclip"))


def test_a_suite_without_a_failed_run_is_refused_in_one_line(folder):
    done = bench_here(folder, "warnings", "calm.yaml", "--store", "store")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "no failed run" in line


def test_runs_without_traces_are_refused_in_one_line(folder):
    """Imports of a tidy file, of which one diverged."""
    text = "method,lr,seed,final_loss,initial_loss\nsoftmax,0.1,0,0.5,1\nsoftmax,1,0,inf,1\n"
    (folder / "theirs.csv").write_text(text)
    assert bench_here(folder, "import", "theirs.csv", "--store", "store").returncode == 0
    done = bench_here(folder, "warnings", "theirs", "--store", "store")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no traces" in done.stderr.splitlines()[-1]


def test_the_report_has_a_section(folder):
    stored, store = Stored.of(load_suite(folder / "fails.yaml")), Store(folder / "store", None, warn=pytest.fail)
    write_report(read_subject(stored, store), folder / "report", formats=())
    assert "Early warning on" in (folder / "report" / "index.html").read_text()
    assert (folder / "report" / "warnings.csv").is_file()
    assert "Runs warned of, by how early" in (folder / "report" / "index.html").read_text()
