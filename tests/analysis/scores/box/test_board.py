"""The board of a box: losses from results, errors over designs and seeds, ranks, controls, failures."""

import math
from functools import partial

import numpy as np
import polars as pl
import pytest

from analysis.scores.box.board import box_board, box_differences, score_box
from analysis.scores.box.curves import DELTAS, budget_curves, overtakings, share_curves
from analysis.scores.box.errors import crossed
from analysis.scores.box.losses import box_losses
from analysis.scores.flags import flags_of
from analysis.scores.robustness import mean_of_present
from tests.analysis.box_simulation import coverage, simulate
from tests.analysis.synthetic_results import frame, row


def _mean(losses: np.ndarray, initial: np.ndarray) -> np.ndarray:
    return np.nanmean(losses, (1, 2))


@pytest.fixture(scope="module")
def scored():
    return score_box(simulate(np.random.default_rng(0), widths=(0.3, 0.6, 0.6)), {"m2": "m1"})


def test_the_error_of_a_mean_without_seeds_is_that_of_its_replicates():
    """One seed: Student's t over the means of replicates."""
    box = simulate(np.random.default_rng(1), num_seeds=1)
    error, freedom = crossed(_mean, box).error()
    means = box.losses_MNS[:, :, 0].reshape(2, 8, -1).mean(2)
    np.testing.assert_allclose(error, means.std(1, ddof=1) / math.sqrt(8))
    assert freedom.tolist() == pytest.approx([7.0, 7.0])


def test_what_a_seed_does_to_all_points_alike_is_in_the_error():
    box = simulate(np.random.default_rng(2), noise=0.0, seed_shift=0.0, num_seeds=3)
    moved = np.array([0.0, 3.0, 6.0])
    error, _ = crossed(lambda losses, initial: _mean(losses, initial), box).error()
    shifted = box.__class__(**{**vars(box), "losses_MNS": box.losses_MNS + moved})
    more, _ = crossed(_mean, shifted).error()
    np.testing.assert_allclose(more**2, error**2 + moved.var(ddof=1) / 3, rtol=0.01)


def test_differences_are_of_the_same_points_and_seeds(scored):
    """A control whose losses are its method's differs by 0, and not by the error of each."""
    losses = scored.losses
    copied = losses.losses_MNS.copy()
    copied[2] = copied[1]
    twin = score_box(losses.__class__(**{**vars(losses), "losses_MNS": copied}), {"m2": "m1"})
    found = twin.difference("robust_share", 2, 1)
    assert (found.value, found.error, found.p_value) == (0.0, 0.0, 1.0)


def test_board_has_ranks_of_compared_methods_and_the_floor_of_controls(scored):
    board = box_board([scored])
    rows = {one["method"]: one for one in board.iter_rows(named=True)}
    assert (rows["m1"]["rank"], rows["m1"]["rank_worst"]) == (1, 1)
    assert (rows["m0"]["rank"], rows["m0"]["rank_worst"]) == (2, 2)
    assert rows["m2"]["rank"] is None
    assert "control" in flags_of(rows["m2"]["flags"])
    assert rows["m2"]["floor_ci_low"] < 0 < rows["m2"]["floor_ci_high"]
    assert board["robust_share"].to_list() == sorted(board["robust_share"], reverse=True)
    for name in ("robust_share", "robust_share_board", "expected_best_32"):
        for one in rows.values():
            assert one[f"{name}_ci_low"] <= one[name] <= one[f"{name}_ci_high"]


def test_differences_are_corrected_for_the_pairs_of_a_score():
    box = score_box(simulate(np.random.default_rng(3), widths=(0.3, 0.4, 0.6)), {})
    found = box_differences([box]).filter(score="robust_share")
    assert found.height == 3
    assert (found["p_holm"] >= found["p_value"]).all()
    assert min(found["p_holm"]) == pytest.approx(min(3 * min(found["p_value"]), 1.0))


def test_curves_meet_the_board(scored):
    board = {one["method"]: one for one in box_board([scored]).iter_rows(named=True)}
    shares = share_curves([scored])
    assert shares.height == 2 * 3 * len(DELTAS)
    at = shares.filter(delta=0.1, best="own")
    assert dict(at.select("method", "share").iter_rows()) == {m: one["robust_share"] for m, one in board.items()}
    assert (shares.filter(delta=1.0)["share"] == 1.0).all()
    budgets = budget_curves([scored])
    assert dict(budgets.filter(num_draws=32).select("method", "loss").iter_rows()) == pytest.approx(
        {m: one["expected_best_32"] for m, one in board.items()}
    )
    means = dict(zip(scored.losses.methods, mean_of_present(scored.losses.losses_MNS).mean(1), strict=True))
    assert dict(budgets.filter(num_draws=1).select("method", "loss").iter_rows()) == pytest.approx(means)


def test_a_narrow_deep_bowl_overtakes_a_wide_shallow_one():
    box = simulate(np.random.default_rng(4), widths=(0.2, 0.8), noise=0.0)
    box.losses_MNS[1] = 1.0 + 0.75 * box.losses_MNS[1]
    (row,) = overtakings([score_box(box, {})]).iter_rows(named=True)
    assert (row["ahead"], row["overtaken_by"]) == ("m1", "m0")
    assert row["num_draws"] > 1
    assert row["first_difference"] > 0 > row["last_difference"]


def test_failures_count_as_the_loss_at_init_and_lost_trials_as_missing():
    rows = [
        row("a", 0.1, 0, math.inf, trial_id="diverged"),
        row("a", 0.1, 0, 9.0, trial_id="blown up"),
        row("a", 0.1, 0, 1.0, trial_id="fine"),
        row("a", 0.1, 0, None, trial_id="lost"),
    ]
    places = pl.DataFrame({"trial_id": [one["trial_id"] for one in rows], "point": range(4)}).with_columns(
        workload=pl.lit("w"), method=pl.lit("a"), optimizer=pl.lit("o"), knobs=pl.lit("")
    )
    points = pl.DataFrame({"point": range(4), "replicate": [0, 0, 1, 1]})
    (box,) = box_losses(frame(rows), places, points)
    np.testing.assert_array_equal(box.losses_MNS[0, :, 0], [4.0, 4.0, 1.0, np.nan])
    assert box.num_lost_M.tolist() == [1]
    assert box.diverged_MNS.sum() == 1


def test_a_loss_at_init_that_a_knob_moves_counts_by_its_median():
    rows = [row("a", 0.1, 0, 50.0, trial_id=str(n), initial_loss=at) for n, at in enumerate((1.0, 4.0, 900.0))]
    places = pl.DataFrame({"trial_id": ["0", "1", "2"], "point": range(3)}).with_columns(
        workload=pl.lit("w"), method=pl.lit("a"), optimizer=pl.lit("o"), knobs=pl.lit("")
    )
    (box,) = box_losses(frame(rows), places, pl.DataFrame({"point": range(3), "replicate": [0, 1, 2]}))
    assert box.losses_MNS.ravel().tolist() == [4.0, 4.0, 4.0]


@pytest.mark.whole
@pytest.mark.parametrize("design", ["qmc", "random"])
def test_intervals_cover_their_expectation(design):
    """A glance: 0.95 of 50 boxes has a standard error of 0.03; python -m tests.analysis.box_simulation has more."""
    found = coverage(num_boxes=50, seed=5, design=design)
    for score in ("robust_share", "expected_best_32"):
        assert found[score] == pytest.approx(0.95, abs=0.08)


def test_a_method_that_learns_little_has_no_rank():
    box = simulate(np.random.default_rng(6))
    box.losses_MNS[0] = box.initial_MS[0] - 0.01
    (row,) = box_board([score_box(box, {})]).filter(method="m0").iter_rows(named=True)
    assert row["rank"] is None
    assert {"at_chance", "learned_little"} <= set(flags_of(row["flags"]))


def test_a_statistic_of_a_part_is_that_part(scored):
    whole = crossed(partial(lambda losses, initial: np.stack([_mean(losses, initial)] * 2)), scored.losses)
    one, both = whole.of(lambda value: value[..., 0, :]).error(), whole.error()
    np.testing.assert_array_equal(one[0], both[0][0])
