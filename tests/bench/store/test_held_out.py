"""What is measured on held-out data in MLflow, and results stored before there were any."""

import contextlib
import json
import math
import sqlite3

import polars as pl
import pytest

from bench.held_out import HELD_OUT_COLUMNS
from bench.store import Store, read_results
from bench.store.views import LEADERBOARD, view_tag
from tests.bench.store import finished_packs

NUM_STEPS = finished_packs.NUM_STEPS


def run_of(store: Store, kind: str):
    experiment = store.experiment("suite")
    assert experiment is not None
    (run,) = store.runs(experiment, kind)
    return run


def curve(store: Store, name: str) -> list[tuple[int, float]]:
    history = store.client().get_metric_history(run_of(store, "trial").run_id, name)
    return sorted((point.step, point.value) for point in history)


def test_curves_and_final_values_are_metrics(store, open_tracker):
    finished = finished_packs.held_out_result(1)
    tracker = open_tracker(store)
    tracker.put([finished], {finished.trial.id: finished_packs.held_out_trace(1)})
    tracker.deliver()
    found = curve(store, "val_loss")
    assert [step for step, _ in found] == [0, 50, 100, 150, NUM_STEPS]
    assert [value for _, value in found[:-1]] == pytest.approx([1.8 + NUM_STEPS - step for step, _ in found[:-1]])
    assert found[-1] == (NUM_STEPS, finished.held_out["val_loss"])  # every digit, and no rounded twin from the trace
    assert curve(store, "val_accuracy")[-1] == (NUM_STEPS, 1 / 3)
    assert curve(store, "val_calibration_error")[-1] == (NUM_STEPS, 0.1)
    assert curve(store, "initial_val_loss") == [(NUM_STEPS, 1.5)]
    assert run_of(store, "trial").metrics["val_loss"] == finished.held_out["val_loss"]
    assert read_results(store, "suite").rows() == [tuple(finished.row().values())]


def test_quantities_that_a_trace_lacks_are_no_metrics(store, open_tracker):
    finished = finished_packs.result(1)
    tracker = open_tracker(store)
    tracker.put([finished], finished_packs.traces([finished]))
    tracker.deliver()
    measured = {"loss", "loss_max", "entropy_mean", "entropy_mean_min", "frobenius_norm"}
    expected = measured | {"initial_loss", "final_loss", "wall_s"}
    assert run_of(store, "trial").metrics.keys() == expected


def test_diverged_loss_comes_back_and_is_no_metric(store, open_tracker):
    tracker = open_tracker(store)
    tracker.put([finished_packs.held_out_result(0)], {})
    tracker.deliver()
    (row,) = read_results(store, "suite").iter_rows(named=True)
    assert (row["initial_val_loss"], row["val_loss"], row["val_accuracy"]) == (0.5, math.inf, None)
    assert run_of(store, "trial").metrics.keys() == {"initial_loss", "initial_val_loss", "wall_s"}


@pytest.mark.parametrize("has_held_out", [True, False])
def test_leaderboard_measures_are_on_the_method_runs_where_there_are_any(store, open_tracker, has_held_out):
    measures = {"val_loss": 1.25, "val_loss_ci_low": 1.0, "val_accuracy": 0.5, "generalisation_gap": -0.25}
    measured = measures if has_held_out else dict.fromkeys(measures)
    row = {"workload": "w", "method": "m", "optimizer": "adam", "rank": 1, "flags": "", **measured}
    schema = dict.fromkeys(("workload", "method", "optimizer", "flags"), pl.String)
    tracker = open_tracker(store)
    tracker.log_leaderboard(
        pl.DataFrame([row], schema={**schema, "rank": pl.Int64, **dict.fromkeys(measures, pl.Float64)})
    )
    assert run_of(store, "method").metrics == {"rank": 1, **(measures if has_held_out else {})}
    experiment = store.experiment("suite")
    assert experiment is not None
    assert ("metrics.`val_loss`" in experiment.tags[view_tag(LEADERBOARD)]) == has_held_out


def test_results_of_a_run_before_held_out_data_come_back_with_nulls(store, open_tracker):
    finished = finished_packs.result(1)
    tracker = open_tracker(store)
    tracker.put([finished], {})
    tracker.deliver()
    assert store.database is not None
    with contextlib.closing(sqlite3.connect(store.database)) as connection:
        ((text,),) = connection.execute("select value from tags where key = 'bench.result'").fetchall()
        older = {name: value for name, value in json.loads(text).items() if "val_" not in name}
        assert len(older) == len(json.loads(text)) - len(HELD_OUT_COLUMNS)
        connection.execute("update tags set value = ? where key = 'bench.result'", (json.dumps(older),))
        connection.commit()
    fresh = Store(store.home, warn=pytest.fail)
    assert read_results(fresh, "suite").rows() == [tuple(finished.row().values())]
    tracker.close()
    assert open_tracker(fresh).finished() == {finished.trial.id}
