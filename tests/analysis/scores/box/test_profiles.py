"""Along each knob: main effects, tuned losses and stable ranges of a surface that is known; shares of importance."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from analysis.scores.box.board import score_box
from analysis.scores.box.importance import importances
from analysis.scores.box.knobs import NUM_BINS, BoxKnob, value_between
from analysis.scores.box.profiles import MOST_POINTS, edges, point_regrets, profiles
from bench.search.importance import EVALUATORS
from tests.analysis.box_simulation import INITIAL, simulate

KNOBS = (
    BoxKnob(name="lr", form="log", ends=(1e-4, 1.0)),
    BoxKnob(name="decay", form="linear", ends=(0.0, 1.0), special=(0.2, 0.0)),
    BoxKnob(name="optimizer", form="values", choices=("adamw", "lion")),
)


@pytest.fixture(scope="module")
def surface():
    """A loss that is 1 below the middle of lr, 2 above it, and at init from 7/8 on; lion costs a half more."""
    rng = np.random.default_rng(0)
    box = simulate(rng, num_points=512, widths=(1.0,))
    units = rng.random((512, 3))
    loss = np.where(units[:, 0] < 0.5, 1.0, 2.0) + 0.5 * (units[:, 2] >= 0.5)
    loss = np.where(units[:, 0] >= 0.875, INITIAL, loss)
    losses = dataclasses.replace(
        box, losses_MNS=np.repeat(loss[None, :, None], 3, 2), initial_MS=np.full((1, 3), INITIAL)
    )
    frame = pl.DataFrame({"point": range(512), **{one.name: units[:, k] for k, one in enumerate(KNOBS)}})
    return score_box(losses, {}), frame


def test_profiles_of_a_known_surface(surface):
    found = profiles([surface[0]], surface[1], KNOBS)
    lr = found.filter(knob="lr")
    assert lr.height == NUM_BINS
    np.testing.assert_allclose(lr["tuned_loss"][:4], 1.0, atol=0.1)
    np.testing.assert_allclose(lr["drawn_loss"][:7], [1.25] * 4 + [2.25] * 3, atol=0.12)
    np.testing.assert_allclose(lr["drawn_loss"][7], INITIAL)
    optimizer = found.filter(knob="optimizer")
    assert optimizer["part"].to_list() == ["adamw", "lion"]
    assert optimizer["drawn_loss"][1] - optimizer["drawn_loss"][0] == pytest.approx(0.45, abs=0.25)
    assert found.filter(knob="decay")["part"][0] == "0", "where the knob is off stands alone"


def test_edges_end_where_half_of_what_is_learned_is_lost(surface):
    found = edges(profiles([surface[0]], surface[1], KNOBS))
    lr = found.filter(knob="lr").to_dicts()
    assert {one["others"] for one in lr} == {"drawn", "tuned"}
    for one in lr:
        assert (one["low"], one["censored"]) == (1e-4, "low")
        assert one["high"] == pytest.approx(value_between("log", 1e-4, 1.0, 0.875))
    assert found.filter(knob="decay")["censored"].to_list() == ["both", "both"]
    assert found.filter(knob="optimizer").is_empty(), "a list has no edges"


def test_importance_finds_the_knob_that_matters(surface):
    found = importances([surface[0]], surface[1], KNOBS, EVALUATORS)
    of = {(one["evaluator"], one["knob"]): one for one in found.iter_rows(named=True)}
    assert of["fanova", "lr"]["importance"] > 0.8
    assert of["fanova", "decay"]["importance"] < 0.02
    assert of["ped_anova", "lr"]["importance"] > of["ped_anova", "decay"]["importance"]
    assert sum(one["importance"] for key, one in of.items() if key[0] == "ped_anova") == pytest.approx(1.0)
    for one in of.values():
        assert 0 <= one["ci_low"] <= one["importance"] <= one["ci_high"] <= 1


def test_importance_by_functional_anova_is_that_of_the_variance():
    """Of u1 + 2 u2 + noise-free: variances 1/12 and 4/12, so that the second explains four fifths."""
    units = np.random.default_rng(1).random((512, 2))
    found = EVALUATORS["fanova"](units, units[:, 0] + 2 * units[:, 1], (0, 0))
    assert found.tolist() == pytest.approx([0.2, 0.8], abs=0.05)


def test_equal_losses_have_no_importance():
    assert EVALUATORS["fanova"](np.random.default_rng(2).random((32, 2)), np.ones(32), (0, 2)).tolist() == [0, 0]


def test_points_of_a_figure_are_few_and_their_regret_is_that_of_the_surface(surface):
    found = point_regrets([surface[0]], surface[1])
    assert found["point"].n_unique() <= MOST_POINTS
    assert found.height == 3 * found["point"].n_unique()
    cliff = found.filter(pl.col("knob") == "lr", pl.col("unit") >= 0.875)
    assert (cliff["regret"] == 1.0).all()


@pytest.mark.parametrize(
    ("form", "low", "high", "share", "expected"),
    [("log", 1e-4, 1.0, 0.5, 1e-2), ("linear", -1.0, 3.0, 0.25, 0.0), ("int", 3, 6, 0.5, 5), ("int", 3, 6, 1.0, 6)],
)
def test_values_follow_the_scale(form, low, high, share, expected):
    assert value_between(form, low, high, share) == pytest.approx(expected)
