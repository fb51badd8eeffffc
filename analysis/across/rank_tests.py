"""Aggregate ranks of methods over workloads: mean rank, Friedman's test, and the critical difference of Nemenyi.

Source: Demšar 2006, Statistical comparisons of classifiers over multiple data sets. Legend: N workloads, K methods,
P orders of the ranks of one workload, M multisets of rank sums.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.across.profiles import COST_COLUMNS
from analysis.curves import require_columns
from analysis.scores.seeds.intervals import CONFIDENCE
from bench.errors import UsageError

MEAN_RANK_COLUMNS: dict[str, type[pl.DataType]] = {"method": pl.String, "mean_rank": pl.Float64}

# Of the exact distribution of ranks, so that it takes some tenths of a second: orders of one workload's ranks (8
# methods), rank sums on the way to the last workload, and with it.
_MOST_ORDERS, _MOST_SUMS, _MOST_LAST = 50_000, 2_000_000, 20_000_000


@dataclass(frozen=True, kw_only=True)
class RankTest:
    """Mean ranks (MEAN_RANK_COLUMNS, best first) and whether they are told apart.

    `p_value` is of Friedman's test that all methods rank alike. If `p_is_exact` it is the probability of a statistic as
    large where the ranks of each workload fall to the methods at random; else, where these cases are too many to count,
    that of the chi-square distribution with one degree of freedom less than methods. Two mean ranks that differ by less
    than `critical_difference` are not separated (Nemenyi's test at 5% over all pairs).
    """

    mean_ranks: pl.DataFrame
    statistic: float
    p_value: float
    p_is_exact: bool
    critical_difference: float
    num_workloads: int


def rank_test(costs: pl.DataFrame) -> RankTest:
    """The test over workload, method, cost (lower is better, +inf or null is worst), one row a workload and method.

    Ties share the mean of their ranks. Raises UsageError for fewer than two workloads, or three methods that every
    workload has.
    """
    require_columns(costs, COST_COLUMNS, "the frame of costs")
    workloads = costs["workload"].unique().sort().to_list()
    counts = costs.group_by("method").agg(pl.col("workload").n_unique()).sort("method")
    everywhere = counts.filter(workload=len(workloads))["method"].to_list()
    if len(workloads) < 2 or len(everywhere) < 3:
        raise UsageError(
            "ranks over workloads need at least 2 workloads and 3 methods on all of them, got "
            f"{len(workloads)} and {len(everywhere)}"
        )
    wide = ranks(costs.filter(pl.col("method").is_in(everywhere)))
    by_method = [wide.filter(method=name).sort("workload")["rank"].to_list() for name in everywhere]
    statistic, p_value, p_is_exact = _friedman(by_method)
    return RankTest(
        mean_ranks=mean_ranks(wide),
        statistic=statistic,
        p_value=p_value,
        p_is_exact=p_is_exact,
        critical_difference=critical_difference(len(everywhere), len(workloads)),
        num_workloads=len(workloads),
    )


def ranks(costs: pl.DataFrame) -> pl.DataFrame:
    """The frame with `rank` among the methods of each workload, 1 best; ties share the mean of their ranks."""
    require_columns(costs, COST_COLUMNS, "the frame of costs")
    cost = pl.col("cost").cast(pl.Float64).fill_nan(None).fill_null(math.inf)
    return costs.with_columns(cost=cost).with_columns(rank=pl.col("cost").rank("average").over("workload"))


def mean_ranks(ranked: pl.DataFrame) -> pl.DataFrame:
    """MEAN_RANK_COLUMNS, best first, of the frame of `ranks`."""
    means = ranked.group_by("method").agg(mean_rank=pl.col("rank").mean())
    return means.sort("mean_rank", "method").select(*MEAN_RANK_COLUMNS)


def not_separated(test: RankTest) -> list[tuple[str, ...]]:
    """The largest groups of methods, best first, that are not told apart: what the bars of a rank diagram join.

    Two at least a group, mean ranks less than the critical difference apart; all methods where Friedman's test finds no
    difference at 5%, for then Nemenyi's does not follow. Source: Demšar 2006, Sec. 3.2.2 and Fig. 1.
    """
    names, means = (test.mean_ranks[name].to_list() for name in MEAN_RANK_COLUMNS)
    if not test.p_value < 1 - CONFIDENCE:
        return [tuple(names)]
    groups: list[tuple[str, ...]] = []
    covered = 0
    for start, least in enumerate(means):
        end = start + sum(mean - least < test.critical_difference for mean in means[start:])
        if end > max(covered, start + 1):
            groups.append(tuple(names[start:end]))
        covered = max(covered, end)
    return groups


def critical_difference(num_methods: int, num_workloads: int) -> float:
    """How far two mean ranks of `num_methods` must lie apart: q sqrt(k (k + 1) / (6 N)).

    q is the 95% quantile of the studentized range of k means with infinitely many degrees of freedom, over sqrt 2.
    Source: Demšar 2006, Sec. 3.2.2.
    """
    from scipy import stats  # takes half a second to import

    quantile = float(stats.studentized_range.ppf(CONFIDENCE, num_methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(num_methods * (num_methods + 1) / (6 * num_workloads))


def _friedman(ranks: list[list[float]]) -> tuple[float, float, bool]:
    """Statistic, p-value, whether it is exact; `ranks` by method and workload.

    (0, 1, True) where all methods tie on every workload, which has no variance to divide by.
    """
    from scipy import stats  # takes half a second to import

    by_workload = [tuple(of_workload) for of_workload in zip(*ranks, strict=True)]
    if all(len(set(of_workload)) == 1 for of_workload in by_workload):
        return 0.0, 1.0, True
    friedman = stats.friedmanchisquare(*ranks)
    ranks_NK = np.rint(2 * np.array(by_workload)).astype(np.int64)  # twice the ranks: ties have halves
    exact = _exact_p_value(ranks_NK)
    return float(friedman.statistic), float(friedman.pvalue) if exact is None else exact, exact is not None


def _exact_p_value(ranks_NK: np.ndarray) -> float | None:
    """P(rank sums at least as unlike) where each workload's ranks, whole numbers, fall to the methods in any order.

    None where that takes too many cases. The statistic rises with the squares of the rank sums and depends on nothing
    else, as ties within a workload stay what they are. Their distribution is built up a workload at a time, over the
    multisets of rank sums, for methods are alike. Source: this project; for few workloads Demšar 2006, Sec. 3.2.2, asks
    for exact values.
    """
    num_orders = math.factorial(ranks_NK.shape[1])
    if num_orders > _MOST_ORDERS:
        return None
    sums_MK, shares_M, num_sums = np.sort(ranks_NK[:1], axis=1), np.ones(1), 0
    for ranks_K in ranks_NK[1:-1]:
        num_sums += len(sums_MK) * num_orders
        if num_sums > _MOST_SUMS:
            return None
        sums_MK, shares_M = _added(sums_MK, shares_M, _orders(tuple(ranks_K.tolist())))
    if len(sums_MK) * num_orders > _MOST_LAST:
        return None
    # |a + b|^2 = |a|^2 + |b|^2 + 2 a b, where b is the last workload's ranks in some order.
    orders_PK = _orders(tuple(ranks_NK[-1].tolist()))
    statistic = (ranks_NK.sum(axis=0) ** 2).sum() - (ranks_NK[-1] ** 2).sum()
    likely_M = [np.mean(2 * (orders_PK @ sums_K) >= statistic - (sums_K**2).sum()) for sums_K in sums_MK]
    return min(1.0, float(shares_M @ np.array(likely_M)))


@functools.cache
def _orders(ranks: tuple[int, ...]) -> np.ndarray:
    """The ranks in each order that differs, (P, K)."""
    return np.array(sorted(set(itertools.permutations(ranks))))


def _added(sums_MK: np.ndarray, shares_M: np.ndarray, orders_PK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums with one more workload, which has one of the orders; each multiset once, ascending, with its share."""
    sums = np.sort((sums_MK[:, None] + orders_PK).reshape(-1, orders_PK.shape[1]), axis=1)
    digits = (sums.max() + 1) ** np.arange(sums.shape[1] - 1)  # the last sum is what the others leave
    _, first, place = np.unique(sums[:, :-1] @ digits, return_index=True, return_inverse=True)
    shares = np.bincount(place, weights=np.repeat(shares_M / len(orders_PK), len(orders_PK)))
    return sums[first], shares
