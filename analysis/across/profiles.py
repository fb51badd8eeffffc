"""Performance profiles: on which share of the workloads is a method within a factor, or an offset, of the best one?

Pure functions on frames of one cost a workload and method: workload, method, cost, where lower is better, and +inf or
null says that the method failed there. Source: Dolan & Moré 2002; the integral as in AlgoPerf (Dahl et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.curves import require_columns
from bench.errors import UsageError

COST_COLUMNS: tuple[str, ...] = ("workload", "method", "cost")
# Up to which factor AlgoPerf integrates: beyond it a method counts as having failed on the workload.
MAX_FACTOR = 4.0

PROFILE_COLUMNS: dict[str, type[pl.DataType]] = {"method": pl.String, "tau": pl.Float64, "share": pl.Float64}


def factors_to_best(costs: pl.DataFrame) -> pl.DataFrame:
    """workload, method, distance: the cost over the least on the workload, >= 1; +inf where the method failed.

    Every method has a row for every workload; one that lacks a cost there failed. Raises UsageError for costs that are
    not positive, of which a factor means nothing.
    """
    full = _complete(costs)
    wrong = full.filter(pl.col("cost") <= 0)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise UsageError(
            f"a profile by factors needs positive costs; {row['method']} has {row['cost']:g} on {row['workload']}: "
            "take offsets"
        )
    return _distances(full, pl.col("cost") / pl.col("cost").min().over("workload"))


def offsets_to_best(costs: pl.DataFrame) -> pl.DataFrame:
    """workload, method, distance: the cost minus the least on the workload, >= 0; +inf where the method failed."""
    return _distances(_complete(costs), pl.col("cost") - pl.col("cost").min().over("workload"))


def profile(distances: pl.DataFrame, taus: Sequence[float]) -> pl.DataFrame:
    """PROFILE_COLUMNS: rho(tau), the share of workloads on which the method's distance is at most tau, in [0, 1].

    `distances` is the frame of `factors_to_best` or `offsets_to_best`. Source: Dolan & Moré 2002, Eq. 1.
    """
    steps = pl.DataFrame({"tau": [float(tau) for tau in taus]}, schema={"tau": pl.Float64})
    within = distances.join(steps, how="cross").group_by("method", "tau")
    return within.agg(share=(pl.col("distance") <= pl.col("tau")).mean()).sort("method", "tau").select(*PROFILE_COLUMNS)


def profile_integral(distances: pl.DataFrame, start: float, end: float) -> dict[str, float]:
    """By method, best first, the mean height of its profile over [start, end], in [0, 1]; 1: best everywhere.

    The integral of a step function, so exact: the mean over workloads of the part of [start, end] beyond the distance.
    Source: Dahl et al. 2023, the AlgoPerf benchmark score, where start is 1 and end 4, factors. Raises UsageError for
    an empty range.
    """
    if not start < end:
        raise UsageError(f"a profile must be integrated from a smaller to a larger distance, got {start:g} to {end:g}")
    beyond = ((end - pl.col("distance")) / (end - start)).clip(0.0, 1.0)
    integrals = distances.group_by("method").agg(integral=beyond.mean())
    return dict(integrals.sort(-pl.col("integral"), "method").iter_rows())


def _complete(costs: pl.DataFrame) -> pl.DataFrame:
    """A row for every workload and method, +inf where there is no cost. Raises UsageError for two costs of one pair."""
    require_columns(costs, COST_COLUMNS, "the frame of costs")
    twice = costs.filter(pl.struct("workload", "method").is_duplicated())
    if twice.height:
        raise UsageError(f"{twice['method'][0]} has several costs on {twice['workload'][0]}; keep one of them")
    pairs = costs.select("workload").unique().join(costs.select("method").unique(), how="cross")
    known = costs.select("workload", "method", pl.col("cost").cast(pl.Float64))
    full = pairs.join(known, on=["workload", "method"], how="left").sort("workload", "method")
    return full.with_columns(pl.col("cost").fill_nan(None).fill_null(float("inf")))


def _distances(full: pl.DataFrame, distance: pl.Expr) -> pl.DataFrame:
    """Where every method failed, inf - inf and inf / inf are failures too."""
    failed = pl.col("cost").is_infinite()
    return full.select("workload", "method", distance=pl.when(failed).then(float("inf")).otherwise(distance))
