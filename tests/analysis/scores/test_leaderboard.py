"""Order, ranks, ties, flags, and what is measured on held-out data."""

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.scores.flags import FLAGS
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.leaderboard import LEADERBOARD_COLUMNS, leaderboard
from analysis.scores.robustness import SENSITIVITIES
from analysis.scores.table import measured_entries, score_differences, score_table
from bench.errors import UsageError
from tests.analysis.scored_results import scored_entries
from tests.analysis.synthetic_results import frame, results, row, with_held_out

SCORES_ALONG_LRS = (*SENSITIVITIES, "lr_sensitivity_windowed", "stable_decades", "best_lr")
PROMISED = ["rank", "rank_worst", "workload", "method", "optimizer", "lr_sensitivity", "ci_low", "ci_high"]
PROMISED += ["best_loss", "best_lr", "stable_decades", "diverged_share", "blown_up_share", "stuck_share"]
PROMISED += ["blown_up_loss"]
PROMISED += ["num_seeds", "num_trials", "flags"]


def curve(method: str, losses: Mapping[float, Sequence[float | None]], **other: object) -> list[dict[str, object]]:
    return [row(method, lr, seed, loss, **other) for lr, of_seed in losses.items() for seed, loss in enumerate(of_seed)]


def only(board: pl.DataFrame) -> dict[str, Any]:
    assert board.height == 1
    return board.row(0, named=True)


def test_row_by_hand():
    # init 4. Curve: 3, 1, and inf -> 4: (3 + 1 + 4) / 3 - 1 = 5/3. Halfway 2.5: lr 0.1 alone, half a decade each way.
    board = leaderboard(frame(curve("softmax", {0.01: [3, 3, 3], 0.1: [0.5, 1, 1.5], 1.0: [math.inf, 2, 2]})))
    entry = only(board)
    assert entry["lr_sensitivity"] == pytest.approx(5 / 3)
    assert (entry["best_loss"], entry["best_lr"]) == (1.0, 0.1)
    assert entry["stable_decades"] == pytest.approx(1.0)
    assert entry["diverged_share"] == pytest.approx(1 / 9)
    assert (entry["rank"], entry["rank_worst"]) == (1, 1)
    assert (entry["num_seeds"], entry["num_trials"], entry["flags"]) == (3, 9, "coarse_cliff")
    assert entry["ci_low"] < entry["lr_sensitivity"] < entry["ci_high"]


def test_columns_are_as_promised_also_when_empty():
    for frame_ in (results(num_seeds=2), frame([]), frame([row("softmax", 0.1, 0, None)])):
        board = leaderboard(frame_)
        assert board.columns[: len(PROMISED)] == PROMISED
        assert board.schema == pl.Schema(LEADERBOARD_COLUMNS)


def test_an_entry_with_one_learning_rate_has_no_sensitivity_and_no_rank():
    """Its 0.00 would outrank all; what does not need a second rate stays, and whom it stands beside is ranked alone."""
    several = {0.01: [3.0, 3.1], 0.1: [1.0, 1.1], 1.0: [2.0, 2.1]}
    made = frame([*curve("one", {0.1: [0.5, 0.6]}), *curve("several", several)])
    board = {entry["method"]: entry for entry in leaderboard(made).iter_rows(named=True)}
    assert [board["one"][name] for name in ("rank", "lr_sensitivity", "ci_low", "stable_decades")] == [None] * 4
    assert (board["one"]["best_loss"], board["one"]["flags"]) == (pytest.approx(0.55), "few_seeds,one_lr")
    assert [board["several"][name] for name in ("rank", "rank_worst", "flags")] == [1, 1, "few_seeds"]
    entries = measured_entries(made, None, "train")
    table = score_table(entries, "train").filter(method="one", note="one learning rate: nothing varies")
    assert table["score"].to_list() == [*SCORES_ALONG_LRS]
    assert table["value"].null_count() == len(SCORES_ALONG_LRS)
    assert score_differences(entries, "lr_sensitivity").is_empty()


def test_sorted_by_workload_then_score():
    both = pl.concat(
        [
            results(num_seeds=2),
            results(num_seeds=2, seed=1).with_columns(workload=pl.lit("a_workload"), trial_id=pl.col("trial_id") + "b"),
        ]
    )
    board = leaderboard(both)
    assert board.equals(board.sort("workload", "lr_sensitivity"))
    assert board["workload"].n_unique() == 2


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_row_order_is_irrelevant(seed):
    data = results(num_seeds=3)
    board, shuffled = leaderboard(data), leaderboard(data.sample(fraction=1.0, shuffle=True, seed=seed))
    assert board.equals(shuffled)


def test_indistinguishable_methods_share_a_rank_range_and_a_worse_one_does_not():
    steady = {0.1: [1.0, 1.1, 0.9, 1.05], 1.0: [2.0, 2.1, 2.0, 1.9]}
    nearly = {0.1: [1.05, 1.0, 0.95, 1.1], 1.0: [2.1, 2.0, 1.9, 2.05]}
    worse = {0.1: [1.0, 1.1, 0.9, 1.05], 1.0: [3.9, 3.95, 3.9, 3.8]}
    board = leaderboard(frame(curve("a", steady) + curve("b", nearly) + curve("c", worse)))
    assert board.select("method", "rank", "rank_worst").rows() == [("a", 1, 2), ("b", 1, 2), ("c", 3, 3)]


def test_entry_at_chance_is_flagged_and_unranked_and_outranks_nobody():
    stuck = {lr: [3.99, 4.0, 3.98] for lr in (0.1, 1.0, 10.0)}
    learns = {0.1: [2.0, 2.1, 2.05], 1.0: [1.0, 1.1, 1.05], 10.0: [3.0, 3.1, 3.05]}
    board = leaderboard(frame(curve("stuck", stuck) + curve("learns", learns)))
    assert board["method"].to_list() == ["stuck", "learns"]
    assert board.select("rank", "rank_worst").rows() == [(None, None), (1, 1)]
    assert board["flags"].to_list() == ["at_chance", "coarse_cliff"]


def test_an_entry_with_one_seed_has_no_rank_and_counts_in_none():
    # Each scores (1 + h) / 2 - 1 = (h - 1) / 2 by its loss h at the higher lr.
    steady = {0.1: [1.0] * 4, 1.0: [1.40, 1.41, 1.42, 1.43]}
    shaky = {0.1: [1.0] * 4, 1.0: [2.90, 2.91, 2.93, 2.92]}
    board = leaderboard(
        frame(curve("steady", steady) + curve("shaky", shaky) + curve("once", {0.1: [1.0], 1.0: [3.8]}))
    )
    rows = [("steady", 1, 1), ("shaky", 2, 2), ("once", None, None)]
    assert board.select("method", "rank", "rank_worst").rows() == rows
    assert board["num_seeds"].to_list() == [4, 4, 1]


def disjoint_seeds() -> pl.DataFrame:
    wide = {0.001: [0.40, 0.42, 0.41, 0.39], 0.01: [0.21, 0.20, 0.22, 0.19], 0.1: [0.50, 0.48, 0.52, 0.50]}
    narrow = {0.001: [0.60, 0.62, 0.58, 0.61], 0.01: [0.20, 0.21, 0.19, 0.20], 0.1: [0.90, 0.92, 0.91, 0.89]}
    rows = curve("wide", wide, initial_loss=1.0) + curve("narrow", narrow, initial_loss=1.0)
    return frame(rows).with_columns(seed=pl.when(method="wide").then(pl.col("seed") + 100).otherwise("seed"))


def test_entries_of_other_seeds_are_compared_unpaired():
    board = leaderboard(disjoint_seeds())
    assert board.select("method", "rank", "rank_worst").rows() == [("wide", 1, 1), ("narrow", 2, 2)]
    assert board["lr_sensitivity"].to_list() == pytest.approx([0.1650, 0.3692], abs=5e-5)
    assert "needs_seeds" not in ",".join(board["flags"])
    assert sum("unpaired" in flags for flags in board["flags"]) == 1
    pair = score_differences(scored_entries(disjoint_seeds(), None, 1, "train"), "lr_sensitivity").row(0, named=True)
    assert (pair["first"], pair["compared"], pair["num_seeds"]) == ("narrow, sgd", "unpaired", 4)
    assert pair["difference"] == pytest.approx(0.2042, abs=5e-5)
    assert (pair["ci_low"], pair["ci_high"]) == pytest.approx((0.1975, 0.2109), abs=5e-5)
    assert pair["p_holm"] == pair["p_value"] == pytest.approx(1.4e-9, rel=0.05)


@pytest.mark.parametrize(
    ("flag", "rows"),
    [
        ("best_at_border", curve("m", {0.1: [1, 1, 1], 1.0: [2, 2, 2]})),
        ("few_seeds", curve("m", {0.1: [2, 2], 1.0: [1, 1], 10.0: [2, 2]})),
        ("incomplete", curve("m", {0.1: [2, 2, 2], 1.0: [1, 1, 1], 10.0: [2, 2]})),
        ("incomplete,lost_trials", curve("m", {0.1: [2, 2, 2], 1.0: [1, 1, 1], 10.0: [2, 2, None]})),
    ],
)
def test_flag_is_raised(flag, rows):
    assert only(leaderboard(frame(rows)))["flags"] == flag


def test_another_grid_is_flagged():
    usual = {0.1: [2, 2, 2], 1.0: [1, 1, 1], 10.0: [2, 2, 2]}
    narrow = {0.3: [2, 2, 2], 1.0: [1, 1, 1], 3.0: [2, 2, 2]}
    board = leaderboard(frame(curve("a", usual) + curve("b", usual) + curve("c", narrow)))
    assert dict(board.select("method", "flags").iter_rows()) == {
        "a": "needs_seeds",
        "b": "needs_seeds",
        "c": "other_grid",
    }


def test_every_flag_has_a_sentence():
    assert all(sentence.endswith(".") for sentence in FLAGS.values())


BLOWN_UP = {
    0.001: [2.60, 2.63, 2.66],
    0.003: [1.90, 1.93, 1.96],
    0.01: [2.20, 2.23, 2.26],
    0.03: [5231, 48210, 2.9],
}


def test_a_run_that_ends_far_above_its_loss_at_init_blew_up_and_did_not_diverge():
    entry = only(leaderboard(frame(curve("softmax", BLOWN_UP))))
    # Means 2.63, 1.93, 2.23, and that of the last clipped at 4.
    assert entry["lr_sensitivity"] == pytest.approx(2.6975 - 1.93)
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx((0.357, 1.178), abs=5e-4)
    assert (entry["diverged_share"], entry["blown_up_share"], entry["blown_up_loss"]) == (0.0, 2 / 12, 48210.0)
    assert "blown_up" in entry["flags"].split(",")
    seedwise = only(leaderboard(frame(curve("softmax", BLOWN_UP)), "lr_sensitivity_seedwise"))
    assert seedwise["lr_sensitivity"] == pytest.approx(0.6758, abs=5e-5)


@pytest.mark.parametrize(("margin", "share"), [(0.1, 1 / 4), (0.05, 2 / 4), (0.0, 3 / 4), (1.0, 0.0)])
def test_the_margin_decides_what_blew_up(margin, share):
    data = frame(curve("m", {0.01: [1.0, 4.01], 0.1: [4.3, 4.5]})).with_columns(blown_up_margin=pl.lit(margin))
    entry = only(leaderboard(data))
    assert entry["blown_up_share"] == share
    assert (entry["blown_up_loss"] is None) == (share == 0.0)


def test_what_ends_near_its_loss_at_init_is_stuck_and_has_not_diverged():
    """Of a loss at init of 4: 3.79 learned 5.25% of it, 3.81 less than 5%, 4.39 is within the margin, 4.41 above."""
    data = frame(curve("m", {0.01: [3.79, 3.81], 0.1: [4.39, 4.41], 1.0: [math.inf, 1.0]}))
    entry = only(leaderboard(data))
    assert (entry["stuck_share"], entry["blown_up_share"], entry["diverged_share"]) == (2 / 6, 1 / 6, 1 / 6)
    negative = frame(curve("m", {0.01: [-2.0, -2.11], 0.1: [-1.9, -3.0]}, initial_loss=-2.0))
    assert only(leaderboard(negative))["stuck_share"] == 2 / 4


def test_a_negative_loss_at_init_has_its_margin_above_it():
    data = frame(curve("m", {0.01: [-2.0, -1.95], 0.1: [-1.7, -3.0]}, initial_loss=-2.0))
    assert only(leaderboard(data))["blown_up_share"] == 1 / 4


def test_one_seed_has_no_interval():
    entry = only(leaderboard(frame(curve("m", {0.1: [2], 1.0: [1], 10.0: [2]}))))
    assert (entry["ci_low"], entry["ci_high"], entry["num_seeds"]) == (None, None, 1)


def test_seedwise_score_is_named_in_the_definition():
    data = frame(curve("m", {0.1: [1, 1, 1], 1.0: [2, 2, math.inf]}))
    seedwise, averaged = (only(leaderboard(data, score)) for score in ("lr_sensitivity_seedwise", "lr_sensitivity"))
    assert seedwise["definition"] == "lr_sensitivity_seedwise"
    assert (seedwise["lr_sensitivity"], averaged["lr_sensitivity"]) == (pytest.approx(5 / 6), pytest.approx(1.5))


def test_unknown_score_suggests_the_known_one():
    with pytest.raises(UsageError, match="did you mean 'lr_sensitivity'"):
        leaderboard(results(num_seeds=1), "lr_sensitivty")


def test_validation_board_is_the_training_board_of_the_held_out_losses():
    data = with_held_out(results(num_seeds=3))
    swapped = data.with_columns(initial_loss=pl.col("initial_val_loss"), final_loss=pl.col("val_loss"))
    board, expected = leaderboard(data, loss="validation"), leaderboard(swapped)
    names = [name for name in PROMISED if name != "generalisation_gap"]
    assert board.select(names).equals(expected.select(names))
    assert set(board["loss"]) == {"validation"}
    assert not board.select(names).equals(leaderboard(data).select(names))


def test_validation_loss_by_hand():
    # Held-out init 5. Curve: 3, 2, and inf -> 5: (3 + 2 + 5) / 3 - 2 = 4/3; by the training loss lr 0.01 is best.
    losses = {0.01: (1.0, 3.0), 0.1: (1.5, 2.0), 1.0: (math.inf, math.inf)}
    rows = [
        row("m", lr, seed, train, initial_val_loss=5.0, val_loss=held_out)
        for lr, (train, held_out) in losses.items()
        for seed in range(3)
    ]
    validation, train = only(leaderboard(frame(rows), loss="validation")), only(leaderboard(frame(rows)))
    assert validation["lr_sensitivity"] == pytest.approx(4 / 3)
    assert (validation["best_loss"], validation["best_lr"], validation["loss"]) == (2.0, 0.1, "validation")
    assert (train["best_loss"], train["best_lr"], train["loss"]) == (1.0, 0.01, "train")
    assert (train["val_loss"], train["generalisation_gap"]) == (3.0, 2.0)
    assert (validation["val_loss"], validation["generalisation_gap"]) == (2.0, 0.5)


def test_held_out_columns_are_null_without_held_out_data():
    board = leaderboard(results(num_seeds=2))
    measures = [f"{name}{end}" for name in HELD_OUT_SCORES for end in ("", "_ci_low", "_ci_high")]
    assert board.select(measures).null_count().row(0) == (board.height,) * len(measures)


def test_a_leaderboard_does_not_wait_for_the_import_of_scipys_statistics():
    code = "import sys, analysis.scores.leaderboard; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_entry_of_one_seed_is_nobodys_next():
    """What has no rank does not say of another that seeds are too few."""
    rows = [row("b", lr, seed, loss + seed / 100) for lr, loss in ((0.1, 1.0), (0.2, 2.0)) for seed in range(4)]
    rows += [row("once", lr, 0, loss) for lr, loss in ((0.1, 1.0), (0.2, 3.0))]
    flags = {one["method"]: one["flags"].split(",") for one in leaderboard(frame(rows)).iter_rows(named=True)}
    assert "needs_seeds" not in flags["b"]
    assert "few_seeds" in flags["once"]
