"""Held-out measures at the best learning rate, by hand, and the tables that show them."""

import math

import polars as pl
import pytest
from scipy import stats

from analysis.scores.generalisation import (
    HELD_OUT_DEFINITIONS,
    generalisation_html,
    generalisation_latex,
    generalisation_markdown,
    generalisation_tables,
)
from analysis.scores.leaderboard import leaderboard
from tests.analysis.synthetic_results import METHODS, frame, results, row, with_held_out

HOSTILE = "<script>a_b</script>|&%"


def trial(method: str, lr: float, seed: int, train: float, held_out: float, accuracy: float | None, **other: object):
    """A trial whose calibration error is half its accuracy."""
    error = None if accuracy is None else accuracy / 2
    measured = {"val_loss": held_out, "val_accuracy": accuracy, "val_calibration_error": error}
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
    means = [entry[name] for name in HELD_OUT_DEFINITIONS]
    assert means == pytest.approx([2.0, 0.7, 0.35, 1.0])
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


def test_nothing_is_stated_where_a_seed_diverged_at_the_best_lr():
    # Nothing was learned, so the smallest lr is the best; at it a seed diverged.
    rows = [trial("m", lr, seed, 4.0, 4.0, 0.1) for lr in (0.1, 1.0) for seed in (0, 1)]
    rows[0] = trial("m", 0.1, 0, math.inf, math.inf, None)
    entry = only(leaderboard(frame(rows)))
    assert entry["best_lr"] == 0.1
    assert all(value is None for name, value in entry.items() if name.startswith(("val_", "generalisation")))


def test_loss_without_accuracy_is_measured_alone():
    board = leaderboard(frame([trial("m", 0.1, seed, 1.0, 1.5, None) for seed in (0, 1)]))
    assert (only(board)["val_loss"], only(board)["val_accuracy"]) == (1.5, None)
    (table,) = generalisation_tables(board)
    assert table.titles == ("Method", "Best lr", "Held-out loss", "Generalisation gap")


def test_nan_of_a_workload_without_classes_is_no_measure():
    board = leaderboard(frame([trial("m", 0.1, seed, 1.0, 1.5, math.nan) for seed in (0, 1)]))
    assert (only(board)["val_accuracy"], only(board)["val_calibration_error"]) == (None, None)


def test_lost_seed_is_left_out():
    rows = [trial("m", 0.1, 0, 1.0, 1.5, 0.5), trial("m", 0.1, 1, 1.0, 2.5, 0.5), row("m", 0.1, 2, None)]
    assert only(leaderboard(frame(rows)))["val_loss"] == 2.0


def test_only_workloads_with_held_out_data_have_a_table():
    data = [
        results(num_seeds=2),
        with_held_out(results(num_seeds=2)).with_columns(workload=pl.lit("language_modeling")),
    ]
    data[1] = data[1].with_columns(trial_id=pl.col("trial_id") + "b")
    (table,) = generalisation_tables(leaderboard(pl.concat(data)))
    assert table.heading == "Generalisation on language_modeling"
    assert sorted(cells[0] for cells in table.rows) == sorted(METHODS)


def test_table_is_sorted_by_held_out_loss_and_rounds_to_the_interval():
    rows = [
        trial(method, lr, seed, 1.0, held_out + 0.01 * seed, 0.5)
        for method, held_out in (("worse", 2.0), ("better", 1.0))
        for lr in (0.1, 1.0)
        for seed in (0, 1, 2)
    ]
    (table,) = generalisation_tables(leaderboard(frame(rows)))
    # Half width: 4.303 * 0.01 / sqrt(3) = 0.0248.
    assert [row[:3] for row in table.rows] == [("better", "0.1", "1.010 ± 0.025"), ("worse", "0.1", "2.010 ± 0.025")]


def test_optimizers_and_knobs_are_columns_where_they_vary():
    rows = [trial("m", lr, 0, 1.0, 1.5, 0.5, optimizer=name) for lr in (0.1, 1.0) for name in ("sgd", "adamw")]
    (table,) = generalisation_tables(leaderboard(frame(rows)))
    assert table.titles[:3] == ("Method", "Optimizer", "Best lr")
    assert {row[1] for row in table.rows} == {"sgd", "adamw"}


@pytest.mark.parametrize("write", [generalisation_markdown, generalisation_html, generalisation_latex])
def test_text_is_empty_without_held_out_data(write):
    assert write(leaderboard(results(num_seeds=2))) == ""
    assert write(leaderboard(frame([]))) == ""


@pytest.mark.parametrize("write", [generalisation_markdown, generalisation_html, generalisation_latex])
def test_hostile_names_are_escaped(write):
    rows = [trial(HOSTILE, lr, seed, 1.0, 1.5 + seed, 0.5, workload=HOSTILE) for lr in (0.1, 1.0) for seed in (0, 1)]
    text = write(leaderboard(frame(rows)))
    assert "<script" not in text
    assert text


@pytest.mark.parametrize(("loss", "words"), [("train", "by its training loss"), ("validation", "by its held-out loss")])
def test_note_says_which_loss_chose_the_rate(loss, words):
    text = generalisation_markdown(leaderboard(with_held_out(results(num_seeds=2)), loss=loss))
    assert words in text


def test_calibration_error_is_defined_with_its_source():
    assert "Guo et al. 2017" in HELD_OUT_DEFINITIONS["val_calibration_error"]
