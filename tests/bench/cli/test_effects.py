"""`bench effects` and the report's section, of a small suite that is trained into a store."""

import csv
import io
import json
from pathlib import Path

import pytest

from analysis.report.folder import write_report
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.store import Store, Tracker
from bench.suite import load_suite
from bench.training.pack import make_packs
from bench.training.train import train_pack
from tests.command_line import bench_here

SUITE = """
name: twins
workloads: [{name: in_context_regression, num_steps: 40, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax]
optimizers: [adam]
interventions:
  - {name: temperature, for_steps: 5, from_step: 10}
  - {name: temperature, for_steps: 5, from_step: 20}
  - {name: lr_factor, factor: 1e6, from_step: 20}
knobs: {lr: [0.01, 0.1]}
seeds: 3
probe_every: 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A store in which both packs of SUITE are trained, and a suite without interventions."""
    folder = tmp_path_factory.mktemp("effects")
    (folder / "twins.yaml").write_text(SUITE)
    (folder / "bare.yaml").write_text(
        SUITE.replace("interventions:", "").replace("  - {", "#").replace("twins", "bare")
    )
    for name in ("twins", "bare"):
        suite = load_suite(folder / f"{name}.yaml")
        tracker = Tracker(Store(folder / "store", None, warn=pytest.fail), name)
        tracker.start(json.dumps({"manifest_version": 2, "suite": suite.model_dump(mode="json"), "bench": "0.1.0"}))
        tracker.keep_suite(suite.text)
        for pack in make_packs(suite.expand(), max_lanes=64):
            tracker.put(*train_pack(pack))
        assert tracker.close() == 0
    return folder


def test_effects_are_printed_for_every_intervention_and_learning_rate(folder):
    done = bench_here(folder, "effects", "twins.yaml", "--store", "store", "--format", "csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["intervention"], row["lr"], row["num_pairs"]) for row in rows] == [
        ("lr_factor(from_step=20, factor=1000000.0)", "0.01", "3"),
        ("lr_factor(from_step=20, factor=1000000.0)", "0.1", "3"),
        ("temperature(from_step=10, for_steps=5)", "0.01", "3"),
        ("temperature(from_step=10, for_steps=5)", "0.1", "3"),
        ("temperature(from_step=20, for_steps=5)", "0.01", "3"),
        ("temperature(from_step=20, for_steps=5)", "0.1", "3"),
    ]
    assert all(float(row["loss"]) > 0.1 for row in rows[:2]), "a learning rate times a million harms"
    assert {row["end_step"] for row in rows} == {"", "15", "25"}


@pytest.mark.parametrize("format", ["table", "md", "json"])
def test_every_form_is_written(folder, format):
    done = bench_here(folder, "effects", "twins", "--store", "store", "--format", format)
    assert done.returncode == 0, done.stderr
    assert "temperature" in done.stdout
    assert ("Early against late" in done.stdout) == (format != "json")


@pytest.mark.parametrize("store", ["store", "empty"])
def test_a_suite_without_interventions_is_refused_in_one_line(folder, store):
    """Before any result is read."""
    done = bench_here(folder, "effects", "bare.yaml", "--store", store)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "has no interventions" in line


@pytest.mark.parametrize("format", ["table", "csv"])
def test_theory_stands_beside_what_was_measured(folder, format):
    done = bench_here(folder, "theory", "bare.yaml", "--store", "store", "--format", format)
    assert done.returncode == 0, done.stderr
    assert ("theorem_5_1" if format == "csv" else "Hong & Lee 2025") in done.stdout


def test_the_report_has_a_section_and_figures(folder):
    stored, store = Stored.of(load_suite(folder / "twins.yaml")), Store(folder / "store", None, warn=pytest.fail)
    write_report(read_subject(stored, store), folder / "report", formats=())
    page = (folder / "report" / "index.html").read_text()
    assert "Effects of interventions" in page
    assert "Theory beside measurement" in page
    assert all((folder / "report" / name).is_file() for name in ("effects.csv", "effect_starts.csv", "theory.csv"))
    drawn = sorted(path.stem for path in (folder / "report").rglob("effects*.svg"))
    assert [name.rpartition("_softmax_")[2] for name in drawn] == ["lr_factor", "temperature"]
