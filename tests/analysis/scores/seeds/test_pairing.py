"""How two entries are compared: paired where they have the same seeds, else Welch's test."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.curves import LossGrid
from analysis.scores.robustness import edge_lr, lr_sensitivity
from analysis.scores.seeds.pairing import (
    PAIRED,
    UNPAIRED,
    Difference,
    corrected,
    entry_difference,
    entry_differences,
    holm,
)
from analysis.scores.seeds.spreads import spread_difference
from tests.analysis.interval_coverage import LRS_L, SCENARIOS, simulate

REPEATABLE = settings(deadline=None, derandomize=True)


def mean_loss(losses_LS, initial_S, lrs_L):
    return losses_LS[..., 0, :].mean(-1)


def loss_grid(losses, initial, lrs=(0.1, 1.0), seeds=None) -> LossGrid:
    losses = np.array(losses, float)
    return LossGrid(
        lrs=np.array(lrs),
        seeds=tuple(range(losses.shape[1])) if seeds is None else seeds,
        losses=losses,
        initial_losses=np.array(initial, float),
        num_lost=0,
        is_complete=True,
    )


def grid(losses: list[float], seeds: tuple[int, ...] | None = None, initial: float = 9.0) -> LossGrid:
    return loss_grid([losses], [initial] * len(losses), (1.0,), seeds)


def test_the_same_seeds_are_paired():
    one, two = grid([2.0, 2.2, 2.1, 1.9]), grid([2.5, 2.8, 2.5, 2.5], initial=7.0)
    found = entry_difference(mean_loss, one, two)
    assert found.compared == PAIRED
    assert found.p_value == pytest.approx(stats.ttest_rel(one.losses[0], two.losses[0]).pvalue)


@pytest.mark.parametrize("seeds", [(4, 5, 6), (1, 2, 3), (0, 1, 2)])
def test_other_seeds_are_compared_by_welch_however_many_are_shared(seeds):
    one, two = grid([2.0, 2.2, 2.1, 1.9]), grid([2.5, 2.8, 2.5], seeds)
    found = entry_difference(mean_loss, one, two)
    test: Any = stats.ttest_ind(one.losses[0], two.losses[0], equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert found.compared == UNPAIRED
    assert (found.value, found.p_value) == pytest.approx((-0.55, test.pvalue))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.num_seeds == 3
    assert found.p_beyond(0.05) == pytest.approx(2 * stats.t.sf(0.5 / (found.standard_error or math.nan), test.df))


@pytest.mark.parametrize(
    ("one", "two", "half_width", "p_value"),
    [
        ([2.0], [3.0, 4.0], None, 1.0),
        ([2.0, 2.0], [2.0, 2.0], 0.0, 1.0),
        ([2.0, 2.0], [3.0, 3.0], 0.0, 0.0),
        ([2.0, 4.0], [3.0, 3.0], 12.7062, 1.0),
    ],
)
def test_welch_where_there_is_little_to_go_by(one, two, half_width, p_value):
    found = entry_difference(mean_loss, grid(one), grid(two, tuple(range(10, 10 + len(two)))))
    assert found.p_value == p_value
    assert found.half_width == (None if half_width is None else pytest.approx(half_width, abs=1e-4))


def test_several_entries_are_what_their_pairs_are():
    rng = np.random.default_rng(1)
    seed_sets = [(0, 1, 2), (0, 1, 2), (3, 4, 5), (0, 1, 2), (3, 4, 5)]
    grids = [grid(rng.random(3).tolist(), seeds) for seeds in seed_sets]
    found = entry_differences(mean_loss, grids)
    assert found == [entry_difference(mean_loss, *pair) for pair in itertools.combinations(grids, 2)]
    same = [one == two for one, two in itertools.combinations(seed_sets, 2)]
    assert [one.compared == PAIRED for one in found] == same


def test_seeds_in_common_tell_more_than_others():
    # What both owe to the seed cancels where it is the same.
    noise = np.array([-3.0, 0.0, 1.0, 2.0])
    one, two = (5.0 + noise).tolist(), (5.2 + noise + [0.0, 0.01, -0.01, 0.0]).tolist()
    paired = entry_difference(mean_loss, grid(one), grid(two))
    unpaired = entry_difference(mean_loss, grid(one), grid(two, (4, 5, 6, 7)))
    assert paired.value == unpaired.value
    assert paired.p_value < 1e-4 < 0.5 < unpaired.p_value


def test_pairs_that_nothing_can_be_told_of_do_not_count_in_the_correction():
    tested = Difference(value=1.0, standard_error=0.3, p_value=0.02, num_seeds=4, freedom=3)
    alike = Difference(value=0.0, standard_error=0.3, p_value=1.0, num_seeds=4, freedom=3)
    alone = Difference(value=1.0, num_seeds=1, freedom=0)
    assert corrected([tested, alone, alone]) == [0.02, 1.0, 1.0]
    assert corrected([tested, alike, alone]) == [0.04, 1.0, 1.0]


def test_spreads_over_other_seeds_are_compared_by_their_ratio():
    # With three seeds the kurtosis is taken as 0.3: 2 / (2 / 2 + 0.3 / 3) degrees of freedom.
    one, two = grid([1.0, 2.0, 3.0], (0, 1, 2)), grid([1.0, 1.1, 1.2], (3, 4, 5))
    freedom = 2 / (1 + 0.1)
    found = spread_difference(one, two)
    assert found.compared == UNPAIRED
    assert found.value == pytest.approx(0.9)
    assert found.p_value == pytest.approx(2 * stats.f.sf(100.0, freedom, freedom))
    assert found.p_value == pytest.approx(spread_difference(two, one).p_value)
    assert spread_difference(one, grid([1.0, 2.0], (3, 4))).p_value == 1.0


def test_paired_difference_by_hand():
    # Scores of one seed are (a + b) / 2 - min(a, b). First: 1, 1.5, 2; second: 0.5, 0.5, 0.5.
    first = loss_grid([[1.0, 1.0, 1.0], [3.0, 4.0, 5.0]], [9.0] * 3)
    second = loss_grid([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], [9.0] * 3)
    found = entry_difference(lr_sensitivity, first, second)
    # Differences 0.5, 1, 1.5: mean 1, s = 0.5, error 0.5 / sqrt(3), t = 3.46 on 2 degrees of freedom.
    assert found.value == pytest.approx(1.0)
    assert found.standard_error == pytest.approx(0.5 / math.sqrt(3))
    assert found.p_value == pytest.approx(stats.ttest_1samp([0.5, 1.0, 1.5], 0.0)[1])


def test_rounding_is_no_difference():
    losses = np.array([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9]])
    shifted = losses + np.array([0.1, 0.2, 0.7])
    found = entry_difference(lr_sensitivity, loss_grid(losses, [4.0] * 3), loss_grid(shifted, [4.0] * 3))
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.p_value == 1.0


def test_a_method_ties_with_itself():
    same = loss_grid([[1.0, 2.0], [3.0, 5.0]], [9.0] * 2)
    assert entry_difference(lr_sensitivity, same, same).p_value == 1.0


def test_a_score_that_some_seeds_leave_undefined_has_no_error():
    # The second entry has no stable lr.
    first, second = loss_grid([[1.0, 1.0], [4.0, 4.0]], [4.0] * 2), loss_grid([[4.0, 4.0], [4.0, 4.0]], [4.0] * 2)
    found = entry_difference(edge_lr, first, second)
    assert (math.isnan(found.value), found.standard_error, found.p_value) == (True, None, 1.0)


def test_a_difference_must_pass_the_step_of_the_grid():
    found = Difference(value=-1.5, standard_error=0.25, p_value=0.0, num_seeds=5, freedom=4)
    assert found.p_beyond(0.5) == pytest.approx(2 * stats.t.sf(4.0, 4))
    assert found.p_beyond(1.5) == 1.0
    unknown = Difference(value=-1.5, num_seeds=1, freedom=0)
    assert unknown.p_beyond(0.5) == 1.0


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1: 0.03, 0.06, 0.04 -> running maximum 0.03, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


@REPEATABLE
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_raw_and_bonferroni(p_values):
    for raw, stepped in zip(p_values, holm(p_values), strict=True):
        assert raw <= stepped <= min(1.0, raw * len(p_values))


def test_equal_methods_are_seldom_told_apart():
    # Two methods with the same law, 5 seeds: p < 0.05 in at most about 5% of 600 suites (standard error 0.9%).
    rng = np.random.default_rng(3)
    suites = [simulate(rng, SCENARIOS[1], 600, 5) for _ in range(2)]
    first, second = ([loss_grid(*suite, lrs=LRS_L) for suite in zip(*both, strict=True)] for both in suites)
    pairs = zip(first, second, strict=True)
    found = [entry_difference(lr_sensitivity, one, two).p_value < 0.05 for one, two in pairs]
    assert np.mean(found) < 0.075
