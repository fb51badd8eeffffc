"""Performance profiles by hand, and their integral against quadrature."""

import math

import numpy as np
import polars as pl
import pytest

from analysis.across.profiles import MAX_FACTOR, factors_to_best, offsets_to_best, profile, profile_integral
from bench.errors import UsageError

COSTS = pl.DataFrame(
    [("w1", "a", 1.0), ("w1", "b", 2.0), ("w2", "a", 6.0), ("w2", "b", 3.0), ("w3", "a", 5.0), ("w3", "b", math.inf)],
    schema=["workload", "method", "cost"],
    orient="row",
)


def shares(found: pl.DataFrame, method: str) -> list[float]:
    return found.filter(method=method)["share"].to_list()


def test_factors_profile_and_integral_by_hand():
    found = factors_to_best(COSTS)
    assert found.filter(method="a")["distance"].to_list() == [1.0, 2.0, 1.0]
    assert found.filter(method="b")["distance"].to_list() == [2.0, 1.0, math.inf]
    steps = profile(found, [1.0, 1.9, 2.0, 100.0])
    assert shares(steps, "a") == pytest.approx([2 / 3, 2 / 3, 1.0, 1.0])
    assert shares(steps, "b") == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    # Over [1, 4]: a has 1, 2/3, 1; b has 2/3, 1, 0.
    integral = profile_integral(found, 1.0, MAX_FACTOR)
    assert integral == {"a": pytest.approx(8 / 9), "b": pytest.approx(5 / 9)}


def test_offsets_by_hand():
    found = offsets_to_best(COSTS)
    assert found.filter(method="b")["distance"].to_list() == [1.0, 0.0, math.inf]
    assert offsets_to_best(COSTS.with_columns(pl.col("cost") - 3)).equals(found)


def test_integral_is_the_mean_height_of_the_profile():
    rng = np.random.default_rng(0)
    costs = pl.DataFrame(
        [(f"w{w}", f"m{m}", rng.lognormal()) for w in range(7) for m in range(3)],
        schema=["workload", "method", "cost"],
        orient="row",
    )
    found = factors_to_best(costs)
    taus = np.linspace(1, 4, 20_001)
    heights = profile(found, taus.tolist()).group_by("method").agg(pl.col("share").mean()).sort("method")
    assert profile_integral(found, 1.0, 4.0) == pytest.approx(dict(heights.iter_rows()), abs=1e-3)


def test_a_missing_cost_and_nan_are_failures_and_a_workload_where_all_fail_counts_against_all():
    gaps = pl.DataFrame(
        [("w1", "a", 1.0), ("w2", "b", math.nan), ("w2", "a", None)],
        schema=["workload", "method", "cost"],
        orient="row",
    )
    for distances in (factors_to_best(gaps), offsets_to_best(gaps)):
        assert profile_integral(distances, 1.0, 4.0)["b"] == 0.0
        assert shares(profile(distances, [9.0]), "a") == [0.5]


def test_what_a_profile_refuses():
    with pytest.raises(UsageError, match="positive costs; a has 0 on w1"):
        factors_to_best(COSTS.with_columns(cost=pl.lit(0.0)))
    with pytest.raises(UsageError, match="a has several costs on w1"):
        offsets_to_best(pl.concat([COSTS, COSTS[:1]]))
    with pytest.raises(UsageError, match="from a smaller to a larger"):
        profile_integral(offsets_to_best(COSTS), 4.0, 1.0)
    with pytest.raises(UsageError, match="lacks the columns cost"):
        offsets_to_best(COSTS.drop("cost"))
