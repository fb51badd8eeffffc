"""Intervals cover what they claim to, in simulated suites; those of rounded values by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.curves import LossGrid
from analysis.scores.robustness import (
    SENSITIVITIES,
    best_loss,
    best_lr,
    diverged_share,
    lr_sensitivity,
    lr_sensitivity_seedwise,
)
from analysis.scores.seeds.intervals import (
    Interval,
    half_error,
    half_scores,
    interval,
    mean_interval,
    rounded_interval,
    standard_error,
)
from tests.analysis.interval_coverage import SCENARIOS, coverage

REPEATABLE = settings(deadline=None, derandomize=True)
ORDINARY = SCENARIOS[:3]


def grid(losses, initial, lrs=(0.1, 1.0), seeds=None) -> LossGrid:
    losses = np.array(losses, float)
    return LossGrid(
        lrs=np.array(lrs),
        seeds=tuple(range(losses.shape[1])) if seeds is None else seeds,
        losses=losses,
        initial_losses=np.array(initial, float),
        num_lost=0,
        is_complete=True,
    )


def test_mean_interval_by_hand():
    # Mean 2, standard deviation 1, standard error 1 / sqrt(3), t 4.302653.
    found = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2 - 2.484138, 2 + 2.484138))
    assert mean_interval(np.array([1.0])) == Interval(value=1.0, low=None, high=None)


@REPEATABLE
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8))
def test_mean_interval_is_what_both_errors_reduce_to(values):
    def mean_loss(losses_LS, initial_S, lrs_L):
        return losses_LS.mean((-1, -2))

    expected = interval(mean_loss, grid([values], [0.0] * len(values), lrs=(0.1,)))
    found = mean_interval(np.array(values))
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=1e-9
    )


@pytest.mark.parametrize("scenario", ORDINARY, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize(
    "num_seeds", [pytest.param(3, marks=pytest.mark.repetition), 5, pytest.param(10, marks=pytest.mark.repetition)]
)
@pytest.mark.parametrize("name", SENSITIVITIES)
def test_interval_covers_the_expected_score(name, num_seeds, scenario):
    # 1,200 suites: a coverage of 0.95 is measured with a standard error of 0.006.
    found = coverage(SENSITIVITIES[name], scenario, num_seeds, num_suites=1200, num_resamples=2, seed=1)
    assert 0.925 <= found["ours"] <= 0.995


@pytest.mark.parametrize("scenario", SCENARIOS[3:], ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_seedwise_interval_covers_even_where_the_cliff_wanders_far(num_seeds, scenario):
    found = coverage(lr_sensitivity_seedwise, scenario, num_seeds, num_suites=1200, num_resamples=2, seed=1)
    assert 0.925 <= found["ours"] <= 0.985


def test_percentile_bootstrap_of_five_seeds_covers_too_little():
    found = coverage(lr_sensitivity, SCENARIOS[1], 5, num_suites=1000, num_resamples=200, seed=2)
    assert found["percentile"] < 0.9
    assert found["BCa"] < 0.9
    assert found["ours"] > 0.93


def test_error_of_a_mean_over_seeds_is_the_textbook_one():
    # One lr below init: best_loss is the plain mean of 1, 2, 4 and both errors are s / sqrt(3).
    losses, initial = np.array([[1.0, 2.0, 4.0]]), np.full(3, 9.0)
    expected = np.std([1.0, 2.0, 4.0], ddof=1) / math.sqrt(3)
    assert standard_error(best_loss, losses, initial, np.array([0.1])) == pytest.approx(expected)
    found = interval(best_loss, grid(losses, initial, lrs=[0.1]))
    assert found.high is not None
    assert found.high - found.value == pytest.approx(expected * stats.t.ppf(0.975, 2))


def test_one_seed_has_no_interval():
    found = interval(lr_sensitivity, grid([[1.0], [2.0]], [4.0]))
    assert (found.value, found.low, found.high) == (pytest.approx(0.5), None, None)


def test_error_of_rounded_values_by_hand():
    # Seeds 0, 0, 1 of four trials: shares 0, 0, 1/4; their variance 1/48 and that of the rounding 1/192, over 3.
    losses = [[math.inf, 1.0, 1.0], *([[1.0] * 3] * 3)]
    found = rounded_interval(diverged_share, grid(losses, [4.0] * 3, (1e-3, 1e-2, 0.1, 1.0)), 0.25)
    assert found.high is not None
    half = stats.t.ppf(0.975, 2) * math.sqrt((1 / 48 + 1 / 192) / 3)
    assert (found.value, found.high - found.value, found.value - found.low) == pytest.approx((1 / 12, half, half))


def test_seeds_that_agree_on_a_step_are_as_uncertain_as_its_rounding():
    found = rounded_interval(diverged_share, grid([[math.inf] * 4, [1.0] * 4], [4.0] * 4), 0.5)
    assert found.high == pytest.approx(0.5 + stats.t.ppf(0.975, 3) * 0.5 / math.sqrt(48))
    assert rounded_interval(diverged_share, grid([[1.0]], [4.0], (0.1,)), 1.0).high is None


def first_seed(losses_LS, initial_S, lrs_L):
    """The mean of the losses, weighted so that a sum over halves can be checked by hand."""
    return losses_LS.mean((-2, -1))


@pytest.mark.parametrize(("num_seeds", "num_halves"), [(2, 2), (3, 3), (5, 10), (6, 6), (8, 16), (10, 20)])
def test_halves_have_every_seed_as_often(num_seeds, num_halves):
    one_hot = np.eye(num_seeds)[:, None, :]  # by suites: is the seed in the half?
    of_half = half_scores(first_seed, one_hot, np.ones((num_seeds, num_seeds)), np.ones(1))
    assert of_half.shape == (num_seeds, num_halves)
    size = (num_seeds + 1) // 2
    assert (of_half > 0).sum(0).tolist() == [size] * num_halves
    assert len({tuple(sorted(np.flatnonzero(half))) for half in of_half.T}) == num_halves
    assert set((of_half > 0).sum(1)) == {num_halves * size // num_seeds}


def test_spread_over_halves_is_the_standard_error_of_a_mean():
    # Of five seeds all ten halves of three are there; then the delete-d jackknife of a mean is exact.
    values = np.array([[1.0, 2.0, 4.0, 8.0, 3.5]])
    of_half = half_scores(first_seed, values, np.ones(5), np.ones(1))
    assert half_error(of_half, 5) == pytest.approx(values.std(ddof=1) / math.sqrt(5))


def test_a_score_that_leaps_has_the_width_of_its_halves_where_leaving_one_out_shows_nothing():
    # The best lr is the first; of seeds 0 to 2 alone it is the second, by far: no single seed moves it, a half does.
    losses = [[2.0] * 6, [1.0] * 3 + [3.9] * 3]
    data = (np.array(losses), np.full(6, 4.0), np.array([0.1, 1.0]))

    def place(losses_LS, initial_S, lrs_L):
        return 100.0 * (best_lr(losses_LS, initial_S, lrs_L) == 1.0)

    assert standard_error(place, *data) == pytest.approx(50 * math.sqrt(6 / 5) / math.sqrt(6))
    assert standard_error(place, *data, jumps=True) == pytest.approx(half_scores(place, *data).std())
    assert interval(place, grid(*data), jumps=True).high > interval(place, grid(*data)).high
