"""Scores of a box against answers by hand, closed forms and enumeration."""

import itertools
import math

import numpy as np
import pytest

from analysis.scores.box.numbers import BOX_SCORES, best_losses, box_numbers, robust_shares
from analysis.scores.box.shares import BUDGET, expected_best, overtakes, regret, share_within, untuned


def test_regret_by_hand():
    """Best 1, at init 3: half way between is a regret of a half; below the best nothing is lost."""
    losses = np.array([1.0, 2.0, 3.0, 0.5, np.nan])
    found = regret(losses, np.array(1.0), np.array(3.0))
    np.testing.assert_array_equal(found, [0.0, 0.5, 1.0, 0.0, np.nan])


def test_a_method_that_learns_nothing_loses_all_everywhere():
    assert regret(np.array([3.0, 3.0]), np.array(3.0), np.array(3.0)).tolist() == [1.0, 1.0]


def test_share_within_by_hand():
    found = share_within(np.array([0.0, 0.05, 0.2, 1.0, np.nan]), np.array([0.0, 0.1, 0.5, 1.0]))
    assert found.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_the_mean_of_the_curve_over_delta_is_one_minus_the_mean_regret():
    """Integral over delta of P(regret <= delta), delta from 0 to 1."""
    regrets = np.random.default_rng(0).random(200)
    deltas = (np.arange(20_000) + 0.5) / 20_000
    assert share_within(regrets, deltas).mean() == pytest.approx(1 - regrets.mean(), abs=1e-4)


@pytest.mark.parametrize("loss_at", [lambda u: 1 + 2 * u, lambda u: 1 + 2 * u**2])
def test_robust_share_of_a_known_surface(loss_at):
    """Over u uniform on [0, 1], at init 3: the share within delta is the share of u with a loss up to that bound."""
    u = (np.arange(4096) + 0.5) / 4096
    losses = loss_at(u)[None, :, None]
    best = float(expected_best(losses[..., 0], np.array([BUDGET]))[0, 0])
    found = robust_shares(losses, np.array([[3.0]]), np.array([0.1, 0.5]))[0]
    expected = [np.mean(loss_at(u) <= best + delta * (3 - best)) for delta in (0.1, 0.5)]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_expected_best_is_the_mean_over_all_subsets(number):
    losses = np.array([0.3, 1.5, 0.9, 2.2, 0.1, 0.9, 4.0])
    subsets = [min(subset) for subset in itertools.combinations(losses, number)]
    assert expected_best(losses, np.array([number]))[0] == pytest.approx(np.mean(subsets))


def test_expected_best_of_uniform_draws_is_the_first_order_statistic():
    """E min of n uniforms is 1 / (n + 1); the estimator is unbiased for it, with 40 points as with any."""
    rng, budgets = np.random.default_rng(1), np.array([1, 4, 16])
    found = expected_best(rng.random((4000, 40)), budgets)
    errors = found.std(0) / math.sqrt(4000)
    assert (np.abs(found.mean(0) - 1 / (budgets + 1)) < 4 * errors).all()


def test_expected_best_with_replacement_would_be_biased():
    """The estimator of Dodge et al. 2019 overstates it with few points: theirs is 1/N-th power weights."""
    rng, number = np.random.default_rng(2), 16
    draws = np.sort(rng.random((4000, 20)), 1)
    rank = np.arange(1, 21)
    weights = ((21 - rank) / 20) ** number - ((20 - rank) / 20) ** number
    with_replacement = (draws * weights).sum(1).mean()
    without = expected_best(draws, np.array([number]))[:, 0].mean()
    assert abs(without - 1 / 17) < 0.002 < with_replacement - 1 / 17


def test_more_draws_than_points_have_no_expected_best():
    found = expected_best(np.array([[1.0, 2.0, np.nan]]), np.array([2, 3]))
    assert found[0, 0] == 1.0
    assert math.isnan(found[0, 1])


def test_untuned_is_the_loss_where_others_are_best():
    losses = np.array([[1.0, 9.0, 5.0], [7.0, 2.0, 4.0], [8.0, 1.0, 3.0]])
    regrets = regret(losses, losses.min(1), np.full(3, 10.0))
    found = untuned(losses, regrets, np.array([True, True, True]))
    # the others' mean regret is least at point 1 for the first, at 1 for the second, and at 2 for the third
    by_hand = []
    for method in range(3):
        others = [other for other in range(3) if other != method]
        by_hand.append(losses[method, regrets[others].mean(0).argmin()])
    assert found.tolist() == by_hand


def test_a_control_is_no_ones_recipe():
    losses = np.array([[1.0, 9.0], [9.0, 1.0], [9.0, 1.0]])
    regrets = regret(losses, losses.min(1), np.full(3, 10.0))
    assert untuned(losses, regrets, np.array([True, True, False]))[0] == 9.0
    assert untuned(losses, regrets, np.array([True, False, False]))[0] == 1.0, "alone it is its own"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([5, 3, 1], [4, 3.5, 3], 2),
        ([5, 4, 1], [4, 3.5, 3], 3),
        ([1, 1, 1], [2, 2, 2], None),
        ([2, 2, 2], [1, 1, 1], None),
        ([5, 1, 4], [4, 3, 3], None),
    ],
)
def test_overtaking_by_hand(first, second, expected):
    """Always below is no overtaking; nor is a lead that is lost again."""
    assert overtakes(np.array(first), np.array(second), np.array([1, 2, 3])) == expected


def test_a_seed_is_held_against_its_own_best():
    """A seed with other data has other losses everywhere: as many of its runs keep what its best learns."""
    rng = np.random.default_rng(3)
    one = rng.random((2, 64, 1))
    both = np.concatenate([one, one + 5], 2)
    initial = np.array([[2.0, 7.0], [2.0, 7.0]])
    alone = robust_shares(one, initial[:, :1], np.array([0.1, 0.3]))
    np.testing.assert_allclose(robust_shares(both, initial, np.array([0.1, 0.3])), alone)


def test_the_boards_best_is_that_of_compared_methods_alone():
    losses = np.stack([np.linspace(1, 3, 64), np.linspace(0, 3, 64)])[..., None]
    initial = np.full((2, 1), 3.0)
    own, by_first = (
        robust_shares(losses, initial, np.array([0.1]), np.array(compared))[:, 0]
        for compared in ([True, True], [True, False])
    )
    assert by_first[0] == robust_shares(losses, initial, np.array([0.1]))[0, 0]
    assert own[0] < by_first[0]


def test_numbers_stand_in_the_order_of_the_scores():
    rng = np.random.default_rng(4)
    losses, initial = rng.random((3, 64, 2)), np.full((3, 2), 1.5)
    found = dict(zip(BOX_SCORES, box_numbers(losses, initial, np.ones(3, dtype=bool)), strict=True))
    best = best_losses(losses.mean(2))
    np.testing.assert_allclose(found[f"expected_best_{BUDGET}"], best)
    np.testing.assert_allclose(found["box_sensitivity"], losses.mean((1, 2)) - best)
    np.testing.assert_allclose(found["tuning_gap"], found["loss_untuned"] - best)
    np.testing.assert_allclose(found["loss_q50"], np.median(losses.mean(2), 1))
    np.testing.assert_allclose(found["robust_share"], robust_shares(losses, initial, np.array([0.1]))[:, 0])


def test_missing_trials_are_left_out():
    rng = np.random.default_rng(5)
    losses, initial = rng.random((2, 64, 3)), np.full((2, 3), 1.5)
    losses[:, 40:] = np.nan
    there = box_numbers(losses[:, :40], initial, np.ones(2, dtype=bool))[:4]
    np.testing.assert_allclose(box_numbers(losses, initial, np.ones(2, dtype=bool))[:4], there)
    losses[0, :, 2] = np.nan
    assert np.isfinite(box_numbers(losses, initial, np.ones(2, dtype=bool))).all()
