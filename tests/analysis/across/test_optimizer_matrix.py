"""Optimizers x methods: by hand, correlations against scipy, and as text."""

import polars as pl
import pytest
from scipy import stats

from analysis.across.optimizer_matrix import (
    OPTIMIZER_MATRIX_COLUMNS,
    optimizer_matrix,
    rank_correlations,
)
from analysis.scores.leaderboard import leaderboard
from tests.analysis.synthetic_results import frame, results, row


def board(scores: dict[str, dict[str, float]]) -> pl.DataFrame:
    """A leaderboard whose sensitivities are `scores`, optimizer first; at init 4, the best loss 1, so below 1.5."""
    return leaderboard(
        frame(
            [
                row(method, lr, seed, 1.0 if lr == 0.1 else 1.0 + 2 * score, optimizer=optimizer)
                for optimizer, of_method in scores.items()
                for method, score in of_method.items()
                for lr in (0.1, 1.0)
                for seed in range(3)
            ]
        )
    )


BY_HAND = {"sgd": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, "adamw": {"a": 0.3, "b": 0.1, "c": 0.4, "d": 0.5}}


def test_matrix_by_hand():
    found = optimizer_matrix(board(BY_HAND))
    assert found.schema == pl.Schema(OPTIMIZER_MATRIX_COLUMNS)
    assert found["method"].unique(maintain_order=True).to_list() == ["b", "a", "c", "d"]  # means 0.15, 0.2, 0.35, 0.45
    assert found["method_mean"].to_list() == pytest.approx([0.15, 0.15, 0.2, 0.2, 0.35, 0.35, 0.45, 0.45])
    ranks = found.filter(optimizer="adamw").sort("method")["method_rank"].to_list()
    assert ranks == [2, 1, 3, 4]


def test_correlations_by_hand():
    # Ranks 1 2 3 4 and 2 1 3 4: Spearman 1 - 6 * 2 / (4 * 15), Kendall (5 - 1) / 6.
    found = rank_correlations(board(BY_HAND)).row(0, named=True)
    assert (found["first"], found["second"], found["num_methods"]) == ("adamw", "sgd", 4)
    assert (found["spearman"], found["kendall"]) == (pytest.approx(0.8), pytest.approx(2 / 3))


def test_correlations_agree_with_scipy():
    data = pl.concat(
        [
            results(num_seeds=2),
            results(num_seeds=2, seed=5).with_columns(optimizer=pl.lit("a"), trial_id=pl.col("trial_id") + "a"),
        ]
    )
    full = leaderboard(data)
    wide = full.pivot("optimizer", index="method", values="lr_sensitivity")
    found = rank_correlations(full).row(0, named=True)
    for name, of_scipy in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        assert found[name] == pytest.approx(of_scipy(wide["a"], wide["sgd"])[0])


def test_methods_at_chance_or_missing_do_not_count():
    stuck = [
        row("e", lr, seed, 3.99, optimizer=name) for name in ("sgd", "adamw") for lr in (0.1, 1.0) for seed in range(3)
    ]
    lone = [row("f", lr, seed, 1.0 + lr) for lr in (0.1, 1.0) for seed in range(3)]
    both = pl.concat([board(BY_HAND), leaderboard(frame(stuck + lone))])
    assert rank_correlations(both).row(0)[-3:] == pytest.approx((0.8, 2 / 3, 4))
    matrix = optimizer_matrix(both)
    assert matrix.filter(method="e").select("at_chance", "method_rank", "method_mean").unique().row(0) == (
        True,
        None,
        None,
    )
    assert matrix["method"].to_list()[-2:] == ["e", "e"]
    assert matrix.filter(method="f").height == 1


def test_fewer_than_three_methods_and_ties_have_no_correlation():
    two = rank_correlations(board({"sgd": {"a": 0.1, "b": 0.2}, "adamw": {"a": 0.3, "b": 0.1}}))
    tied = rank_correlations(board({name: dict.fromkeys("abc", 0.25) for name in ("sgd", "adamw")}))
    for found, num_methods in ((two, 2), (tied, 3)):
        assert found.select("spearman", "kendall", "num_methods").row(0) == (None, None, num_methods)


def test_one_optimizer_has_no_matrix():
    lone = board({"sgd": {"a": 0.1, "b": 0.2}})
    assert optimizer_matrix(lone).is_empty()
    assert rank_correlations(lone).is_empty()


def test_three_optimizers_have_three_pairs():
    three = board({**BY_HAND, "muon": BY_HAND["sgd"]})
    found = rank_correlations(three)
    assert found.select("first", "second").rows() == [("adamw", "muon"), ("adamw", "sgd"), ("muon", "sgd")]
    assert found["spearman"].to_list() == pytest.approx([0.8, 0.8, 1.0])


def test_order_of_rows_is_irrelevant():
    found = board(BY_HAND)
    assert optimizer_matrix(found.sample(fraction=1.0, shuffle=True, seed=2)).equals(optimizer_matrix(found))
