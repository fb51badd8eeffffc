"""Methods over several conditions: ranks, ties, tests, profiles and agreement, by hand and by scipy."""

import functools
import json
import math
from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.across.conditions import conditions
from analysis.across.ranking import (
    COMPARED_SCORES,
    REACHES,
    SCORE_COLUMNS,
    AcrossBoard,
    across_board,
    compared_score,
)
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.parts import NO_TRACES
from bench.errors import UsageError
from tests.analysis.across.side_frames import AT_CHANCE, LITTLE, side
from tests.analysis.scored_results import scored_table


def board(*workloads: Mapping[str, float | str], score: str = "lr_sensitivity") -> AcrossBoard:
    """Of the workloads w0, w1, ..., each a side with these sensitivities."""
    return known(json.dumps(workloads), score)


@functools.cache
def known(workloads: str, score: str) -> AcrossBoard:
    sides = {
        f"side{place}": side(values, workload=f"w{place}", floor=1.0 - place / 50)
        for place, values in enumerate(json.loads(workloads))
    }
    return across_board(conditions(sides, "train"), score)


def by_method(found: AcrossBoard, column: str) -> dict[str, float | None]:
    return dict(found.methods.select("method", column).iter_rows())


# Ranks 1 2 3, 2 1 3, 1 3 2: means 4/3, 2, 8/3.
HAND = ({"a": 0.2, "b": 0.3, "c": 0.8}, {"a": 0.4, "b": 0.2, "c": 0.5}, {"a": 0.1, "b": 0.6, "c": 0.15})


def test_mean_ranks_and_profiles_by_hand():
    found = board(*HAND)
    assert by_method(found, "mean_rank") == pytest.approx({"a": 4 / 3, "b": 2, "c": 8 / 3})
    assert found.methods["method"].to_list() == ["a", "b", "c"]
    # Factors of the best: a 1 2 1, b 1.5 1 6, c 4 2.5 1.5; each is worth (4 - factor) / 3, and 0 from 4 on.
    expected = {"a": (3 + 2 + 3) / 9, "b": (2.5 + 3 + 0) / 9, "c": (0 + 1.5 + 2.5) / 9}
    assert by_method(found, "profile") == pytest.approx(expected)
    at = {(row[0], round(row[1], 6)): row[2] for row in found.profiles.iter_rows()}
    assert [at["a", tau] for tau in (1.0, 1.5, 2.0)] == pytest.approx([2 / 3, 2 / 3, 1])
    assert [at["b", tau] for tau in (1.0, 1.5, 4.0)] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert found.profiles["tau"].round(9).unique().sort().to_list() == [1, 1.5, 2, 2.5, 4]
    assert found.notes == ()


def test_the_scores_are_those_of_the_score_table_with_their_ranks():
    found = board(*HAND)
    assert found.scores.columns == list(SCORE_COLUMNS)
    first = found.scores.filter(condition="w0")
    assert dict(first.select("method", "value").iter_rows()) == pytest.approx({"a": 0.2, "b": 0.3, "c": 0.8})
    assert dict(first.select("method", "rank").iter_rows()) == {"a": 1, "b": 2, "c": 3}
    assert found.scores["condition"].to_list() == ["w0"] * 3 + ["w1"] * 3 + ["w2"] * 3


def test_the_test_is_scipys_friedman():
    values = np.random.default_rng(3).uniform(0.1, 1.4, (6, 4))
    found = board(*({"abcd"[place]: float(value) for place, value in enumerate(row)} for row in values))
    assert found.test is not None
    assert found.test.statistic == pytest.approx(stats.friedmanchisquare(*values.T).statistic)
    assert found.test.num_workloads == 6
    # Of 4 methods and 6 workloads: 2.569 sqrt(4 * 5 / 36), Demšar 2006, Table 5(a).
    assert found.test.critical_difference == pytest.approx(2.569 * math.sqrt(20 / 36), abs=1e-3)


def test_conditions_of_one_workload_are_one_trial_of_an_order():
    # Under sgd ranks 1 2 3, under adamw 2 1 3: on average 1.5 1.5 3. On the other workload 1 3 2.
    optimizers = [side(HAND[at], optimizer=name, workload="v") for at, name in enumerate(("sgd", "adamw"))]
    sides = {"one": pl.concat(optimizers), "two": side(HAND[2], workload="w", floor=0.9)}
    found = across_board(conditions(sides, "train"), "lr_sensitivity")
    assert found.test is not None
    assert (found.conditions.height, found.test.num_workloads) == (3, 2)
    assert found.test.statistic == pytest.approx(stats.friedmanchisquare([1.5, 1], [1.5, 3], [3, 2]).statistic)
    assert dict(found.test.mean_ranks.iter_rows()) == {"a": 1.25, "b": 2.25, "c": 2.5}
    assert by_method(found, "mean_rank") == pytest.approx({"a": 4 / 3, "b": 2, "c": 8 / 3})


def test_one_workload_under_many_optimizers_tests_nothing():
    # The same order nine times over, as nine copies of one trial would have it.
    order = {"a": 0.1, "b": 0.4, "c": 0.9}
    parts = [side(order, optimizer=f"o{place}", floor=1 - place / 50) for place in range(9)]
    found = across_board(conditions({"one": pl.concat(parts)}, "train"), "lr_sensitivity")
    assert (found.test, found.groups) == (None, ())
    assert by_method(found, "mean_rank") == {"a": 1, "b": 2, "c": 3}
    assert "the 9 conditions are of one workload" in found.notes[0]


def test_two_sides_of_one_workload_are_no_independent_trials_either():
    sides = {f"side{place}": side(HAND[0], workload="w", floor=1 - place / 50) for place in range(2)}
    assert across_board(conditions(sides, "train"), "lr_sensitivity").test is None


def test_methods_whose_ranks_differ_by_chance_alone_are_one_group():
    assert board(*HAND).groups == (("a", "b", "c"),)


def test_an_order_that_always_holds_is_separated_at_its_ends():
    found = board(*[{"a": 0.1 + place / 50, "b": 0.4, "c": 0.9} for place in range(4)])
    # Mean ranks 1, 2, 3; the critical difference is 2.343 sqrt(12 / 24) = 1.66.
    assert found.groups == (("a", "b"), ("b", "c"))


def test_equal_scores_share_the_mean_of_their_ranks():
    found = board({"a": 0.25, "b": 0.25, "c": 0.5}, {"a": 0.25, "b": 0.5, "c": 0.5}, score="diverged_share")
    assert by_method(found, "mean_rank") == {"a": 2, "b": 2, "c": 2}
    assert found.test is not None
    assert (found.test.statistic, found.test.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("noise", "tied"),
    [
        (0.0, {"a": False, "b": False, "c": False}),
        (0.9, {"a": False, "b": False, "c": True}),  # b is exactly a, so both are best
    ],
)
def test_a_score_that_no_other_is_significantly_better_than_is_marked(noise, tied):
    # Noise is the same for all methods but a bit more of it for c, which alone makes the seeds doubt.
    sides = {
        name: pl.concat(
            [
                side({"a": 0.2, "b": 0.2}, workload=name, floor=floor, num_seeds=4),
                side({"c": 0.6}, workload=name, floor=floor, num_seeds=4, noise=noise),
            ]
        )
        for name, floor in (("w0", 1.0), ("w1", 0.9))
    }
    found = across_board(conditions(sides, "train"), "lr_sensitivity").scores.filter(condition="w0")
    assert dict(found.select("method", "is_tied").iter_rows()) == tied


@pytest.mark.parametrize(("word", "flag"), [(AT_CHANCE, "at_chance"), (LITTLE, "learned_little")])
def test_a_method_that_did_not_learn_ranks_last_and_fails_in_the_profile(word, flag):
    # By their sensitivities, 0.025 and 0.05, both would be first.
    found = board({"a": 0.2, "b": 0.4, "c": word}, {"a": 0.2, "b": 0.4, "c": 0.1})
    first = found.scores.filter(condition="w0")
    assert dict(first.select("method", "rank").iter_rows()) == {"a": 1, "b": 2, "c": 3}
    assert dict(first.select("method", "flag").iter_rows()) == {"a": "", "b": "", "c": flag}
    assert by_method(found, "profile")["c"] == pytest.approx(0.5)
    assert not first.filter(method="c")["is_tied"].item()


def test_two_methods_that_did_not_learn_share_the_last_ranks():
    found = board({"a": 0.2, "b": AT_CHANCE, "c": LITTLE}, {"a": 0.2, "b": 0.4, "c": 0.1})
    first = found.scores.filter(condition="w0")
    assert dict(first.select("method", "rank").iter_rows()) == {"a": 1, "b": 2.5, "c": 2.5}


def test_a_workload_where_no_method_learned_is_left_out():
    found = board(*HAND[:2], dict.fromkeys("abc", AT_CHANCE))
    assert found.conditions["condition"].to_list() == ["w0", "w1"]
    assert found.test is not None
    assert found.test.num_workloads == 2
    assert found.notes == ("left out: w2, sgd of side2: no method learned there",)


def test_a_method_that_a_workload_lacks_has_its_scores_but_no_rank():
    found = board({**HAND[0], "d": 0.1}, *HAND[1:])
    assert by_method(found, "mean_rank") == {**by_method(board(*HAND), "mean_rank"), "d": None}
    assert by_method(found, "profile")["d"] is None
    assert by_method(found, "profile")["a"] == pytest.approx(8 / 9)
    assert by_method(found, "num_conditions") == {"a": 3, "b": 3, "c": 3, "d": 1}
    only = found.scores.filter(method="d")
    assert only.select("condition", "rank").rows() == [("w0", None)]
    assert only["value"].item() == pytest.approx(0.1)
    assert found.notes == ("not on all 3 conditions, so not ranked: d",)


def test_two_methods_are_ranked_without_a_test():
    found = board({"a": 0.2, "b": 0.4}, {"a": 0.5, "b": 0.4}, {"a": 0.1, "b": 0.3})
    assert by_method(found, "mean_rank") == pytest.approx({"a": 4 / 3, "b": 5 / 3})
    assert (found.test, found.groups) == (None, ())
    assert found.profiles.height > 0
    assert found.notes == ("Friedman's test takes three methods on all conditions at least, got 2: none is made",)


def test_one_workload_is_no_comparison():
    with pytest.raises(UsageError, match=r"^a comparison takes two workloads or conditions at least, got 1 \(w0\)$"):
        board(HAND[0])
    with pytest.raises(UsageError, match=r"got 1 \(w0\); left out: w1, sgd of side1: no method learned there$"):
        board(HAND[0], dict.fromkeys("abc", AT_CHANCE))
    with pytest.raises(UsageError, match=r"at least, got none$"):
        across_board(conditions({}, "train"), "lr_sensitivity")


def test_methods_that_do_not_overlap_are_refused():
    with pytest.raises(UsageError, match=r"required two at least on all 2 conditions \(w0, w1\), got none; most are a"):
        board({"a": 0.2, "b": 0.3}, {"c": 0.2, "d": 0.3})
    with pytest.raises(UsageError, match=r", got b; most are b on 2, a on 1, c on 1$"):
        board({"a": 0.2, "b": 0.3}, {"b": 0.2, "c": 0.3})


def test_a_higher_score_ranks_first_where_higher_is_better():
    # At lr 1 a loss of 1 + 2 x 0.9 has learned less than half, so half of the decade is stable.
    found = board({"a": 0.9, "b": 0.2, "c": 0.9}, {"a": 0.9, "b": 0.3, "c": 0.2}, score="stable_decades")
    assert by_method(found, "mean_rank") == {"a": 2.75, "b": 1.25, "c": 2}
    # Half a decade short, of log10 4 decades at most: a on both workloads, c on one.
    short = 1 - 0.5 / math.log10(4)
    assert by_method(found, "profile") == pytest.approx({"a": short, "b": 1, "c": (1 + short) / 2})


def test_edges_are_profiled_by_factors():
    # Edges at lr 0.1 and 1: ten times less than the best is beyond the factor of 4.
    found = board({"a": 0.9, "b": 0.2, "c": 0.9}, {"a": 0.9, "b": 0.3, "c": 0.2}, score="edge_lr")
    assert by_method(found, "mean_rank") == {"a": 2.75, "b": 1.25, "c": 2}
    assert by_method(found, "profile") == {"a": 0, "b": 1, "c": 0.5}
    assert found.profiles.filter(method="c")["share"].to_list() == [0.5, 0.5]


def test_scores_of_zero_have_no_profile_and_the_note_says_where():
    found = board({"a": 0.0, "b": 0.4, "c": 0.5}, {"a": 0.2, "b": 0.4, "c": 0.1})
    assert found.profiles.is_empty()
    assert set(by_method(found, "profile").values()) == {None}
    assert found.notes == ("no profile: a factor of the best takes scores above 0; a has 0 on w0",)
    assert by_method(found, "mean_rank")["a"] == 1.5


def test_a_score_without_a_value_on_a_workload_leaves_it_out():
    # One seed has no spread over seeds.
    sides = {f"s{place}": side(HAND[place], workload=f"w{place}", floor=1 - place / 50) for place in range(2)}
    sides["alone"] = side(HAND[2], workload="w2", floor=0.9, num_seeds=1)
    found = across_board(conditions(sides, "train"), "final_loss_spread")
    assert found.conditions["condition"].to_list() == ["w0", "w1"]
    assert "left out: w2: no Spread over seeds there" in found.notes


def test_ranks_under_other_scores_are_of_the_same_methods():
    found = board({**HAND[0], "d": 0.1}, *HAND[1:])
    under = found.score_ranks.filter(score="lr_sensitivity_seedwise")
    assert dict(under.select("method", "mean_rank").iter_rows()) == pytest.approx({"a": 4 / 3, "b": 2, "c": 8 / 3})
    assert under["num_conditions"].to_list() == [3, 3, 3]
    assert set(found.score_ranks["score"]) == set(COMPARED_SCORES)


def test_agreement_is_the_mean_and_least_of_spearmans_rho_over_conditions():
    # Sensitivities order a, b, c. Best losses do so on w0, rho 1; on w1 their ranks are 2, 3, 1, rho -0.5.
    floors = {"w0": (0.8, 0.85, 0.9), "w1": (0.75, 0.95, 0.7)}
    sides = {
        name: pl.concat(
            [side({"abc"[at]: 0.2 * (at + 1)}, workload=name, floor=of_workload[at]) for at in range(len(of_workload))]
        )
        for name, of_workload in floors.items()
    }
    found = across_board(conditions(sides, "train"), "lr_sensitivity")
    row = found.agreement.filter(score="best_loss").row(0, named=True)
    assert row == pytest.approx({"score": "best_loss", "spearman": 0.25, "least": -0.5, "num_conditions": 2})
    assert found.agreement.filter(score="lr_sensitivity_seedwise")["spearman"].item() == pytest.approx(1)
    assert "stable_decades" not in set(found.agreement["score"])  # one value for all: no order to agree with
    swapped = across_board(conditions(sides, "train"), "best_loss").agreement
    assert swapped.filter(score="lr_sensitivity")["spearman"].item() == pytest.approx(0.25)


def test_compared_scores_are_those_with_a_direction_that_results_alone_give():
    table = scored_table(side(HAND[0], num_seeds=3, noise=0.01), None, 6, "train")
    untraced = set(table.filter(pl.col("note") != NO_TRACES)["score"])
    assert set(COMPARED_SCORES) == {name for name in untraced if SCORE_KINDS[name].higher_is_better is not None}
    assert {kind.unit for kind in COMPARED_SCORES.values()} == set(REACHES)


def test_a_score_that_can_not_rank_is_refused():
    assert compared_score("edge_lr") is SCORE_KINDS["edge_lr"]
    with pytest.raises(UsageError, match="can't rank methods here: it needs traces; required one of lr_sensitivity, "):
        compared_score("spike_rate")
    with pytest.raises(UsageError, match="can't rank methods here: neither high nor low is better"):
        compared_score("best_lr")
    with pytest.raises(UsageError, match="unknown score 'edge'; did you mean 'edge_lr'"):
        compared_score("edge")
