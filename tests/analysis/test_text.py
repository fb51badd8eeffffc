"""Digits by the width of an interval."""

import pytest

from analysis.text import interval_decimals, number


@pytest.mark.parametrize(
    ("low", "high", "decimals"),
    [
        (0.0650, 0.3760, 2),  # half the width 0.16
        (0.1030, 0.1481, 3),  # 0.023
        (0.9951, 0.9999, 4),  # 0.0024
        (0.0, 290.0, 0),  # 145
        (2.0, 20.0, 1),  # 9.0
        (1.0, 1.00003, 6),  # 0.000015
    ],
)
def test_half_the_width_has_two_significant_digits(low, high, decimals):
    assert interval_decimals(low, high, 9) == decimals


@pytest.mark.parametrize("ends", [(None, None), (0.25, 0.25), (0.1, 0.1 + 1e-9), (0.0, float("inf"))])
def test_without_a_width_others_decide(ends):
    assert interval_decimals(*ends, 9) == 9


def test_a_score_and_its_interval_as_they_are_shown():
    places = interval_decimals(0.0650, 0.3760, 3)
    assert [number(one, places) for one in (0.2205, 0.0650, 0.3760)] == ["0.22", "0.07", "0.38"]
