"""Which loss is scored."""

import math

import polars as pl
import pytest

from analysis.curves import curves, loss_grids
from analysis.figures.frames.aggregate import loss_summary, telling_lr
from analysis.losses import (
    EVALUATED_ELSEWHERE,
    SCORED_LOSSES,
    can_score_held_out,
    choose_loss,
    has_held_out,
    unscored_held_out,
)
from analysis.scores.leaderboard import leaderboard
from analysis.tables.leaderboard import reading_note
from bench.entry import load_class
from bench.errors import UsageError
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from tests.analysis.synthetic_results import frame, results, row, with_held_out


def test_train_leaves_the_results_as_they_are():
    data = results(num_seeds=1)
    assert choose_loss(data, "train").equals(data)


def test_validation_takes_the_held_out_pair():
    rows = [row("m", 0.1, 0, 1.0, initial_val_loss=5.0, val_loss=2.0), row("m", 1.0, 0, math.inf, val_loss=math.inf)]
    rows[1]["initial_val_loss"] = 5.0
    (grid,) = loss_grids(curves(choose_loss(frame(rows), "validation"))).values()
    assert grid.losses.tolist() == [[2.0], [math.inf]]
    assert grid.initial_losses.tolist() == [5.0]


def test_a_trial_that_diverged_without_a_held_out_loss_diverged_all_the_same():
    """As in files of others, which leave the cell empty: it would count as lost, and the learning rate as fine."""
    rows = [row("m", 0.1, s, 1.0, initial_val_loss=5.0, val_loss=2.0) for s in range(2)]
    rows += [row("m", 1.0, s, math.inf, initial_val_loss=5.0) for s in range(2)]
    (entry,) = leaderboard(frame(rows), loss="validation").iter_rows(named=True)
    assert (entry["lr_sensitivity"], entry["diverged_share"], entry["num_trials"]) == (1.5, 0.5, 4)


def test_curves_and_telling_lr_are_of_the_chosen_loss():
    held_out = {("a", 0.1): 1.0, ("b", 0.1): 3.0, ("a", 1.0): 1.0, ("b", 1.0): 1.1}
    rows = [row(name, lr, 0, 4.0 * lr, initial_val_loss=4.0, val_loss=loss) for (name, lr), loss in held_out.items()]
    chosen = choose_loss(frame(rows), "validation")
    assert loss_summary(chosen)["loss_mean"].to_list() == [1.0, 1.0, 3.0, 1.1]
    assert telling_lr(chosen) == 0.1


def test_workload_without_held_out_data_is_named():
    with_, without = with_held_out(results(num_seeds=1)), results(num_seeds=1).with_columns(workload=pl.lit("other"))
    with pytest.raises(UsageError, match="no trial of 'other' has a held-out loss") as raised:
        choose_loss(pl.concat([with_, without]), "validation")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_lost_trials_alone_do_not_tell():
    assert choose_loss(frame([row("m", 0.1, 0, None)]), "validation").height == 1


def test_unknown_loss_suggests_a_known_one():
    with pytest.raises(UsageError, match="did you mean 'validation'"):
        choose_loss(results(num_seeds=1), "validaton")


def test_held_out_data_are_told_by_any_trial():
    assert not has_held_out(results(num_seeds=1))
    assert has_held_out(with_held_out(results(num_seeds=1)))
    assert not has_held_out(frame([]))


def test_pairs_name_result_columns():
    data = results(num_seeds=1)
    assert all({loss.initial, loss.final} <= set(data.columns) for loss in SCORED_LOSSES.values())


def test_optimizers_that_evaluate_other_weights_than_they_train_are_said_on_the_board():
    others = {name for name, target in OPTIMIZERS.items() if load_class(target).evaluated is not Optimizer.evaluated}
    assert set(EVALUATED_ELSEWHERE) == others
    data = results(num_seeds=2).with_columns(optimizer=pl.lit("schedule_free_adamw(beta1=0.95)"))
    assert "schedule_free_adamw: training losses are those at y" in reading_note(leaderboard(data))
    assert "training losses are those at y" not in reading_note(leaderboard(results(num_seeds=2)))


def test_a_held_out_loss_without_one_at_init_is_named_and_scores_nothing():
    with_, without = with_held_out(results(num_seeds=1)), with_held_out(results(num_seeds=1))
    nothing = pl.lit(None, dtype=pl.Float64)
    without = without.with_columns(initial_val_loss=nothing, workload=pl.lit("other"))
    both = pl.concat([with_, without])
    reason = f"other: {without.height} of {without.height} trials with a held-out loss lack that at init"
    assert [text.startswith(reason) for text in unscored_held_out(both).values()] == [True]
    assert has_held_out(without)
    assert not can_score_held_out(without)
    assert can_score_held_out(with_)
    with pytest.raises(UsageError, match=reason):
        choose_loss(both, "validation")
