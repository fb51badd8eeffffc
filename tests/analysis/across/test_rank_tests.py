"""Mean ranks, Friedman's test and the critical difference: by hand, by scipy, and as in Demšar's paper."""

import itertools
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.across.rank_tests import RankTest, critical_difference, mean_ranks, not_separated, rank_test, ranks
from bench.errors import UsageError


def frame(costs: np.ndarray) -> pl.DataFrame:
    """Costs (workloads, methods)."""
    rows = [(f"w{w}", f"m{m}", float(costs[w, m])) for w in range(costs.shape[0]) for m in range(costs.shape[1])]
    return pl.DataFrame(rows, schema=["workload", "method", "cost"], orient="row")


@pytest.mark.parametrize(
    ("num_methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_critical_values_of_demsars_table_5a(num_methods, quantile):
    # With 6 N = k (k + 1) the difference is the quantile; a multiple of it scales as 1 / sqrt N.
    num_workloads = num_methods * (num_methods + 1)
    found = critical_difference(num_methods, num_workloads) * math.sqrt(6)
    assert found == pytest.approx(quantile, abs=1.1e-3)  # the table has three decimals


def test_critical_difference_of_demsars_example():
    # 4 classifiers on 14 data sets: 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_by_hand_with_ties_and_failures():
    found = rank_test(frame(np.array([[1.0, 2.0, 2.0], [3.0, math.inf, 1.0]])))
    assert dict(found.mean_ranks.iter_rows()) == {"m0": 1.5, "m1": 2.75, "m2": 1.75}
    assert found.mean_ranks["method"].to_list() == ["m0", "m2", "m1"]
    assert found.num_workloads == 2


def test_the_statistic_is_scipys_and_so_is_a_p_value_of_too_many_cases():
    costs = np.random.default_rng(0).random((9, 9)) + 0.1 * np.arange(9)
    found, expected = rank_test(frame(costs)), stats.friedmanchisquare(*costs.T)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert not found.p_is_exact


# Friedman 1937, as in Siegel 1956, Table N: methods, workloads, statistic, its probability.
TABLED = [
    (3, 2, 4.0, 0.167),
    (3, 3, 6.0, 0.028),
    (3, 3, 14 / 3, 0.194),
    (3, 4, 8.0, 0.0046),
    (3, 4, 6.5, 0.042),
    (4, 2, 6.0, 0.042),
    (4, 3, 9.0, 0.0017),
    (4, 3, 7.4, 0.033),
]


@pytest.mark.parametrize(("num_methods", "num_workloads", "statistic", "probability"), TABLED)
def test_few_workloads_have_the_exact_p_value_of_friedmans_tables(num_methods, num_workloads, statistic, probability):
    found = rank_test(frame(_ranks_of(num_methods, num_workloads, statistic)))
    assert found.statistic == pytest.approx(statistic)
    assert found.p_is_exact
    assert found.p_value == pytest.approx(probability, abs=6e-4 if probability > 0.01 else 6e-5)


def _ranks_of(num_methods: int, num_workloads: int, statistic: float) -> np.ndarray:
    """Ranks (workloads, methods) with this statistic of Friedman's."""
    orders = list(itertools.permutations(range(1, num_methods + 1)))
    return next(
        np.array([orders[0], *others])
        for others in itertools.product(orders, repeat=num_workloads - 1)
        if stats.friedmanchisquare(*np.array([orders[0], *others]).T).statistic == pytest.approx(statistic)
    )


TIED = [
    np.array([[1, 1, 2], [1, 2, 3], [1, 2, 2], [2, 1, 3]]),
    np.array([[5, 5, 5], [1, 2, 3], [1, 2, 3], [1, 1, 2]]),
    np.array([[3, 1, 1, 2], [4, 1, 2, 2]]),
]


@pytest.mark.parametrize("costs", TIED)
def test_ties_have_the_p_value_of_all_permutations(costs):
    expected = stats.permutation_test(
        tuple(costs.T),
        lambda *by_method: stats.friedmanchisquare(*by_method).statistic,
        permutation_type="samples",
        alternative="greater",
        n_resamples=10_000,  # more than there are, so that it takes each
    )
    found = rank_test(frame(costs.astype(float)))
    assert (found.p_value, found.p_is_exact) == (pytest.approx(expected.pvalue), True)
    assert found.statistic == pytest.approx(expected.statistic)


@pytest.mark.parametrize("shape", [(3, 7), (6, 5), (12, 4), (60, 3)])
def test_the_exact_p_value_is_the_share_of_random_orders(shape):
    generator = np.random.default_rng(4)
    costs = generator.random(shape) + 0.05 * np.arange(shape[1])
    found = rank_test(frame(costs))
    orders = generator.random((20_000, *shape)).argsort(-1)
    share = float(np.mean((orders.sum(1) ** 2).sum(-1) >= (costs.argsort(-1).argsort(-1).sum(0) ** 2).sum()))
    assert found.p_is_exact
    assert found.p_value == pytest.approx(share, abs=4 * math.sqrt(0.25 / 20_000))


def test_order_of_rows_and_monotone_costs_change_nothing():
    costs = np.random.default_rng(1).random((5, 4))
    expected, found = (
        rank_test(frame(costs)),
        rank_test(frame(np.exp(9 * costs)).sample(fraction=1, shuffle=True, seed=0)),
    )
    assert found.mean_ranks.equals(expected.mean_ranks)
    assert found.statistic == pytest.approx(expected.statistic)


def test_methods_that_always_tie_are_not_told_apart():
    found = rank_test(frame(np.ones((3, 4))))
    assert (found.statistic, found.p_value, found.p_is_exact) == (0.0, 1.0, True)
    assert found.mean_ranks["mean_rank"].to_list() == [2.5] * 4


def test_a_method_that_a_workload_lacks_is_left_out():
    costs = frame(np.random.default_rng(2).random((3, 4)))
    found = rank_test(costs.filter(~((pl.col("workload") == "w1") & (pl.col("method") == "m3"))))
    assert set(found.mean_ranks["method"]) == {"m0", "m1", "m2"}


@pytest.mark.parametrize("shape", [(1, 4), (4, 2)])
def test_too_few_workloads_or_methods_are_refused(shape):
    with pytest.raises(UsageError, match="at least 2 workloads and 3 methods on all of them, got"):
        rank_test(frame(np.ones(shape)))


def test_groups_of_demsars_example():
    # Sec. 3.2.2 and Fig. 1(a), 14 data sets. At 5% the critical difference is 1.25: even the best and the worst are not
    # separated. At 10% it is 1.12: C4.5 is apart from both with m, and C4.5+cf belongs to both groups.
    means = {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
    frame_of = pl.DataFrame({"method": list(means), "mean_rank": list(means.values())}).sort("mean_rank")
    test = RankTest(
        mean_ranks=frame_of,
        statistic=9.28,
        p_value=0.026,
        p_is_exact=True,
        critical_difference=1.25,
        num_workloads=14,
    )
    assert not_separated(test) == [("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")]
    narrow = replace(test, critical_difference=1.12)
    assert not_separated(narrow) == [("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5")]
    assert not_separated(replace(test, critical_difference=0.01)) == []
    assert not_separated(replace(test, critical_difference=0.01, p_value=0.06)) == [
        ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    ]


def test_ranks_share_ties_and_put_what_is_missing_last():
    costs = pl.DataFrame({"workload": ["w"] * 4, "method": list("abcd"), "cost": [2.0, None, 2.0, 1.0]})
    assert ranks(costs)["rank"].to_list() == [2.5, 4, 2.5, 1]
    assert mean_ranks(ranks(costs)).rows() == [("d", 1.0), ("a", 2.5), ("c", 2.5), ("b", 4.0)]
