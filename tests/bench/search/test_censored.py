"""Brackets by hand; the posterior of edges against what is known of it."""

import math

import numpy as np
import pytest

from bench.search.censored import brackets, edges

INF = math.inf


def test_brackets_by_hand():
    held = np.array([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    failed = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0]], bool)
    lows, highs = brackets(np.array([-3.0, -2.0, -1.0, 0.0]), held, failed)
    # a plain bracket; a mixed zone; never held; never failed; nothing known
    assert lows.tolist() == [-2, -3, -INF, -3, -INF]
    assert highs.tolist() == [-1, 0, -1, INF, INF]


def test_location_of_symmetric_brackets_is_their_middle():
    found = edges(np.array([-2.1, -1.6, -1.3]), np.array([-1.7, -1.4, -0.9]), 1e-4, 1.0)
    assert abs(found.location(0.5) + 1.5) < 0.005
    assert abs(found.location(0.025) + found.location(0.975) + 3) < 0.01


def test_open_brackets_push_the_location_out():
    lows, highs = np.full(5, -1.0), np.full(5, INF)
    assert edges(lows, highs, 1e-4, 0.1).location(0.5) > -1
    assert edges(-highs, lows, 1e-4, 10.0).location(0.5) < -1


def test_halving_stays_inside_and_splits_a_wide_bracket_at_the_location():
    lows, highs = np.array([-1.1, -1.1, -INF, -0.2]), np.array([-0.9, -0.9, INF, 0.3])
    found = edges(lows, highs, 1e-4, 10.0)
    halving = found.halving_S()
    assert (halving >= lows).all()
    assert (halving <= highs).all()
    assert abs(halving[2] - found.location(0.5)) < 1e-9


def test_draws_lie_in_their_brackets():
    lows, highs = np.array([-1.1, -INF, -0.8]), np.array([-0.9, -1.0, INF])
    draws = edges(lows, highs, 1e-4, 10.0).draws_NS(500, np.random.default_rng(0))
    assert ((draws >= lows) & (draws <= highs)).all()
    assert draws.std(0).min() > 0


@pytest.mark.whole
def test_interval_of_closely_bracketed_edges_covers_as_stated():
    """The right Haar prior matches coverage exactly for edges known exactly; 0.95 within three binomial errors."""
    rng = np.random.default_rng(1)
    for num_seeds in (3, 5):
        hits = []
        for _ in range(300):
            lows = -1 + 0.15 * rng.logistic(size=num_seeds)
            found = edges(lows, lows + 0.01, 1e-5, 10.0)
            hits.append(found.location(0.025) <= -1 + 0.005 <= found.location(0.975))
        assert abs(np.mean(hits) - 0.95) < 0.04
