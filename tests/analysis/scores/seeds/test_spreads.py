"""The standard deviation over seeds: intervals by hand and by the textbook, and the test of Pitman and Morgan."""

import numpy as np
import pytest
from scipy import stats

from analysis.curves import LossGrid
from analysis.scores.seeds.scales import Interval
from analysis.scores.seeds.spreads import spread_difference, spread_ends, spread_interval


def test_spread_interval_by_hand():
    # Deviation 1, k 0.3 of three seeds: 2 / (2 / 2 + 0.3 / 3) degrees of freedom.
    found, freedom = spread_interval(np.array([1.0, 2.0, 3.0])), 2 / 1.1
    low, high = np.sqrt(freedom / stats.chi2.ppf([0.975, 0.025], freedom))
    assert (found.value, found.low, found.high) == pytest.approx((1.0, low, high))
    assert (found.low, found.high) == pytest.approx((0.510035, 7.363155), rel=1e-5)
    assert spread_interval(np.array([1.0])).low is None


def test_spread_interval_is_the_textbook_one_where_tails_are_light():
    # Two values apart from each other have the lightest tails there are: k = 0.
    values = np.array([1.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    low, high = values.std(ddof=1) * np.sqrt(5 / stats.chi2.ppf([0.975, 0.025], 5))
    found = spread_interval(values)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_heavier_tails_widen_the_interval_of_a_spread():
    values = np.array([1.0, 2.0, 4.0, 9.0, 3.0])
    freedom = 2 / (2 / 4 + (0.3 + stats.kurtosis(values, bias=False)) / 5)
    low, high = values.std(ddof=1) * np.sqrt(freedom / stats.chi2.ppf([0.975, 0.025], freedom))
    found = spread_interval(values)
    assert (found.low, found.high) == pytest.approx((low, high))
    scaled = spread_interval(1e-6 * values + 5)
    assert (scaled.low, scaled.high) == pytest.approx((1e-6 * low, 1e-6 * high))


def test_spread_of_seeds_that_are_all_alike_has_no_width():
    assert spread_interval(np.full(5, 0.1)) == Interval(value=0.0, low=0.0, high=0.0)
    low, high = spread_ends(np.array([[1.0, 2.0, 4.0, 9.0], [7.0, 7.0, 7.0, 7.0]]))
    assert (low[0], high[0]) == (spread_interval(np.array([1.0, 2.0, 4.0, 9.0])).low, high[0])
    assert (low[1], high[1]) == (0.0, 0.0)


def values(seeds_values) -> LossGrid:
    """One lr, a loss a seed."""
    losses = np.array([seeds_values], float)
    return LossGrid(
        lrs=np.array([0.1]),
        seeds=tuple(range(losses.shape[1])),
        losses=losses,
        initial_losses=np.ones(losses.shape[1]),
        num_lost=0,
        is_complete=True,
    )


def test_spread_difference_is_the_test_of_pitman_and_morgan():
    rng = np.random.default_rng(5)
    one, two = rng.normal(0, 3, 12), rng.normal(0, 1, 12)
    found = spread_difference(values(one), values(two))
    assert found.value == pytest.approx(one.std(ddof=1) - two.std(ddof=1))
    assert found.p_value == pytest.approx(stats.pearsonr(one + two, one - two).pvalue)
    assert found.p_value < 0.05


def test_equal_spreads_are_seldom_told_apart():
    # p < 0.05 in 5% of 2,000 pairs of five seeds that share most of their noise (standard error 0.5%).
    rng = np.random.default_rng(6)
    shared = rng.standard_normal((2000, 5))
    one, two = (shared + 0.5 * rng.standard_normal((2000, 5)) for _ in range(2))
    found = [spread_difference(values(a), values(b)).p_value < 0.05 for a, b in zip(one, two, strict=True)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.015)


def test_spreads_of_two_seeds_or_without_variance_can_not_be_told_apart():
    assert spread_difference(values([1.0, 5.0]), values([1.0, 2.0])).p_value == 1.0
    assert spread_difference(values([1.0, 2.0, 4.0]), values([1.0, 2.0, 4.0])).p_value == 1.0
    assert spread_difference(values([1.0, 1.0, 1.0]), values([2.0, 2.0, 2.0])).p_value == 1.0
