"""Seeds that would tell neighbours apart: the power of the paired t-test, simulated and as textbooks have it."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.scores.leaderboard import leaderboard
from analysis.scores.seeds.separation import SEPARATION_COLUMNS, seeds_for, seeds_needed, seeds_to_separate
from analysis.scores.table import score_differences
from bench.errors import UsageError
from tests.analysis.scored_results import scored_entries
from tests.analysis.synthetic_results import frame, results, row


def suite(of_method: dict[str, list[float]], **other) -> pl.DataFrame:
    """Two learning rates: at the better one all have loss 1; a method's sensitivity is (loss at the other - 1) / 2."""
    return frame(
        [
            row(method, lr, seed, 1.0 if lr == 0.1 else worse, **other)
            for method, losses in of_method.items()
            for seed, worse in enumerate(losses)
            for lr in (0.1, 1.0)
        ]
    )


@pytest.mark.parametrize(("effect", "needed"), [(0.5, 34), (0.8, 15), (1.0, 10), (0.3, 90), (0.2, None), (5.0, 3)])
def test_textbook_sizes_of_a_paired_t_test(effect, needed):
    # Of the differences' mean over their standard deviation; two-sided 5%, 80% power (G*Power).
    assert seeds_needed(effect, 1 / math.sqrt(4), 4) == needed


def test_power_is_reached_at_that_number_and_not_before():
    # 20,000 repeats: a power of 0.8 is measured with a standard error of 0.003.
    rng = np.random.default_rng(0)
    needed = seeds_needed(0.9, 1 / math.sqrt(5), 5)
    assert needed is not None
    powers = []
    for num_seeds in (needed - 1, needed):
        values = rng.normal(0.9, 1.0, (20_000, num_seeds))
        half = stats.t.ppf(0.975, num_seeds - 1) * values.std(1, ddof=1) / math.sqrt(num_seeds)
        powers.append((values.mean(1) - half > 0).mean())
    assert powers[0] < 0.8 + 0.01
    assert powers[1] >= 0.8 - 0.01


@pytest.mark.parametrize(("difference", "spread", "needed"), [(0.5, 1.0, 34), (-0.16, 0.2, 15), (0.3, 1.0, 90)])
def test_plan_before_a_run_is_the_textbook_size(difference, spread, needed):
    assert seeds_for(difference, spread, 1) == needed


def test_plan_for_several_pairs_takes_the_strictest_step_of_holm():
    # Bonferroni over 21 pairs: the least n at which the test at 0.05 / 21 has 80% power.
    needed = seeds_for(1.0, 1.0, 21)
    assert needed is not None
    powers = [stats.nct.sf(stats.t.isf(0.025 / 21, n - 1), n - 1, math.sqrt(n)) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]
    assert needed > 10


def test_plan_without_spread_or_beyond_reach():
    assert (seeds_for(0.1, 0.0, 1), seeds_for(0.0, 0.0, 1), seeds_for(0.01, 1.0, 1)) == (2, None, None)


@pytest.mark.parametrize(
    ("arguments", "words"), [((0.1, -1.0, 1), "spread >= 0"), ((0.1, math.nan, 1), "finite"), ((0.1, 1.0, 0), "pairs")]
)
def test_plans_that_no_run_can_have_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        seeds_for(*arguments)


def test_differences_without_spread():
    assert (seeds_needed(0.1, 0.0, 3), seeds_needed(0.0, 0.0, 3)) == (2, None)


def test_row_by_hand():
    # Sensitivities by seed 0.5, 0.6, 0.7 and 0.6, 0.9, 0.9: differences 0.1, 0.3, 0.2; mean 0.2, deviation 0.1.
    found = seeds_to_separate(suite({"a": [2.0, 2.2, 2.4], "b": [2.2, 2.8, 2.8]}))
    row_ = found.row(0, named=True)
    assert (found.height, row_["better"], row_["worse"], row_["num_seeds"]) == (1, "a, sgd", "b, sgd", 3)
    assert row_["difference"] == pytest.approx(0.2)
    assert row_["ci_high"] - 0.2 == pytest.approx(4.30265 * 0.1 / math.sqrt(3), rel=1e-5)
    assert (row_["num_seeds_needed"], row_["seeds_needed"]) == (5, "5")
    # The noncentral t at effect 2: power 0.80 is passed between 4 and 5 seeds.
    powers = [stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, 2 * math.sqrt(n)) for n in (4, 5)]
    assert powers[0] < 0.8 <= powers[1]


def test_words_where_there_is_no_number():
    alike = seeds_to_separate(suite({"a": [2.0, 2.2, 2.1], "b": [2.2, 2.0, 2.11]})).row(0, named=True)
    alone = seeds_to_separate(suite({"a": [2.0], "b": [2.5]})).row(0, named=True)
    assert (alike["num_seeds_needed"], alike["seeds_needed"]) == (None, "more than 100")
    assert (alone["num_seeds_needed"], alone["seeds_needed"], alone["ci_low"]) == (None, "unknown", None)


def test_neighbours_share_optimizer_and_knobs_and_have_learned():
    both = pl.concat([suite({"a": [2.0] * 3, "b": [3.0] * 3}), suite({"a": [2.5] * 3}, optimizer="adamw")])
    stuck = frame([row("stuck", lr, seed, 3.99) for lr in (0.1, 1.0) for seed in range(3)])
    found = seeds_to_separate(pl.concat([both, stuck]))
    assert found.select("better", "worse").rows() == [("a, sgd", "b, sgd")]
    assert seeds_to_separate(frame([])).schema == pl.Schema(SEPARATION_COLUMNS)


@pytest.mark.parametrize("score", ["lr_sensitivity", "lr_sensitivity_seedwise"])
def test_rows_are_the_leaderboards_neighbours_with_its_differences(score):
    data = results(num_seeds=3)
    found, board = seeds_to_separate(data, score), leaderboard(data, score)
    pairs = score_differences(scored_entries(data, None, 1, "train"), score)
    order = [f"{method}, sgd" for method in board["method"]]
    assert [found["better"][0], *found["worse"]] == order
    sizes = {
        frozenset((pair["first"], pair["second"])): abs(pair["difference"]) for pair in pairs.iter_rows(named=True)
    }
    expected = [sizes[frozenset(pair)] for pair in found.select("better", "worse").iter_rows()]
    assert found["difference"].to_list() == pytest.approx(expected)
