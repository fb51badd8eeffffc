"""Held-out measures at the best learning rate, by hand."""

import math

import polars as pl
import pytest
from scipy import stats

from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.leaderboard import leaderboard
from analysis.tables.held_out import held_out_group
from tests.analysis.synthetic_results import frame, row


def trial(method: str, lr: float, seed: int, train: float, held_out: float, accuracy: float | None, **other: object):
    """A trial whose calibration error is half its accuracy."""
    error = None if accuracy is None else accuracy / 2
    least = {
        "least_val_loss": held_out - 0.25,
        "least_val_loss_step": None if math.isinf(held_out) else 100 * (seed + 1),
    }
    measured = {"val_loss": held_out, **least, "val_accuracy": accuracy, "val_calibration_error": error}
    return row(method, lr, seed, train, initial_val_loss=4.0, **measured, **other)


def only(board: pl.DataFrame) -> dict:
    assert board.height == 1
    return board.row(0, named=True)


def test_measures_by_hand():
    # Best lr is 0.1. Held-out losses 1.5, 2.0, 2.5: mean 2, standard error 0.5 / sqrt(3); gaps 0.5, 0.5, 2.
    rows = [trial("m", 1.0, seed, 3.5, 9.0, 0.0) for seed in range(3)]
    for seed, (train, held_out, accuracy) in enumerate([(1.0, 1.5, 0.6), (1.5, 2.0, 0.6), (0.5, 2.5, 0.9)]):
        rows.append(trial("m", 0.1, seed, train, held_out, accuracy))
    entry = only(leaderboard(frame(rows)))
    assert entry["best_lr"] == 0.1
    means = {name: entry[name] for name in HELD_OUT_SCORES if entry[name] is not None}
    expected = {"val_loss": 2.0, "least_val_loss": 1.75, "least_val_loss_step": 200, "val_accuracy": 0.7}
    assert means == pytest.approx(expected | {"val_calibration_error": 0.35, "generalisation_gap": 1.0})
    half = 4.302653 * 0.5 / math.sqrt(3)  # Student's t, 97.5%, 2 degrees of freedom
    assert (entry["val_loss_ci_low"], entry["val_loss_ci_high"]) == pytest.approx((2 - half, 2 + half))
    gaps = stats.t.interval(0.95, 2, loc=1.0, scale=stats.sem([0.5, 0.5, 2.0]))
    assert (entry["generalisation_gap_ci_low"], entry["generalisation_gap_ci_high"]) == pytest.approx(gaps)


def test_gap_is_paired_by_seed():
    rows = [trial("m", 0.1, seed, 1.0 + seed / 10, 1.25 + seed / 10, 0.5) for seed in range(3)]
    entry = only(leaderboard(frame(rows)))
    assert entry["generalisation_gap"] == pytest.approx(0.25)
    assert entry["generalisation_gap_ci_high"] - entry["generalisation_gap_ci_low"] == pytest.approx(0, abs=1e-12)
    assert entry["val_loss_ci_high"] - entry["val_loss_ci_low"] > 0.1


def test_one_seed_has_no_interval():
    entry = only(leaderboard(frame([trial("m", 0.1, 0, 1.0, 1.5, 0.5)])))
    assert (entry["val_loss"], entry["val_loss_ci_low"], entry["val_loss_ci_high"]) == (1.5, None, None)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_seeds_that_are_all_right_or_all_wrong_leave_no_certainty(accuracy):
    entry = only(leaderboard(frame([trial("m", 0.1, seed, 1.0, 1.5 + seed / 10, accuracy) for seed in range(3)])))
    assert (entry["val_accuracy"], entry["val_accuracy_ci_low"], entry["val_accuracy_ci_high"]) == (
        accuracy,
        None,
        None,
    )
    assert entry["val_loss_ci_low"] < entry["val_loss"]


def test_nothing_is_stated_where_a_seed_diverged_at_the_best_lr():
    # A seed diverged at every lr, so the smallest is the best.
    rows = [trial("m", lr, 0, math.inf, math.inf, None) for lr in (0.1, 1.0)]
    rows += [trial("m", lr, 1, 3.0, 3.0, 0.1) for lr in (0.1, 1.0)]
    entry = only(leaderboard(frame(rows)))
    assert entry["best_lr"] == 0.1
    held_out = ("val_", "least_val_", "generalisation")
    assert all(value is None for name, value in entry.items() if name.startswith(held_out))


def test_loss_without_accuracy_is_measured_alone():
    board = leaderboard(frame([trial("m", 0.1, seed, 1.0, 1.5, None) for seed in (0, 1)]))
    assert (only(board)["val_loss"], only(board)["val_accuracy"]) == (1.5, None)
    group = held_out_group(board)
    assert group is not None
    assert group.tables[0].titles == (
        "Method",
        "Best lr",
        "Held-out loss",
        "Least held-out loss",
        "Its step",
        "Generalisation gap",
    )


def test_nan_of_a_workload_without_classes_is_no_measure():
    board = leaderboard(frame([trial("m", 0.1, seed, 1.0, 1.5, math.nan) for seed in (0, 1)]))
    assert (only(board)["val_accuracy"], only(board)["val_calibration_error"]) == (None, None)


def test_lost_seed_is_left_out():
    rows = [trial("m", 0.1, 0, 1.0, 1.5, 0.5), trial("m", 0.1, 1, 1.0, 2.5, 0.5), row("m", 0.1, 2, None)]
    assert only(leaderboard(frame(rows)))["val_loss"] == 2.0


def test_calibration_error_is_defined_with_its_source():
    assert "Guo et al. 2017" in HELD_OUT_SCORES["val_calibration_error"].definition
