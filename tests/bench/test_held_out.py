"""HELD_OUT: a new measure is an entry, and a workload that computes it; all else derives."""

import pytest

from bench.held_out import COMPUTED, HELD_OUT, HELD_OUT_COLUMNS
from bench.outcome import LOSSES, RESULT_COLUMNS
from bench.trace import TRAINING_QUANTITIES
from bench.workloads.base import Workload
from tests.bench.copied_code import run_changed

ADDED = (
    (
        "bench/held_out.py",
        "HELD_OUT: dict[str, Measure] = {\n",
        '    "val_errors": Measure(title="Errors", heading="Errors", unit="%", low=0.0, high=100.0, '
        'higher_is_better=False, definition="wrong of a hundred", initial="initial_errors", diverged=100.0),\n',
    ),
    (
        "bench/models/classify.py",
        '    "val_loss": lambda means: means["loss"],\n',
        '    "val_errors": lambda means: 100 * (1 - means["accuracy"]),\n',
    ),
)
PROGRAM = """
import json, pathlib, polars as pl
from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import read_tidy
from analysis.scores.leaderboard import leaderboard
from bench.store.records import trial_metrics
from bench.suite import Suite
from bench.training.pack import make_packs
from bench.training.train import train_pack
from bench.outcome import RESULT_COLUMNS, Result

workload = {"name": "image_classification", "num_steps": 2, "batch_size": 8, "depth": 1, "eval_every_steps": 1}
suite = Suite(name="s", workloads=[workload], methods=["softmax"], optimizers=["sgd"],
              knobs={"lr": [0.01, 1e30]}, seeds=1, probe_every=1)
(pack,) = make_packs(suite.expand(), max_lanes=2)
results, traces = train_pack(pack)
schema = {name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()}
board = leaderboard(pl.DataFrame([result.row() for result in results], schema=schema))
plain = results[0].to_dict()
old = {name: value for name, value in plain.items() if "errors" not in name}
path = pathlib.Path("theirs.csv")
path.write_text("method,lr,seed,final_loss,initial_loss,val_errors\\na,0.1,0,1.0,2.0,12.5\\na,1.0,0,inf,2.0,99\\n")
print(json.dumps({
    "held_out": [dict(result.held_out) for result in results],
    "traced": traces[results[0].trial.id].filter(quantity="val_errors")["value"].to_list(),
    "metric": trial_metrics(results[0])["val_errors"],
    "read_back": Result.from_dict(plain) == results[0],
    "old": Result.from_dict(old).held_out["val_errors"],
    "board": board["val_errors"].to_list(),
    "imported": imported_runs(read_tidy(path), plain_reading("theirs")).frame["val_errors"].to_list(),
}))
"""


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    return run_changed(tmp_path_factory.mktemp("added"), ADDED, PROGRAM)


@pytest.mark.whole
def test_a_new_measure_is_in_results_traces_metrics_boards_and_imports(added):
    fine, diverged = added["held_out"]
    assert fine["val_errors"] == pytest.approx(100 * (1 - fine["val_accuracy"]), rel=1e-6)
    assert (diverged["val_errors"], diverged["val_accuracy"]) == (100.0, None)
    assert diverged["initial_errors"] == fine["initial_errors"]
    assert added["traced"] == pytest.approx([fine["initial_errors"], added["traced"][1], fine["val_errors"]], rel=1e-6)
    assert added["metric"] == fine["val_errors"]
    assert added["board"] == [pytest.approx(fine["val_errors"])]
    assert added["imported"] == [12.5, 100.0]


@pytest.mark.whole
def test_results_from_before_a_measure_are_read(added):
    assert added["read_back"]
    assert added["old"] is None


def test_every_measure_has_words_bounds_and_columns():
    for name, measure in HELD_OUT.items():
        assert measure.title
        assert measure.definition
        assert measure.low < measure.high
        assert (name in TRAINING_QUANTITIES) == (name in COMPUTED)  # what is derived has no trace of its own
    assert set(HELD_OUT_COLUMNS) <= RESULT_COLUMNS.keys()
    assert set(LOSSES) == {"initial_loss", "final_loss", "initial_val_loss", "val_loss", "least_val_loss"}


def test_a_workload_of_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match=r"Odd\.measures: val_lost must be in bench\.held_out\.COMPUTED"):
        type("Odd", (Workload,), {"measures": ("val_loss", "val_lost")})


def test_a_workload_that_names_a_measure_and_does_not_compute_it_is_refused():
    with pytest.raises(ValueError, match="Odd names val_accuracy, and must have held_out_measures to compute it"):
        type("Odd", (Workload,), {"measures": ("val_loss", "val_accuracy")})


def test_a_workload_that_evaluates_what_nothing_reads_is_refused():
    with pytest.raises(ValueError, match="Odd has an evaluate, but no held_out_measures"):
        type("Odd", (Workload,), {"evaluate": lambda self, *_: {"loss": 0, "accuracy": 1}})
    computed = {"evaluate": lambda self, *_: {"loss": 0}, "held_out_measures": lambda self, means: {"val_loss": 0}}
    type("Fine", (Workload,), computed)
