"""Scores on answers worked out by hand, and the properties that define them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.scores import robustness

REPEATABLE = settings(deadline=None, derandomize=True)
INF, NAN = math.inf, math.nan
SCORES = [*robustness.SENSITIVITIES.values(), robustness.best_loss, robustness.best_lr, robustness.stable_decades]

# Rows are lrs 0.01, 0.1, 1, 10; columns are two seeds. Losses at init 4 and 6, so 5 on average.
LRS = np.array([0.01, 0.1, 1.0, 10.0])
INITIAL = np.array([4.0, 6.0])
LOSSES = np.array(
    [
        [3.0, 5.0],  # mean 4;   seedwise (3 + 5) / 2 = 4
        [1.0, 1.0],  # mean 1;   seedwise 1
        [2.0, INF],  # inf -> 5; seedwise (2 + 6) / 2 = 4
        [9.0, 3.0],  # 6 -> 5;   seedwise (4 + 3) / 2 = 3.5
    ]
)


def test_lr_sensitivity_by_hand():
    # (4 + 1 + 5 + 5) / 4 - 1 = 3.75 - 1
    assert robustness.lr_sensitivity(LOSSES, INITIAL, LRS) == pytest.approx(2.75)


def test_seedwise_sensitivity_by_hand():
    # (4 + 1 + 4 + 3.5) / 4 - 1 = 3.125 - 1
    assert robustness.lr_sensitivity_seedwise(LOSSES, INITIAL, LRS) == pytest.approx(2.125)


def test_clipped_curves_by_hand():
    assert robustness.clipped_curve(LOSSES, INITIAL).tolist() == [4.0, 1.0, 5.0, 5.0]
    assert robustness.seedwise_clipped_curve(LOSSES, INITIAL).tolist() == [4.0, 1.0, 4.0, 3.5]


@pytest.mark.parametrize(
    ("best", "initial", "expected"),
    [
        (9.6, 10.0, True),  # 0.4 learned, less than 0.5
        (9.4, 10.0, False),
        (19.0, 20.0, False),  # exactly 5%
        (-10.4, -10.0, True),  # a loss may be negative: 5% of its size
        (-10.6, -10.0, False),
        (0.097, 0.1, True),
        (0.094, 0.1, False),
    ],
)
def test_chance_is_less_than_a_twentieth_of_the_loss_at_init_learned(best, initial, expected):
    assert bool(robustness.is_chance(best, initial)) is expected
    losses = np.array([[initial], [best]])
    assert bool(robustness.is_at_chance(losses, np.array([initial]), LRS[:2])) is expected


def test_best_loss_and_lr_by_hand():
    assert robustness.best_loss(LOSSES, INITIAL, LRS) == 1.0
    assert robustness.best_lr(LOSSES, INITIAL, LRS) == 0.1


def test_grids_side_by_side_have_each_its_own_best_loss():
    """As completed or resampled grids have: one that diverged has the mean loss at init of its own seeds."""
    losses_NLS = np.stack([np.full((2, 2), INF), np.full((2, 2), INF), np.full((2, 2), 1.0)])
    initial_NS = np.array([[4.0, 6.0], [8.0, 10.0], [4.0, 6.0]])
    assert robustness.best_loss(losses_NLS, initial_NS, LRS[:2]).tolist() == [5.0, 9.0, 1.0]


def test_everything_diverged_has_the_initial_loss_as_best():
    losses = np.full((4, 2), INF)
    assert robustness.best_loss(losses, INITIAL, LRS) == 5.0
    assert robustness.lr_sensitivity(losses, INITIAL, LRS) == 0.0
    assert robustness.stable_decades(losses, INITIAL, LRS) == 0.0


def test_missing_trials_leave_their_seed_or_lr_out():
    losses = np.array([[3.0, NAN], [1.0, 1.0], [NAN, NAN], [2.0, 2.0]])
    # means 3, 1, -, 2: (3 + 1 + 2) / 3 - 1
    assert robustness.lr_sensitivity(losses, INITIAL, LRS) == pytest.approx(1.0)
    assert robustness.lr_sensitivity_seedwise(losses, INITIAL, LRS) == pytest.approx(1.0)


def test_stable_decades_by_hand():
    # least 1, init 5: halfway 3. Curve 4, 1, 4, 3.5: only lr 0.1 is stable, with half a decade to either side.
    assert robustness.stable_decades(LOSSES, INITIAL, LRS) == pytest.approx(1.0)


def test_windowed_sensitivity_by_hand():
    # Curve 4, 1, 5, 5 with its best at 0.1: 10 lies two decades away, so (4 + 1 + 5) / 3 - 1.
    assert robustness.lr_sensitivity_windowed(LOSSES, INITIAL, LRS) == pytest.approx(10 / 3 - 1)
    # The grid begins one decade below the best: 2.5 of the window's 3 decades.
    assert robustness.window_share(LOSSES, INITIAL, LRS) == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("middle", [10**1.5, 31.6227766017])  # as a file has it: 2e-13 decades too far from 1
def test_window_takes_in_learning_rates_at_its_very_ends(middle):
    lrs = np.array([1.0, middle, 1000.0])
    losses = np.array([[3.0], [1.0], [2.0]])
    assert robustness.lr_sensitivity_windowed(losses, np.array([4.0]), lrs) == pytest.approx(1.0)
    assert robustness.window_share(losses, np.array([4.0]), lrs) == pytest.approx(1.0)


def test_windowed_sensitivity_is_the_plain_one_where_the_window_holds_the_grid():
    lrs = np.array([0.1, 0.2, 0.4, 0.8])
    expected = robustness.lr_sensitivity(LOSSES, INITIAL, lrs)
    assert robustness.lr_sensitivity_windowed(LOSSES, INITIAL, lrs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("curve", "edge"),
    [
        ([1.0, 1.0, 1.0, 1.0], 10.0),  # censored
        ([1.0, 1.0, 4.0, 4.0], 0.1),
        ([1.0, 4.0, 1.0, 4.0], 1.0),  # the largest, though one below it is not stable
        ([1.0, 1.0, NAN, INF], 0.1),
        ([5.0, 5.0, 5.0, 5.0], NAN),
    ],
)
def test_edge_of_curves(curve, edge):
    found = robustness.edge_lr(np.array(curve)[:, None], np.array([5.0]), LRS)
    assert float(found) == pytest.approx(edge, nan_ok=True)


def test_diverged_share_by_hand():
    losses = np.array([[INF, NAN], [1.0, 1.0], [INF, 2.0]])
    assert robustness.diverged_share(losses, INITIAL, LRS[:3]) == 2 / 5


def test_seed_mean_by_hand():
    # Seeds' means over the lrs 2 and 4 (one value is missing): their mean is 3.
    assert robustness.seed_mean(np.array([[1.0, 4.0], [3.0, NAN]]), INITIAL, LRS[:2]) == 3.0


def test_seed_spread_by_hand():
    """Of the first row alone, with one degree of freedom less."""
    assert robustness.seed_spread(np.array([[1.0, 4.0], [3.0, 9.0]]), INITIAL, LRS[:2]) == pytest.approx(4.5**0.5)
    side_by_side = np.array([[[1.0, 4.0]], [[2.0, 2.0]]])
    assert robustness.seed_spread(side_by_side, INITIAL, LRS[:1]) == pytest.approx([4.5**0.5, 0.0])


def test_new_scores_are_batched_over_leading_axes():
    batch_losses, batch_initial = np.stack([LOSSES, LOSSES[::-1]]), np.stack([INITIAL, INITIAL])
    for score in (
        robustness.lr_sensitivity_windowed,
        robustness.window_share,
        robustness.edge_lr,
        robustness.diverged_share,
    ):
        one_by_one = [float(score(losses, INITIAL, LRS)) for losses in batch_losses]
        assert score(batch_losses, batch_initial, LRS).tolist() == pytest.approx(one_by_one, nan_ok=True)


@pytest.mark.parametrize(
    ("curve", "width"),
    [
        ([1.0, 1.0, 1.0, 1.0], 3.0),  # the whole grid: nothing is added at its borders
        ([1.0, 1.0, 4.0, 4.0], 1.5),  # from the border, half a decade beyond the second
        ([1.0, 4.0, 1.0, 1.0], 1.5),  # the longer of two runs
        ([1.0, 4.0, 4.0, 4.0], 0.5),
        ([1.0, 3.0, 3.1, 3.0], 1.5),  # exactly halfway is half of what is learned
        ([5.0, 5.0, 5.0, 5.0], 0.0),  # learned nothing
        ([1.0, NAN, 1.0, 4.0], 2.5),  # an unmeasured lr splits nothing
        ([1.0, 1.0, 1.0, INF], 2.5),
    ],
)
def test_stable_decades_of_curves(curve, width):
    losses, initial = np.array(curve)[:, None], np.array([5.0])
    assert robustness.stable_decades(losses, initial, LRS) == pytest.approx(width)


@pytest.mark.parametrize(("loss", "width", "edge"), [(2.0, 2.0, 0.1), (1.99, 2.0, 0.1), (2.01, 1.0, 0.01)])
def test_half_of_what_the_best_lr_learns_is_enough(loss, width, edge):
    losses, initial, lrs = np.array([[loss] * 2, [1.0] * 2, [loss] * 2]), np.full(2, 3.0), np.array([0.001, 0.01, 0.1])
    assert robustness.stable_decades(losses, initial, lrs) == pytest.approx(width)
    assert robustness.edge_lr(losses, initial, lrs) == edge
    # Rounding decides nothing: a tenth of everything has no exact halves.
    assert robustness.edge_lr(losses / 10, initial / 10, lrs) == edge


def test_the_best_lr_is_stable_where_a_seed_diverged_beyond():
    # Means 2.9, 2.85 and none; half of what 2.85 learns from 3.2 leaves 3.025. Seed by seed 0.1 would have 2.4.
    losses, lrs = np.array([[2.8, 3.0], [2.7, 3.0], [1.6, np.inf]]), np.array([0.001, 0.01, 0.1])
    initial = np.full(2, 3.2)
    assert robustness.stable_lrs(losses, initial).tolist() == [True, True, False]
    assert robustness.stable_decades(losses, initial, lrs) == pytest.approx(1.5)
    assert robustness.edge_lr(losses, initial, lrs) == 0.01
    assert robustness.lr_sensitivity(losses, initial, lrs) == pytest.approx(0.1333, abs=5e-5)


def test_nothing_learned_leaves_no_lr_stable():
    assert not robustness.stable_lrs(np.array([[3.0, 3.0], [4.0, 3.5]]), np.full(2, 3.0)).any()


@pytest.mark.parametrize(
    ("losses", "best", "lr"),
    [
        ([[4.5, 4.7], [4.1, 4.3], [np.inf, 1.0]], 4.2, 0.1),  # above the loss at init, and not clipped there
        ([[np.inf, 1.0], [2.0, np.inf], [np.inf, np.inf]], 4.0, 0.01),  # nothing but the loss at init to go by
    ],
)
def test_best_loss_where_no_lr_improves_on_the_loss_at_init(losses, best, lr):
    data = np.array(losses), np.full(2, 4.0), np.array([0.01, 0.1, 1.0])
    assert robustness.best_loss(*data) == pytest.approx(best)
    assert robustness.best_lr(*data) == lr
    assert robustness.is_at_chance(*data)


def test_one_diverged_seed_makes_an_lr_unstable():
    losses = np.array([[1.0] * 9 + [INF], [1.0] * 10])
    # seedwise mean 1.4 is far below halfway, yet a seed diverged
    assert robustness.stable_lrs(losses, np.full(10, 5.0)).tolist() == [False, True]


def test_scores_are_batched_over_leading_axes():
    batch_losses, batch_initial = np.stack([LOSSES, LOSSES[::-1]]), np.stack([INITIAL, INITIAL])
    for score in SCORES:
        one_by_one = [score(losses, INITIAL, LRS) for losses in batch_losses]
        assert score(batch_losses, batch_initial, LRS).tolist() == pytest.approx(one_by_one), score


NUM_LRS, NUM_SEEDS = 4, 3
loss = st.one_of(st.floats(0.0, 10.0), st.just(INF))
losses_strategy = arrays(float, (NUM_LRS, NUM_SEEDS), elements=loss)
initial_strategy = arrays(float, (NUM_SEEDS,), elements=st.floats(0.5, 10.0))


@REPEATABLE
@given(losses_strategy, initial_strategy)
def test_sensitivities_are_never_negative_nor_above_what_could_be_lost(losses, initial):
    for score in robustness.SENSITIVITIES.values():
        assert -1e-9 <= score(losses, initial, LRS) <= initial.mean() + 1e-9


@REPEATABLE
@given(losses_strategy, initial_strategy, st.permutations(range(NUM_SEEDS)))
def test_order_of_seeds_is_irrelevant(losses, initial, order):
    for score in SCORES:
        assert score(losses[:, order], initial[order], LRS) == pytest.approx(score(losses, initial, LRS))


@REPEATABLE
@given(losses_strategy, initial_strategy, st.floats(-5.0, 5.0))
def test_adding_a_constant_to_all_losses_changes_no_sensitivity(losses, initial, constant):
    for score in robustness.SENSITIVITIES.values():
        shifted = score(losses + constant, initial + constant, LRS)
        assert shifted == pytest.approx(score(losses, initial, LRS), abs=1e-9)


@REPEATABLE
@given(losses_strategy, initial_strategy, st.floats(0.1, 10.0))
def test_sensitivity_has_the_unit_of_the_loss(losses, initial, factor):
    for score in robustness.SENSITIVITIES.values():
        scaled = score(losses * factor, initial * factor, LRS)
        assert scaled == pytest.approx(factor * score(losses, initial, LRS), abs=1e-9)


@REPEATABLE
@given(losses_strategy, initial_strategy)
def test_seedwise_curve_lies_below_the_seed_averaged_one(losses, initial):
    # min is concave: the mean of minima is at most the minimum of means
    seedwise = robustness.seedwise_clipped_curve(losses, initial)
    assert (seedwise <= robustness.clipped_curve(losses, initial) + 1e-9).all()


@REPEATABLE
@given(arrays(float, (NUM_LRS, 1), elements=loss), st.floats(0.5, 10.0))
def test_both_sensitivities_agree_for_one_seed(losses, initial):
    values = {float(score(losses, np.array([initial]), LRS)) for score in robustness.SENSITIVITIES.values()}
    assert max(values) == pytest.approx(min(values))


@REPEATABLE
@given(losses_strategy, initial_strategy)
def test_diverging_equals_any_loss_above_init_seedwise(losses, initial):
    huge = np.where(np.isinf(losses), 1e6, losses)
    expected = robustness.lr_sensitivity_seedwise(losses, initial, LRS)
    assert robustness.lr_sensitivity_seedwise(huge, initial, LRS) == pytest.approx(expected)


@pytest.mark.parametrize("losses", [[1.0, 2.0], [INF, 2.0]])
def test_one_learning_rate_has_no_sensitivity_and_no_width(losses):
    """Nothing varies: 0 would be the best score of all. What a rate reaches, and which are stable, is known."""
    data = (np.array([losses]), INITIAL, LRS[:1])
    varied = (*robustness.SENSITIVITIES.values(), robustness.lr_sensitivity_windowed, robustness.stable_decades)
    assert [math.isnan(score(*data)) for score in varied] == [True] * 4
    assert not math.isnan(robustness.best_loss(*data))


def test_one_learning_rate_within_the_window_has_no_windowed_sensitivity():
    lrs, losses = np.array([1e-5, 1.0]), np.array([[1.0, 1.0], [2.0, 2.0]])
    assert math.isnan(robustness.lr_sensitivity_windowed(losses, INITIAL, lrs))
    assert robustness.lr_sensitivity(losses, INITIAL, lrs) == 0.5
