"""What the replay of samplers on a recorded box rests on, on a surface that is known."""

import numpy as np
import pytest

from tests.bench.search.replay_box import comparison, replayed


@pytest.fixture(scope="module")
def surface() -> tuple[np.ndarray, np.ndarray]:
    """512 points, and a bowl around 0.7 of the first knob for the second of two values, that of the other is flat."""
    units = np.random.default_rng(0).random((512, 2))
    regret = np.clip(4 * (units[:, 0] - 0.7) ** 2 + 0.5 * (units[:, 1] < 0.5), 0, 1)
    return units, regret - regret.min()


@pytest.mark.parametrize("name", ["random", "qmc", "tpe"])
def test_regret_falls_and_every_setting_is_told_once(surface, name):
    units, regret = surface
    found = replayed(name, 0, units, (0, 2), regret, 24)
    assert (np.diff(found) <= 0).all()
    assert len(found) == 24
    np.testing.assert_array_equal(found, replayed(name, 0, units, (0, 2), regret, 24))


def test_asked_for_all_a_sampler_finds_the_best(surface):
    units, regret = (part[:32] for part in surface)
    assert replayed("random", 1, units, (0, 2), regret, 32)[-1] == regret.min()


def test_tpe_is_nearer_than_random_draws_where_they_are_few(surface):
    units, regret = surface
    found = comparison(["tpe"], units, (0, 2), regret, (16, 48), num_repeats=8)
    assert found.filter(sampler="random")["beyond_random"].to_list() == [0.0, 0.0]
    tpe = found.filter(sampler="tpe", budget=48).row(0, named=True)
    assert tpe["beyond_random"] < 0
    assert tpe["ci_low"] < tpe["beyond_random"] < tpe["ci_high"]
