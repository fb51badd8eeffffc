"""The score of curves that are known, from few of their trials."""

import math
import re

import numpy as np
import pytest

from analysis.scores.robustness import clipped_curve, lr_sensitivity
from bench.search.base import Point
from bench.search.completion import draw_losses_NLS
from bench.search.sensitivity import Sensitivity
from tests.bench.search.curves_by_hand import INITIAL, run, smooth, step

GRID = tuple(float(f"{m}e{k}") for k in range(-5, 2) for m in (1, 3, 5) if m * 10.0**k <= 10)


def _dense(loss, seeds=(0, 1, 2, 3, 4)) -> float:
    losses_LS = np.array([[loss(value, seed) for seed in seeds] for value in GRID])
    return float(lr_sensitivity(losses_LS, np.full(len(seeds), INITIAL), np.array(GRID)))


@pytest.mark.parametrize("loss", [step(0.06), step(0.0004), step(2.0, onset=0.004), smooth])
def test_score_is_within_the_tolerance_of_the_dense_one(loss):
    search = Sensitivity(grid=GRID, budget=31)
    _, points = run(search, loss)
    answer = search.answer(points)
    assert abs(answer.value - _dense(loss)) <= 0.05
    assert answer.low <= _dense(loss) <= answer.high
    assert len(points) <= 31


def test_a_complete_grid_gives_the_score_itself():
    points = [
        Point(value=value, seed=seed, final_loss=smooth(value, seed), initial_loss=INITIAL)
        for value in GRID
        for seed in range(5)
    ]
    search = Sensitivity(grid=GRID, budget=200)
    assert search.answer(points).value == pytest.approx(_dense(smooth), abs=1e-12)
    assert search.next(points) is None
    assert search.answer(points).note == "what is not trained makes 0.000 of the score uncertain, at most 0.01"


def test_method_that_learns_nothing_scores_nothing():
    search = Sensitivity(grid=GRID, budget=31)
    _, points = run(search, lambda value, seed: INITIAL)
    assert abs(search.answer(points).value) <= 0.05


def test_tighter_tolerance_takes_more_trials():
    counts = [len(run(Sensitivity(grid=GRID, budget=95, tolerance=t), smooth)[1]) for t in (0.3, 0.1, 0.02)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_without_a_grid_values_are_spaced_evenly_per_decade():
    search = Sensitivity(low=1e-2, high=1.0, per_decade=2)
    assert search.values == (0.01, 0.0316, 0.1, 0.316, 1.0)
    _, points = run(search, step(0.2))
    assert {point.value for point in points} <= set(search.values)


def test_lost_trials_are_not_asked_again():
    search = Sensitivity(grid=GRID, budget=40)
    _, points = run(search, smooth, lost=lambda number: number % 4 == 2)
    assert abs(search.answer(points).value - _dense(smooth)) <= 0.1


def test_everything_lost_ends_without_a_score():
    search = Sensitivity(grid=GRID)
    _, points = run(search, smooth, lost=lambda number: True)
    answer = search.answer(points)
    assert math.isnan(answer.value)
    assert answer.note == "no trial came back"


def test_one_seed_has_a_score_without_an_interval():
    search = Sensitivity(grid=GRID, seeds=(3,), budget=19)
    _, points = run(search, smooth)
    answer = search.answer(points)
    assert abs(answer.value - _dense(smooth, seeds=(3,))) <= 0.05
    assert (answer.low, answer.high) == (-math.inf, math.inf)


def test_two_seeds_are_enough_for_an_interval():
    search = Sensitivity(grid=GRID, seeds=(0, 1), budget=38)
    _, points = run(search, smooth)
    answer = search.answer(points)
    assert -math.inf < answer.low < answer.value < answer.high < math.inf


def test_budget_is_kept_and_named():
    search = Sensitivity(grid=GRID, budget=9, tolerance=0.01)
    _, points = run(search, smooth)
    assert len(points) == 9
    assert search.answer(points).note.startswith("the budget of 9 trials is spent; what is not trained makes")


def test_draws_keep_what_is_known_and_are_certain_on_a_plateau():
    losses_LS = np.full((7, 2), np.nan)
    losses_LS[0], losses_LS[4], losses_LS[6, 0] = [0.9, 1.1], [1.0, 1.0], math.inf
    initial_S = np.array([5.0, 5.0])
    draws_NLS = draw_losses_NLS(np.arange(-6.0, 1.0), losses_LS, initial_S, 300, np.random.default_rng(0))
    known_LS = ~np.isnan(losses_LS)
    assert (draws_NLS[:, known_LS] == losses_LS[known_LS]).all()
    plateau_NS = draws_NLS[:, 2]
    assert np.isfinite(plateau_NS).mean() > 0.99
    assert abs(plateau_NS[np.isfinite(plateau_NS)].mean() - 1.0) < 0.1
    assert 0.1 < np.isinf(draws_NLS[:, 5, 0]).mean() < 0.9


def test_a_loss_that_clips_its_value_alone_counts_as_diverged():
    losses_LS = np.full((7, 3), np.nan)
    losses_LS[0], losses_LS[3], initial_S = 4.9, 1.0, np.full(3, 5.0)
    draws = []
    for beyond in (math.inf, 15.0, 1e9):
        losses_LS[6, 0] = beyond
        drawn_NLS = draw_losses_NLS(np.arange(-6.0, 1.0), losses_LS, initial_S, 50, np.random.default_rng(0))
        draws.append(drawn_NLS[:, np.isnan(losses_LS)])
    assert (draws[0] == draws[1]).all()
    assert (draws[0] == draws[2]).all()


def test_what_a_seed_has_of_its_own_is_drawn_at_its_other_values():
    losses_LS, own_S = np.full((7, 4), np.nan), np.array([-0.2, -0.1, 0.1, 0.2])
    losses_LS[0], losses_LS[6] = 4.9 + own_S, 4.9 + own_S
    draws_NLS = draw_losses_NLS(np.arange(-6.0, 1.0), losses_LS, np.full(4, 5.0), 300, np.random.default_rng(0))
    drawn_NS = np.where(np.isinf(draws_NLS[:, 3]), np.nan, draws_NLS[:, 3])
    assert np.nanmean(drawn_NS, 0) == pytest.approx(4.9 + own_S, abs=0.05)


def test_uncertainty_is_that_of_both_parts_over_the_same_draws_in_every_round():
    """2.576 standard deviations, as if the height of the curve and its least erred in opposite directions."""
    search, values = Sensitivity(grid=GRID, budget=95), np.array(GRID)
    outline = [(value, place % 5) for place, value in enumerate(GRID) if place % 2 == 0]
    for more in ([], [(value, seed) for value in GRID[-4:] for seed in range(5) if (value, seed) not in outline]):
        points = [
            Point(value=value, seed=seed, final_loss=smooth(value, seed), initial_loss=INITIAL)
            for value, seed in [*outline, *more]
        ]
        losses_LS = np.full((len(GRID), 5), np.nan)
        for point in points:
            losses_LS[GRID.index(point.value), point.seed] = point.final_loss
        initial_S = np.full(5, INITIAL)
        draws_NLS = draw_losses_NLS(np.log10(values), losses_LS, initial_S, 400, np.random.default_rng(0))
        curves_NL = clipped_curve(draws_NLS, initial_S)
        half = 2.576 * float(np.stack([curves_NL.mean(1), curves_NL.min(1)], 1).std(0).sum())
        assert f"what is not trained makes {half:.3f} of the score uncertain" in search.answer(points).note
        ask = search.next(points)
        assert ask is not None
        score = lr_sensitivity(draws_NLS, initial_S, values).mean()
        assert ask.why.startswith(f"the score is {score:.3f}, give or take {half:.3f}")
        assert Sensitivity(grid=GRID, budget=95, tolerance=half).next(points) is None  # at most the tolerance


def test_a_value_that_one_trial_completes_goes_before_two_trials_of_an_unknown_one():
    """What cells tell is weighed by what they cost: together two tell more, but less a trial."""
    known = [(0.001, 0), (0.001, 1), (0.001, 2), (0.1, 0), (0.1, 1)]
    points = [Point(value=value, seed=seed, final_loss=0.5, initial_loss=3.0) for value, seed in known]
    points.append(Point(value=10.0, seed=0, final_loss=math.inf, initial_loss=3.0))
    search = Sensitivity(grid=(0.001, 0.01, 0.1, 1.0, 10.0), seeds=(0, 1, 2), budget=95, batch=2)
    ask = search.next(points)
    assert ask is not None
    assert ask.settings == ((1.0, 2), (0.1, 2))


def test_more_cells_tell_more_of_what_is_not_known_and_never_more_than_all():
    points = [
        Point(value=value, seed=seed, final_loss=smooth(value, seed), initial_loss=INITIAL)
        for value in (1e-5, 1e-3, 0.1)
        for seed in range(3)
    ]
    asks = [Sensitivity(grid=GRID, seeds=(0, 1, 2), budget=63, batch=batch).next(points) for batch in (1, 4, 54)]
    shares = [int(found[1]) for ask in asks if ask and (found := re.search(r"should tell (\d+)% of how", ask.why))]
    assert len(shares) == 3
    assert 0 < shares[0] < shares[1] < shares[2] <= 100


def test_all_seeds_next_to_the_edge_are_asked():
    """One more that diverged there would clip the value, whatever the others have."""
    _, points = run(Sensitivity(grid=GRID, budget=31, tolerance=0.01), step(0.06))
    assert sum(point.value == 0.05 for point in points) == 5


def test_draws_depend_on_the_generator():
    losses_LS = np.array([[1.0], [np.nan], [math.inf]])
    first, second = (
        draw_losses_NLS(np.arange(3.0), losses_LS, np.array([5.0]), 20, np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert (first != second).any()
