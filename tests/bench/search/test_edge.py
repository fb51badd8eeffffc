"""The edge of step functions, and what is said where there is none."""

import math

import numpy as np
import pytest

from bench.search.base import Point, loss_grid
from bench.search.edge import Edge, stable_seeds
from tests.bench.search.curves_by_hand import INITIAL, run, step


@pytest.mark.parametrize("edge", [0.00023, 0.04, 0.0999, 0.5])
@pytest.mark.parametrize("onset", [0.0, 1e-4])
def test_edge_of_a_step_is_found(edge: float, onset: float):
    search = Edge(budget=38)
    _, points = run(search, step(edge, onset))
    answer = search.answer(points)
    assert abs(math.log10(answer.value / edge)) <= 0.15
    assert answer.low <= edge <= answer.high
    assert answer.num_trials == len(points) <= 38
    assert answer.unit == "value of the knob"
    assert math.log10(answer.high / answer.low) / 2 <= search.width


def test_narrow_stable_region_between_decades_is_found():
    search = Edge()
    _, points = run(search, step(0.006, onset=0.0015))
    answer = search.answer(points)
    assert answer.low <= 0.006 <= answer.high
    assert abs(math.log10(answer.value / 0.006)) <= 0.15


def test_where_all_values_of_decades_diverge_those_between_are_next():
    search = Edge(low=1e-3, high=0.1)
    points = [Point(value=value, seed=0, final_loss=math.inf, initial_loss=INITIAL) for value in (0.001, 0.01, 0.1)]
    ask = search.next(points)
    assert ask is not None
    assert ask.settings == ((0.00316, 1), (0.0316, 1))


def test_an_interval_that_leaves_the_range_of_the_knob_is_open():
    """One seed is stable at the least value alone: others may have their edges below it, and nobody knows how far."""
    search = Edge(low=0.01, high=1.0, seeds=(7,))
    _, points = run(search, step(0.011))
    answer = search.answer(points)
    assert answer.low == 0.0
    assert 0.01 <= answer.value < 0.02


def test_median_of_seeds_that_differ():
    edges = {0: 0.02, 1: 0.03, 2: 0.04, 3: 0.05, 4: 0.07}
    search = Edge(budget=60)
    _, points = run(search, lambda value, seed: step(edges[seed])(value, seed))
    answer = search.answer(points)
    assert abs(math.log10(answer.value / 0.04)) <= 0.1
    assert 0.01 < answer.low < 0.04 < answer.high < 0.16


def test_all_stable_is_an_open_interval_at_the_largest_value():
    search = Edge(low=1e-3, high=0.1)
    _, points = run(search, step(math.inf))
    answer = search.answer(points)
    assert (answer.value, answer.high) == (0.1, math.inf)
    assert 0.01 < answer.low <= 0.1
    assert sum(point.value == 0.1 for point in points) == 5
    assert "most seeds are stable at 0.1" in answer.note


def test_all_diverged_is_below_the_smallest_value():
    search = Edge(low=1e-3, high=0.1)
    _, points = run(search, step(0.0))
    answer = search.answer(points)
    assert math.isnan(answer.value)
    assert (answer.low, answer.high) == (0.0, 0.001)
    assert "no value in [0.001, 0.1] is stable" in answer.note


def test_a_gap_as_wide_as_the_width_is_not_looked_into():
    """Nothing is stable: 0.0316, the largest value that is finite, lies log10(0.1 / 0.0316) decades below 0.1."""
    gap = math.log10(0.1 / 0.0316)
    for width, is_looked_into in ((gap, False), (0.99 * gap, True)):
        _, points = run(
            Edge(low=0.01, high=1.0, width=width), lambda value, seed: math.inf if value > 0.05 else INITIAL
        )
        assert any(0.0316 < point.value < 0.1 for point in points) == is_looked_into


def test_nothing_learned_has_no_edge():
    search = Edge()
    noise = np.random.default_rng(0)
    _, points = run(search, lambda value, seed: INITIAL * (1 + 0.02 * noise.standard_normal()))
    answer = search.answer(points)
    assert math.isnan(answer.value)
    assert (answer.low, answer.high) == (0.0, math.inf)


@pytest.mark.parametrize(("least", "has_edge"), [(INITIAL * 0.75, True), (INITIAL * 0.76, False)])
def test_a_best_value_that_learns_the_least_share_exactly_has_an_edge(least: float, has_edge: bool):
    search = Edge(least_learned=0.25)
    _, points = run(search, lambda value, seed: least if value <= 0.04 else math.inf)
    assert math.isfinite(search.answer(points).value) == has_edge


def test_finite_loss_above_halfway_is_past_the_edge():
    search = Edge()
    _, points = run(search, lambda value, seed: 0.5 if value <= 0.04 else 2.5)
    answer = search.answer(points)
    assert answer.low <= 0.04 <= answer.high < math.inf


def test_lost_trials_are_not_asked_again_and_change_little():
    search = Edge(budget=60)
    _, points = run(search, step(0.04), lost=lambda number: number % 3 == 1)
    answer = search.answer(points)
    assert answer.low <= 0.04 <= answer.high
    assert answer.num_trials == len(points)


def test_everything_lost_ends():
    search = Edge()
    _, points = run(search, step(0.04), lost=lambda number: True)
    answer = search.answer(points)
    assert math.isnan(answer.value)
    assert (answer.low, answer.high) == (0.0, math.inf)


def test_one_seed_brackets_its_own_edge_and_says_little_of_others():
    search = Edge(seeds=(7,))
    _, points = run(search, step(0.04))
    answer = search.answer(points)
    assert abs(math.log10(answer.value / 0.04)) <= 0.15
    assert math.log10(answer.high / answer.low) > 0.5


def test_budget_cuts_the_search_and_is_named():
    search = Edge(budget=9)
    _, points = run(search, step(0.04))
    assert len(points) == 9
    assert search.answer(points).note == "the budget of 9 trials is spent"


def test_asks_in_words():
    rounds, _ = run(Edge(), step(0.04))
    assert rounds[0].why == "one value a decade brackets the edge: 1e-05, 0.0001, 0.001, 0.01, 0.1, 1, 10 with seed 0"
    assert rounds[1].why.startswith("the edge is near 0.03")
    assert rounds[1].why.endswith("halve the brackets of 5 seeds at 0.0316")


def test_interval_of_the_edge_is_the_central_95_percent_of_its_posterior():
    search = Edge(budget=38)
    _, points = run(search, step(0.04))
    answer, posterior = search.answer(points), search.posterior(points)
    assert posterior is not None
    expected = [10 ** posterior.location(share) for share in (0.025, 0.5, 0.975)]
    assert [answer.low, answer.value, answer.high] == pytest.approx(expected, rel=1e-12)


def test_a_seed_that_is_not_stable_at_the_best_value_is_past_its_edge():
    losses = {(0.1, 0): 3.0, (0.1, 1): 2.0, (1.0, 0): 0.1, (1.0, 1): 3.0}  # means 2.5 and 1.55; halfway 2.775
    grid = loss_grid([Point(value=v, seed=s, final_loss=loss, initial_loss=4.0) for (v, s), loss in losses.items()])
    assert grid is not None
    stable_LS, past_LS, _ = stable_seeds(grid)
    assert stable_LS.tolist() == [[False, True], [True, False]]
    assert past_LS.tolist() == [[False, False], [False, True]]


def test_stable_seeds_by_hand():
    losses = {
        (0.1, 0): 3.0,
        (0.1, 1): 2.0,
        (1.0, 0): 1.0,
        (1.0, 1): 1.0,
        (10.0, 0): math.inf,
        (10.0, 1): 2.5,
        (100.0, 1): 2.6,
    }
    grid = loss_grid([Point(value=v, seed=s, final_loss=loss, initial_loss=4.0) for (v, s), loss in losses.items()])
    assert grid is not None
    stable_LS, past_LS, learned = stable_seeds(grid)  # halfway: (1 + 4) / 2
    assert stable_LS.tolist() == [[False, True], [True, True], [False, True], [False, False]]
    assert past_LS.tolist() == [[False, False], [False, False], [True, False], [False, True]]
    assert learned == 0.75
