"""Ours beside published numbers: what matches what, ranks, and rank correlations."""

import polars as pl
import pytest
from scipy import stats

from analysis.across.comparison import compare, rank_correlations, unranked
from analysis.references import load
from analysis.scores.leaderboard import leaderboard
from analysis.tables.published import COMPARISON_FORMATS
from bench.errors import UsageError
from tests.analysis.synthetic_results import METHODS, frame, results, row


def rows_of(method: str, **other: object) -> list[dict[str, object]]:
    return [row(method, lr, seed, loss, **other) for lr, loss in ((0.1, 2.0), (1.0, 1.0)) for seed in (0, 1)]


def references(numbers: dict[tuple[str, str], float]) -> pl.DataFrame:
    rows = [(*key, value, "here", "") for key, value in numbers.items()]
    return pl.DataFrame(rows, schema=["workload", "method", "lr_sensitivity", "source", "note"], orient="row")


def published(board: pl.DataFrame, numbers: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    found = compare(board, references(numbers)).select("workload", "method", "paper_lr_sensitivity")
    return {(workload, method): value for workload, method, value in found.iter_rows()}


def test_labels_with_parameters_match_the_bare_name():
    compared = compare(leaderboard(results()), load("paper"))
    assert sorted(compared["method"]) == sorted(METHODS)
    window = compared.filter(pl.col("method") == "window_softmax(width=8)").row(0, named=True)
    assert (window["paper_lr_sensitivity"], window["paper_rank"]) == (2.20, 6)


def test_exact_method_goes_before_the_bare_name():
    board = leaderboard(frame([row for method in ("m(a=1)", "m(a=2)", "n") for row in rows_of(method, workload="w")]))
    found = published(board, {("w", "m"): 1.0, ("w", "m(a=1)"): 2.0})
    assert found == {("w", "m(a=1)"): 2.0, ("w", "m(a=2)"): 1.0}


def test_same_method_on_another_workload_is_no_match():
    board = leaderboard(frame(rows_of("m", workload="w") + rows_of("m", workload="v") + rows_of("m", workload="u")))
    found = published(board, {("w", "m"): 1.0, ("v", "m"): 2.0, ("x", "m"): 3.0})
    assert found == {("w", "m"): 1.0, ("v", "m"): 2.0}


def test_workload_with_parameters_matches_its_name_unless_it_has_numbers_of_its_own():
    workloads = ("w(num_steps=1)", "w(num_steps=2)", "w")
    board = leaderboard(frame([row for workload in workloads for row in rows_of("m", workload=workload)]))
    found = published(board, {("w", "m"): 1.0, ("w(num_steps=2)", "m"): 2.0})
    assert found == {("w(num_steps=1)", "m"): 1.0, ("w(num_steps=2)", "m"): 2.0, ("w", "m"): 1.0}


def test_nothing_in_common_is_said():
    board = leaderboard(frame(rows_of("softmax", workload="language_modeling")))
    with pytest.raises(UsageError, match=r"no method of language_modeling is among .* of in_context_regression"):
        compare(board, load("paper"))


def test_ranks_are_within_a_workload():
    rows = [
        row(method, lr, 0, loss, workload=workload)
        for workload in ("v", "w")
        for method, other in (("a", 2.0), ("b", 3.0))
        for lr, loss in ((0.1, 1.0), (1.0, other))
    ]
    numbers = {("v", "a"): 1.0, ("v", "b"): 2.0, ("w", "a"): 4.0, ("w", "b"): 3.0}
    compared = compare(leaderboard(frame(rows)), references(numbers)).select(
        "workload", "method", "our_rank", "paper_rank"
    )
    assert sorted(compared.rows()) == [("v", "a", 1, 1), ("v", "b", 2, 2), ("w", "a", 1, 2), ("w", "b", 2, 1)]


AT_CHANCE = {
    "softmax": [9.01, 3.61, 9.41],
    "relu_kernel": [6.21, 4.01, 5.21],
    "elu_kernel": [8.41, 3.71, 8.01],
    "qk_layernorm_weight_clipped": [5.61, 3.51, 5.01],
    "sigmoid_kernel": [9.98, 9.94, 9.99],
}


def test_an_entry_at_chance_has_no_rank_beside_published_numbers():
    rows = [
        row(method, lr, seed, loss + (2 * seed - 1) / 100, initial_loss=10.0)
        for method, losses in AT_CHANCE.items()
        for lr, loss in zip((0.001, 0.01, 0.1), losses, strict=True)
        for seed in (0, 1)
    ]
    compared = compare(leaderboard(frame(rows)), load("paper"))
    learned = compared.filter(~pl.col("at_chance"))
    assert learned["lr_sensitivity"].to_list() == pytest.approx([1.133, 1.2, 3.0, 3.733], abs=1e-3)
    assert learned["our_rank"].to_list() == learned["paper_rank"].to_list() == [1, 2, 3, 4]
    chance = compared.filter("at_chance").row(0, named=True)
    assert (chance["method"], chance["our_rank"], chance["paper_rank"]) == ("sigmoid_kernel", None, None)
    assert unranked(compared).endswith("left out of the correlations: sigmoid_kernel, sgd on in_context_regression")
    found = rank_correlations(compared).row(0, named=True)
    assert (found["spearman"], found["kendall"], found["num_methods"]) == pytest.approx((1.0, 1.0, 4))
    for form in ("markdown", "html", "latex"):
        text = COMPARISON_FORMATS[form](compared).replace("<wbr>", "")
        assert "at chance, so without a rank" in text


def test_a_published_number_counts_once_beside_variants_of_its_method():
    """`window_softmax(width=4)` beside `window_softmax` is another setting, and no eighth published score."""
    names = ("softmax", "relu_kernel", "elu_kernel", "relu_kernel(eps=1e-6)")
    rows = [
        dict(one, final_loss=one["final_loss"] + place / 9) for place, name in enumerate(names) for one in rows_of(name)
    ]
    compared = compare(leaderboard(frame(rows)), load("paper"))
    assert compared.filter("is_variant")["method"].to_list() == ["relu_kernel(eps=1e-6)"]
    assert compared.filter("is_variant").select("our_rank", "paper_rank").row(0) == (None, None)
    assert rank_correlations(compared)["num_methods"].to_list() == [3]
    assert unranked(compared).startswith("beside an entry of the published name, so without a rank")


def test_all_have_a_rank_where_all_learned():
    assert unranked(compare(leaderboard(results()), load("paper"))) == ""


def test_rank_correlations_agree_with_scipy():
    compared = compare(leaderboard(results()), load("paper"))
    found = rank_correlations(compared).row(0, named=True)
    ours, paper = compared["lr_sensitivity"].to_numpy(), compared["paper_lr_sensitivity"].to_numpy()
    assert found["spearman"] == pytest.approx(stats.spearmanr(ours, paper)[0])
    assert found["kendall"] == pytest.approx(stats.kendalltau(ours, paper)[0])
    assert found["num_methods"] == 7
