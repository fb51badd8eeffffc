"""Order, ranks, ties, flags, and the comparison with the paper."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from synthetic_results import METHODS, frame, results, row

from analysis.leaderboard import (
    FLAGS,
    LEADERBOARD_COLUMNS,
    compare,
    differences,
    leaderboard,
    rank_correlations,
)
from analysis.references import load
from bench.errors import UsageError

PROMISED = ["rank", "workload", "method", "optimizer", "lr_sensitivity", "ci_low", "ci_high", "best_loss", "best_lr"]
PROMISED += ["stable_decades", "diverged_share", "num_seeds", "num_trials", "flags"]


def curve(method: str, losses: dict[float, list[float | None]], **other: object) -> list[dict[str, object]]:
    return [row(method, lr, seed, loss, **other) for lr, of_seed in losses.items() for seed, loss in enumerate(of_seed)]


def only(board: pl.DataFrame) -> dict[str, object]:
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
    assert (entry["rank"], entry["num_seeds"], entry["num_trials"], entry["flags"]) == (1, 3, 9, "")
    assert entry["ci_low"] < entry["lr_sensitivity"] < entry["ci_high"]


def test_columns_are_as_promised_also_when_empty():
    for frame_ in (results(num_seeds=2), frame([]), frame([row("softmax", 0.1, 0, None)])):
        board = leaderboard(frame_)
        assert board.columns[: len(PROMISED)] == PROMISED
        assert board.schema == pl.Schema(LEADERBOARD_COLUMNS)


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


def test_indistinguishable_methods_share_a_rank_and_a_worse_one_does_not():
    steady = {0.1: [1.0, 1.1, 0.9, 1.05], 1.0: [2.0, 2.1, 2.0, 1.9]}
    nearly = {0.1: [1.05, 1.0, 0.95, 1.1], 1.0: [2.1, 2.0, 1.9, 2.05]}
    worse = {0.1: [1.0, 1.1, 0.9, 1.05], 1.0: [3.9, 3.95, 3.9, 3.8]}
    board = leaderboard(frame(curve("a", steady) + curve("b", nearly) + curve("c", worse)))
    assert dict(board.select("method", "rank").iter_rows()) == {"a": 1, "b": 1, "c": 3}


def test_entry_at_chance_is_flagged_and_unranked_and_outranks_nobody():
    stuck = {lr: [3.99, 4.0, 3.98] for lr in (0.1, 1.0, 10.0)}
    learns = {0.1: [2.0, 2.1, 2.05], 1.0: [1.0, 1.1, 1.05], 10.0: [3.0, 3.1, 3.05]}
    board = leaderboard(frame(curve("stuck", stuck) + curve("learns", learns)))
    assert board["method"].to_list() == ["stuck", "learns"]
    assert board["rank"].to_list() == [None, 1]
    assert board["flags"].to_list() == ["at_chance", ""]


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
    assert dict(board.select("method", "flags").iter_rows()) == {"a": "", "b": "", "c": "other_grid"}


def test_every_flag_has_a_sentence():
    assert all(sentence.endswith(".") for sentence in FLAGS.values())


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


def test_differences_agree_with_the_leaderboard():
    data = results(num_seeds=3)
    scores = {f"{row['method']}, sgd": row["lr_sensitivity"] for row in leaderboard(data).iter_rows(named=True)}
    pairs = differences(data)
    assert pairs.height == len(METHODS) * (len(METHODS) - 1) // 2
    for pair in pairs.iter_rows(named=True):
        assert pair["difference"] == pytest.approx(scores[pair["first"]] - scores[pair["second"]])
        assert pair["p_holm"] >= pair["p_value"]


def test_comparison_matches_labels_with_parameters():
    compared = compare(leaderboard(results()), load("paper"))
    assert sorted(compared["method"]) == sorted(METHODS)
    window = compared.filter(pl.col("method") == "window_softmax(width=8)").row(0, named=True)
    assert (window["paper_lr_sensitivity"], window["paper_rank"]) == (2.20, 6)


def test_exact_label_goes_before_the_bare_name():
    references = pl.DataFrame(
        {"method": ["m", "m(a=1)"], "lr_sensitivity": [1.0, 2.0], "source": "here", "note": ""},
    )
    rows = [row for method in ("m(a=1)", "m(a=2)", "n") for row in curve(method, {0.1: [2, 2], 1.0: [1, 1]})]
    compared = compare(leaderboard(frame(rows)), references)
    found = dict(compared.select("method", "paper_lr_sensitivity").iter_rows())
    assert found == {"m(a=1)": 2.0, "m(a=2)": 1.0}


def test_rank_correlations_agree_with_scipy():
    compared = compare(leaderboard(results()), load("paper"))
    found = rank_correlations(compared).row(0, named=True)
    ours, paper = compared["lr_sensitivity"].to_numpy(), compared["paper_lr_sensitivity"].to_numpy()
    assert found["spearman"] == pytest.approx(stats.spearmanr(ours, paper).statistic)
    assert found["kendall"] == pytest.approx(stats.kendalltau(ours, paper).statistic)
    assert found["num_methods"] == 7
