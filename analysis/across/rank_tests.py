"""Aggregate ranks of methods over workloads: mean rank, Friedman's test, and the critical difference of Nemenyi.

Source: Demšar 2006, Statistical comparisons of classifiers over multiple data sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl
from scipy import stats

from analysis.across.profiles import COST_COLUMNS
from analysis.curves import require_columns
from analysis.scores.intervals import CONFIDENCE
from bench.errors import UsageError

MEAN_RANK_COLUMNS: dict[str, type[pl.DataType]] = {"method": pl.String, "mean_rank": pl.Float64}


@dataclass(frozen=True, kw_only=True)
class RankTest:
    """Mean ranks (MEAN_RANK_COLUMNS, best first) and whether they are told apart.

    `p_value` is of Friedman's test that all methods rank alike; it is a chi-square approximation, rough for few
    workloads. Two mean ranks that differ by less than `critical_difference` are not separated (Nemenyi's test at 5%
    over all pairs). `left_out` are methods that some workload lacks.
    """

    mean_ranks: pl.DataFrame
    statistic: float
    p_value: float
    critical_difference: float
    num_workloads: int
    left_out: tuple[str, ...]


def rank_test(costs: pl.DataFrame) -> RankTest:
    """The test over workload, method, cost (lower is better, +inf or null is worst), one row a workload and method.

    Ties share the mean of their ranks. Raises UsageError for fewer than two workloads, or three methods that every
    workload has.
    """
    require_columns(costs, COST_COLUMNS, "the frame of costs")
    workloads = costs["workload"].unique().sort().to_list()
    counts = costs.group_by("method").agg(pl.col("workload").n_unique()).sort("method")
    everywhere = counts.filter(workload=len(workloads))["method"].to_list()
    left_out = tuple(counts.filter(pl.col("workload") < len(workloads))["method"])
    if len(workloads) < 2 or len(everywhere) < 3:
        raise UsageError(
            "ranks over workloads need at least 2 workloads and 3 methods on all of them, got "
            f"{len(workloads)} and {len(everywhere)}"
        )
    wide = ranks(costs.filter(pl.col("method").is_in(everywhere)))
    by_method = [wide.filter(method=name).sort("workload")["rank"].to_list() for name in everywhere]
    statistic, p_value = _friedman(by_method)
    return RankTest(
        mean_ranks=mean_ranks(wide),
        statistic=statistic,
        p_value=p_value,
        critical_difference=critical_difference(len(everywhere), len(workloads)),
        num_workloads=len(workloads),
        left_out=left_out,
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
    quantile = float(stats.studentized_range.ppf(CONFIDENCE, num_methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(num_methods * (num_methods + 1) / (6 * num_workloads))


def _friedman(ranks: list[list[float]]) -> tuple[float, float]:
    """Statistic and p-value; (0, 1) where all methods tie on every workload, which has no variance to divide by."""
    if all(len(set(of_workload)) == 1 for of_workload in zip(*ranks, strict=True)):
        return 0.0, 1.0
    found = stats.friedmanchisquare(*ranks)
    return float(found.statistic), float(found.pvalue)
