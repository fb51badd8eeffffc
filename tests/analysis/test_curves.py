"""From a results frame to entries and their loss matrices."""

import math

import numpy as np
import polars as pl
import pytest

from analysis.curves import CURVE_COLUMNS, curves, groups_of, loss_grids, matrices
from bench.errors import UsageError
from tests.analysis.synthetic_results import frame, row

KEY = ("in_context_regression", "softmax", "sgd", "")


def test_matrix_by_hand():
    rows = [
        row("softmax", 0.1, 0, 1.0, initial_loss=4.0),
        row("softmax", 0.1, 1, math.inf, initial_loss=5.0),
        row("softmax", 1.0, 0, 2.0, initial_loss=4.0),
        row("softmax", 1.0, 1, None),
    ]
    grid = loss_grids(curves(frame(rows)))[KEY]
    assert grid.lrs.tolist() == [0.1, 1.0]
    assert grid.seeds == (0, 1)
    np.testing.assert_array_equal(grid.losses, [[1.0, math.inf], [2.0, math.nan]])
    assert grid.initial_losses.tolist() == [4.0, 5.0]
    assert (grid.num_trials, grid.num_lost, grid.is_complete) == (3, 1, False)


def test_row_order_is_irrelevant():
    results = frame([row("softmax", lr, seed, lr + seed) for lr in (0.1, 1.0) for seed in (2, 0, 1)])
    shuffled = results.sample(fraction=1.0, shuffle=True, seed=3)
    assert curves(results).equals(curves(shuffled))


@pytest.mark.parametrize("lost", [{(0.1, 0), (0.1, 1)}, {(0.1, 1), (1.0, 1)}], ids=["lr", "seed"])
def test_entry_that_lost_a_learning_rate_or_a_seed_altogether_is_incomplete(lost):
    points = [(lr, seed) for lr in (0.1, 1.0) for seed in (0, 1)]
    results = frame([row("softmax", *point, None if point in lost else 1.0) for point in points])
    grid = loss_grids(curves(results))[KEY]
    assert (grid.losses.size, grid.num_lost, grid.is_complete) == (2, 2, False)
    assert loss_grids(curves(frame([row("softmax", *point, 1.0) for point in points])))[KEY].is_complete


def test_loss_at_init_of_a_seed_is_the_mean_over_its_trials():
    initial = {(0.1, 0): 4.0, (1.0, 0): 5.0, (0.1, 1): 6.0, (1.0, 1): 9.0}
    results = frame([row("softmax", *point, 1.0, initial_loss=loss) for point, loss in initial.items()])
    assert loss_grids(curves(results))[KEY].initial_losses.tolist() == [4.5, 7.5]


def test_nan_final_loss_counts_as_diverged():
    results = frame([row("softmax", 0.1, 0, math.nan, outcome="completed")])
    assert curves(results)["final_loss"].to_list() == [math.inf]


def test_result_replaces_a_lost_attempt_at_the_same_point():
    lost, found = row("softmax", 0.1, 0, None), row("softmax", 0.1, 0, 1.0)
    for rows in ([lost, found], [found, lost], [{**lost, "trial_id": "same"}, {**found, "trial_id": "same"}]):
        grid = loss_grids(curves(frame(rows)))[KEY]
        assert (grid.losses.tolist(), grid.num_lost) == ([[1.0]], 0)


def test_two_results_for_one_point_are_refused_by_name():
    rows = [row("softmax", 0.1, 0, 1.0, trial_id="first"), row("softmax", 0.1, 0, 2.0, trial_id="second")]
    with pytest.raises(UsageError, match=r"first, second.*lr 0.1.*seed 0"):
        curves(frame(rows))


def test_varying_knobs_split_entries_and_fixed_ones_do_not():
    rows = [row("softmax", 0.1, 0, 1.0, warmup_steps=warmup, weight_decay=0.1) for warmup in (0.0, 2.5, 20.0)]
    assert curves(frame(rows))["knobs"].to_list() == ["warmup_steps=0", "warmup_steps=2.5", "warmup_steps=20"]
    assert curves(frame(rows[:1]))["knobs"].to_list() == [""]
    unclipped = [row("softmax", 0.1, 0, 1.0, grad_clip=clip) for clip in (1.0, math.inf)]
    assert curves(frame(unclipped))["knobs"].to_list() == ["grad_clip=1", "grad_clip=inf"]


def test_missing_column_is_named():
    with pytest.raises(UsageError, match="lacks the columns final_loss"):
        curves(frame([row("softmax", 0.1, 0, 1.0)]).drop("final_loss"))


def test_wrong_type_is_named():
    with pytest.raises(UsageError, match="lr is String, required Float64"):
        curves(frame([row("softmax", 0.1, 0, 1.0)]).with_columns(lr=pl.lit("0.1")))


@pytest.mark.parametrize("initial_loss", [None, math.nan, math.inf])
def test_an_entry_with_a_result_without_a_finite_loss_at_init_has_no_grid_and_others_keep_theirs(initial_loss):
    rows = [row("softmax", 0.1, 0, 1.0), row("m", 0.1, 0, 1.0), row("m", 0.1, 1, math.inf, initial_loss=initial_loss)]
    found = curves(frame(rows))
    assert found.height == 3
    assert [key[1] for key in loss_grids(found)] == ["softmax"]


def test_entry_of_lost_trials_alone_has_no_grid():
    lost = curves(frame([row("softmax", 0.1, 0, None)]))
    assert loss_grids(lost) == {}
    assert lost.columns == list(CURVE_COLUMNS)


def test_matrices_lay_rows_out_over_ascending_axes_with_nan_for_gaps():
    rows = pl.DataFrame({"lr": [0.1, 0.01], "seed": [3, 1], "a": [1.0, None], "b": [4, 5]})
    laid = matrices({"lr": np.array([0.01, 0.1]), "seed": np.array([1, 3])}, rows, ("a", "b"))
    np.testing.assert_array_equal(laid["a"], [[np.nan, np.nan], [np.nan, 1.0]])
    np.testing.assert_array_equal(laid["b"], [[5.0, np.nan], [np.nan, 4.0]])


def test_groups_keep_the_order_of_the_frame_and_an_empty_frame_has_none():
    rows = pl.DataFrame({"method": ["b", "a", "b"], "lr": [1.0, 2.0, 3.0]})
    assert [(key, part["lr"].to_list()) for key, part in groups_of(rows, "method")] == [
        (("b",), [1.0, 3.0]),
        (("a",), [2.0]),
    ]
    assert groups_of(pl.DataFrame(), "method") == []
