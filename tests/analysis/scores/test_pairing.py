"""How two entries are compared: paired where they have the same seeds, else Welch's test."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.curves import LossGrid
from analysis.scores.intervals import Difference, paired_differences
from analysis.scores.pairing import PAIRED, UNPAIRED, corrected, entry_difference, entry_differences, how_compared
from analysis.scores.spreads import spread_difference


def mean_loss(losses_LS, initial_S, lrs_L):
    return losses_LS[..., 0, :].mean(-1)


def grid(losses: list[float], seeds: tuple[int, ...] | None = None, initial: float = 9.0) -> LossGrid:
    return LossGrid(
        lrs=np.array([1.0]),
        seeds=tuple(range(len(losses))) if seeds is None else seeds,
        losses=np.array([losses]),
        initial_losses=np.full(len(losses), initial),
        num_lost=0,
        is_complete=True,
    )


def test_the_same_seeds_are_paired():
    one, two = grid([2.0, 2.2, 2.1, 1.9]), grid([2.5, 2.8, 2.5, 2.5], initial=7.0)
    found = entry_difference(mean_loss, one, two)
    assert how_compared(found) == PAIRED
    assert found.p_value == pytest.approx(stats.ttest_rel(one.losses[0], two.losses[0]).pvalue)


@pytest.mark.parametrize("seeds", [(4, 5, 6), (1, 2, 3), (0, 1, 2)])
def test_other_seeds_are_compared_by_welch_however_many_are_shared(seeds):
    one, two = grid([2.0, 2.2, 2.1, 1.9]), grid([2.5, 2.8, 2.5], seeds)
    found = entry_difference(mean_loss, one, two)
    test: Any = stats.ttest_ind(one.losses[0], two.losses[0], equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert how_compared(found) == UNPAIRED
    assert (found.value, found.p_value) == pytest.approx((-0.55, test.pvalue))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.num_seeds == 3
    assert found.p_of(2 * found.value) == pytest.approx(
        2 * stats.t.sf(1.1 / (found.standard_error or math.nan), test.df)
    )


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
    assert [how_compared(one) == PAIRED for one in found] == same
    assert found[0] == paired_differences(mean_loss, grids[:2])[0]


def test_seeds_in_common_tell_more_than_others():
    # What both owe to the seed cancels where it is the same.
    noise = np.array([-3.0, 0.0, 1.0, 2.0])
    one, two = (5.0 + noise).tolist(), (5.2 + noise + [0.0, 0.01, -0.01, 0.0]).tolist()
    paired = entry_difference(mean_loss, grid(one), grid(two))
    unpaired = entry_difference(mean_loss, grid(one), grid(two, (4, 5, 6, 7)))
    assert paired.value == unpaired.value
    assert paired.p_value < 1e-4 < 0.5 < unpaired.p_value


def test_pairs_that_nothing_can_be_told_of_do_not_count_in_the_correction():
    tested = Difference(value=1.0, standard_error=0.3, p_value=0.02, num_seeds=4)
    alike = Difference(value=0.0, standard_error=0.3, p_value=1.0, num_seeds=4)
    alone = Difference(value=1.0, standard_error=None, p_value=1.0, num_seeds=1)
    assert corrected([tested, alone, alone]) == [0.02, 1.0, 1.0]
    assert corrected([tested, alike, alone]) == [0.04, 1.0, 1.0]


def test_spreads_over_other_seeds_are_compared_by_their_ratio():
    # With three seeds the kurtosis is taken as 0.3: 2 / (2 / 2 + 0.3 / 3) degrees of freedom.
    one, two = grid([1.0, 2.0, 3.0], (0, 1, 2)), grid([1.0, 1.1, 1.2], (3, 4, 5))
    freedom = 2 / (1 + 0.1)
    found = spread_difference(one, two)
    assert how_compared(found) == UNPAIRED
    assert found.value == pytest.approx(0.9)
    assert found.p_value == pytest.approx(2 * stats.f.sf(100.0, freedom, freedom))
    assert found.p_value == pytest.approx(spread_difference(two, one).p_value)
    assert spread_difference(one, grid([1.0, 2.0], (3, 4))).p_value == 1.0
