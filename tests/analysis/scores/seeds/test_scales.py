"""Intervals on the scale of what they are of: closed forms, limits and invariants."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.scores.seeds.intervals import unseen_share
from analysis.scores.seeds.scales import Interval

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=200)
SHARES, HALVES = st.floats(1e-6, 1 - 1e-6), st.floats(1e-9, 1e3)


@REPEATABLE
@given(SHARES, HALVES)
def test_ends_of_a_share_are_those_shares_that_differ_by_so_many_standard_errors_of_their_own(value, half):
    found = Interval.around(value, half).of_share()
    assert 0 <= found.low <= value <= found.high <= 1
    squared = half**2 / (value * (1 - value))
    for end in (found.low, found.high):
        assert (end - value) ** 2 == pytest.approx(squared * end * (1 - end), rel=1e-4, abs=1e-12 + 1e-15 * squared)


def test_wilsons_interval_by_hand():
    """3 of 10 with the normal quantile 1.96: [0.1078, 0.6032], as textbooks have it."""
    found = Interval.around(0.3, 1.959964 * math.sqrt(0.3 * 0.7 / 10)).of_share()
    assert (found.low, found.high) == pytest.approx((0.1078, 0.6032), abs=5e-5)


@REPEATABLE
@given(SHARES, HALVES)
def test_a_share_and_its_complement_have_mirrored_intervals(value, half):
    one, other = Interval.around(value, half).of_share(), Interval.around(1 - value, half).of_share()
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


@REPEATABLE
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e3))
def test_a_positive_mean_has_ends_at_equal_factors(value, half):
    found = Interval.around(value, half).of_positive_mean()
    assert 0 <= found.low <= value <= found.high
    if half / value < 300:
        assert found.high / value == pytest.approx(value / found.low)


def test_narrow_intervals_are_the_same_on_every_scale():
    plain = Interval.around(0.3, 1e-4)
    for other in (plain.of_share(), plain.of_positive_mean(), plain.within((0, 1))):
        assert (other.low, other.high) == pytest.approx((plain.low, plain.high), abs=1e-7)


def test_what_has_no_scale_is_cut():
    assert Interval.around(0.0, 0.2).of_share() == Interval(value=0.0, low=0.0, high=0.2)
    assert Interval.around(1.0, 0.2).of_share() == Interval(value=1.0, low=0.8, high=1.0)
    assert Interval.around(0.0, 0.2).of_positive_mean() == Interval(value=0.0, low=0.0, high=0.2)
    alone = Interval.around(0.4, None)
    assert alone == alone.of_share() == alone.of_positive_mean() == alone.within((0, 1))


def test_an_end_beyond_what_was_tried_is_censored():
    grid = (1e-3, 0.1)
    assert Interval(value=0.01, low=2e-3, high=0.05).within(grid, censors=True).censored == ""
    assert Interval(value=0.01, low=5e-4, high=0.05).within(grid, censors=True).censored == "low"
    assert Interval(value=0.1, low=5e-3, high=0.3).within(grid, censors=True).censored == "high"
    assert Interval(value=0.1, low=5e-4, high=0.3).within(grid, censors=True) == Interval(
        value=0.1, low=1e-3, high=0.1, censored="both"
    )
    assert Interval(value=0.5, low=-1.0, high=2.0).within((0, 1)).censored == ""  # nothing lies beyond


def test_a_share_of_none_may_be_that_of_three_in_as_many():
    assert unseen_share(1) == pytest.approx(0.975)
    assert unseen_share(1000) == pytest.approx(-math.log(0.025) / 1000, rel=2e-3)
