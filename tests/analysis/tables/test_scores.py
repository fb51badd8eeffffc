"""Tables of other scores: what they leave to the leaderboard, ranks, agreement, and what goes on in another table."""

import polars as pl
import pytest

from analysis.across.disagreement import score_correlations
from analysis.across.learned import ranking_table
from analysis.tables.scores import aggregate_tables, correlation_tables, rank_tables, scores_tables
from tests.analysis.report.test_score_sections import learning, suite, table
from tests.analysis.scored_results import scored_entries, scored_table
from tests.analysis.synthetic_results import METHODS, frame, results, row, traces


def ranking(data: pl.DataFrame) -> pl.DataFrame:
    return ranking_table(table(data), scored_entries(data, None, 1, "train"))


def test_what_the_leaderboard_shows_is_not_shown_again():
    titles = [title for one in scores_tables(table(suite())) for title in one.titles[1:]]
    assert titles == [
        "LR sensitivity, seedwise",
        "LR sensitivity, windowed",
        "Edge",
        "Loss at default lr",
        "Spread over seeds",
    ]


def test_cells_have_the_interval_and_censored_edges_say_so():
    (first, *_) = scores_tables(table(suite()))
    edges = [cells[first.titles.index("Edge")] for cells in first.texts]
    assert edges[0] == "≥ 1 [0.316, ≥ 1]"
    assert edges[1] == "0.1 [0.0316, 0.316]"


def test_entries_at_chance_are_marked_and_not_ranked():
    stuck = frame([row("stuck", lr, seed, 3.99, workload="w") for lr in (0.01, 0.1, 1.0) for seed in range(3)])
    data = table(pl.concat([suite(), stuck]))
    assert scores_tables(data)[0].texts[-1][0] == "stuck*"
    assert [cells[0] for cells in rank_tables(data)[0].texts] == ["a", "b", "c"]


def test_optimizers_are_named_where_there_are_several():
    assert [cells[0] for cells in rank_tables(table(suite(optimizers=("sgd", "adamw"))))[0].texts][:2] == [
        "a, adamw",
        "a, sgd",
    ]


def test_ranks_under_each_score():
    """In tables of as many columns as a page holds."""
    found = rank_tables(table(suite()))
    assert len(found) > 1
    ranks = {name: texts for one in found for name, texts in zip(one.titles, zip(*one.texts, strict=True), strict=True)}
    assert ranks["Edge"] == ("1", "2", "3")
    assert ranks["Diverged"] == ("1", "2", "3")
    assert ranks["Best loss"] == ("1", "2", "3")


def test_correlations_are_with_the_sensitivity():
    (found,) = correlation_tables(score_correlations(table(suite())))
    assert "LR sensitivity" not in [cells[0] for cells in found.texts]
    assert len(found.texts) == 8
    assert found.texts[0][3] == "3"


def test_aggregates_need_several_workloads_and_methods():
    assert aggregate_tables(table(suite())) == []
    assert aggregate_tables(table(suite(workloads=("w", "v"), methods=("a", "b")))) == []
    found = {one.heading.split(" over")[0]: one for one in aggregate_tables(table(suite(workloads=("w", "v", "u"))))}
    # One order of 6 on all of 3 workloads: 1 / 6^2.
    assert "3 workloads: Friedman p 0.028 (exact), critical difference 1.91" in found["Edge"].heading
    assert found["Edge"].texts == (("a", "1.00", "–"), ("b", "2.00", "–"), ("c", "3.00", "–"))
    assert found["Best loss"].texts[0] == ("a", "1.00", "1.00")


@pytest.mark.parametrize("loss", [3.99, 3.0])  # at chance; learned 1 where b learned 3.05
def test_a_method_that_did_not_learn_on_a_workload_ranks_last_there(loss):
    data = learning(suite(workloads=("w", "v"))).with_columns(
        final_loss=pl.when(workload="v", method="a").then(loss).otherwise("final_loss"),
        outcome=pl.when(workload="v", method="a").then(pl.lit("completed")).otherwise("outcome"),
    )
    tables = aggregate_tables(ranking(data))
    found = {one.heading.split(" over")[0]: dict(row[:2] for row in one.texts) for one in tables}
    # Sensitivities rise from a to c where they learn; that of a on v is 0.
    for score in ("LR sensitivity", "Best loss"):
        assert found[score] == {"a": "2.00", "b": "1.50", "c": "2.50"}


def test_wide_tables_go_on_in_others():
    data = results(num_seeds=2, methods={name: METHODS[name] for name in ("softmax", "relu_kernel")})
    scored = scored_table(data, traces(data), 21, "train")
    for tables in (scores_tables(scored), rank_tables(scored)):
        assert len(tables) > 1
        assert [one.heading.endswith(", continued") for one in tables] == [False] + [True] * (len(tables) - 1)
        assert len({one.titles for one in tables}) == len(tables)
