"""Ranks under each score and their correlations, by hand."""

import random

import polars as pl
import pytest
from scipy import stats

from analysis.across.disagreement import (
    SCORE_CORRELATION_COLUMNS,
    costs,
    rank_agreement,
    score_correlations,
    score_ranks,
)
from analysis.curves import ENTRY
from analysis.scores.kinds import SCORE_KINDS
from bench.errors import UsageError


def table(values: dict[str, list[float | None]], *, at_chance: tuple[str, ...] = (), note: str = "") -> pl.DataFrame:
    """Values by score, one a method a, b, c, ..."""
    rows = [
        {
            **dict(zip(ENTRY, ("w", "abcdef"[place], "sgd", ""), strict=True)),
            "score": score,
            "value": value,
            "higher_is_better": SCORE_KINDS[score].higher_is_better,
            "at_chance": "abcdef"[place] in at_chance,
            "note": note,
        }
        for score, of_score in values.items()
        for place, value in enumerate(of_score)
    ]
    schema = {**dict.fromkeys((*ENTRY, "score", "note"), pl.String), "value": pl.Float64}
    return pl.DataFrame(rows, schema_overrides={**schema, "higher_is_better": pl.Boolean, "at_chance": pl.Boolean})


def ranks(found: pl.DataFrame, score: str) -> list[int | None]:
    return score_ranks(found).filter(score=score)["rank"].to_list()


def test_better_comes_first_whichever_way_the_score_points():
    found = table({"best_loss": [1.0, 3.0, 2.0], "stable_decades": [1.0, 3.0, 2.0], "best_lr": [1.0, 3.0, 2.0]})
    assert ranks(found, "best_loss") == [1, 3, 2]
    assert ranks(found, "stable_decades") == [3, 1, 2]
    assert ranks(found, "best_lr") == []


def test_ties_share_a_rank():
    assert ranks(table({"best_loss": [1.0, 1.0, 2.0]}), "best_loss") == [1, 1, 3]


def test_who_never_got_there_is_last_and_who_was_not_measured_has_no_rank():
    assert ranks(table({"steps_to_target": [5.0, None, 3.0]}), "steps_to_target") == [2, 3, 1]
    assert ranks(table({"edge_lr": [0.1, None, 0.3]}), "edge_lr") == [2, 3, 1]
    assert ranks(table({"loss_at_default": [5.0, None, 3.0]}), "loss_at_default") == [2, None, 1]
    assert ranks(table({"steps_to_target": [5.0, None]}, note="no traces"), "steps_to_target") == [1, None]
    assert costs(table({"steps_to_target": [None, None]})).height == 0


def test_entries_at_chance_have_no_rank():
    found = score_ranks(table({"best_loss": [1.0, 3.0, 2.0]}, at_chance=("a",)))
    assert found.select("method", "rank").rows() == [("b", 2), ("c", 1)]


def test_correlations_by_hand():
    # Ranks 1 2 3 4 against 2 1 4 3: rho = 1 - 6 * 4 / (4 * 15) = 0.6; of 6 pairs 4 agree: tau = 1/3.
    found = score_correlations(table({"best_loss": [1, 2, 3, 4], "lr_sensitivity": [2, 1, 4, 3]})).row(0, named=True)
    assert (found["spearman"], found["kendall"], found["num_methods"]) == (pytest.approx(0.6), pytest.approx(1 / 3), 4)


def test_agreement_is_of_better_with_better():
    found = score_correlations(table({"best_loss": [1, 2, 3], "stable_decades": [3, 2, 1]}))
    assert found["spearman"].to_list() == [1.0]


def test_lowest_agreement_comes_first():
    found = score_correlations(
        table({"best_loss": [1, 2, 3], "lr_sensitivity": [1, 3, 2], "diverged_share": [0.3, 0.2, 0.1]})
    )
    assert found["spearman"].to_list() == sorted(found["spearman"])
    assert found.row(0)[1:3] == ("best_loss", "diverged_share")
    assert found.schema == pl.Schema(SCORE_CORRELATION_COLUMNS)


def test_too_few_methods_or_ties_have_no_correlation():
    few = score_correlations(table({"best_loss": [1, 2], "lr_sensitivity": [2, 1]}))
    tied = score_correlations(table({"best_loss": [1, 2, 3], "lr_sensitivity": [1, 1, 1]}))
    assert few["spearman"].to_list() == tied["kendall"].to_list() == [None]


def test_columns_are_checked():
    with pytest.raises(UsageError, match="the score table lacks the columns"):
        score_ranks(pl.DataFrame({"score": ["x"]}))


def test_correlations_with_one_score_are_those_of_all_pairs_that_have_it():
    found = table({"best_loss": [1, 2, 3, 4], "lr_sensitivity": [2, 1, 4, 3], "edge_lr": [1, 3, 2, 4]})
    every = score_correlations(found)
    expected = every.filter((pl.col("first") == "lr_sensitivity") | (pl.col("second") == "lr_sensitivity"))
    assert (every.height, expected.height) == (3, 2)
    assert score_correlations(found, "lr_sensitivity").equals(expected)


@pytest.mark.parametrize("num_values", [3, 4, 7, 30])
@pytest.mark.parametrize("num_levels", [2, 3, 5, 10**6])  # few levels: many ties
def test_agreement_of_ranks_is_that_of_scipy_to_the_last_bit(num_values, num_levels):
    compared = 0
    for seed in range(50):
        chance = random.Random(seed)
        first, second = (pl.Series([chance.randrange(num_levels) / 3 for _ in range(num_values)]) for _ in range(2))
        if min(first.n_unique(), second.n_unique()) < 2:
            assert rank_agreement(first, second) == (None, None)
            continue
        expected = (stats.spearmanr(first, second).statistic, stats.kendalltau(first, second).statistic)
        assert rank_agreement(first, second) == expected
        compared += 1
    assert compared > 10
