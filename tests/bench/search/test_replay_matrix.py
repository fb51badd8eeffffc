"""The sensitivity search on curves that nothing in it was chosen on; `replay_matrix` prints the figures."""

import numpy as np
import pytest

from tests.bench.search.replay_matrix import HALVES, recorded
from tests.bench.search.replay_table1 import sensitivity_repeats


def test_halves_share_no_curve_and_hold_all():
    development, held_out = (recorded(half) for half in HALVES)
    assert (len(development), len(held_out)) == (32, 31)
    assert not development.keys() & held_out.keys()


@pytest.mark.slow
def test_held_out_curves_are_near_the_dense_ones_for_a_third_of_the_trials():
    """Not each of them; the module's table has the figures."""
    repeats = sensitivity_repeats(recorded("held out"), 3, tolerance=0.05, budget=21)
    errors = np.array([repeat.error for repeat in repeats])
    assert max(repeat.answer.num_trials for repeat in repeats) <= 21
    assert (np.abs(errors) <= 0.05).mean() >= 0.9
    assert np.sqrt((errors**2).mean()) <= 0.035
    holds = [r.answer.low <= r.answer.value - r.error <= r.answer.high for r in repeats]
    assert np.mean(holds) >= 0.95
