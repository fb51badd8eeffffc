"""Interactions of knobs on surfaces that are known, and what is kept in each cell."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from analysis.scores.box.board import ScoredBox, score_box
from analysis.scores.box.knobs import BoxKnob
from analysis.scores.box.pairs import CELL_COLUMNS, INTERACTION_COLUMNS, cells, interactions, strongest
from tests.analysis.box_simulation import INITIAL, simulate

KNOBS = (
    BoxKnob(name="lr", form="log", ends=(1e-4, 1.0)),
    BoxKnob(name="decay", form="linear", ends=(0.0, 1.0), special=(0.2, 0.0)),
    BoxKnob(name="optimizer", form="values", choices=("adamw", "lion")),
)


def box_of(loss_N: np.ndarray, units_NK: np.ndarray) -> tuple[ScoredBox, pl.DataFrame]:
    box = simulate(np.random.default_rng(0), num_points=len(loss_N), widths=(1.0,))
    losses = np.repeat(loss_N[None, :, None], 3, 2)
    losses = dataclasses.replace(box, losses_MNS=losses, initial_MS=np.full((1, 3), INITIAL))
    frame = pl.DataFrame({"point": range(len(loss_N)), **{one.name: units_NK[:, k] for k, one in enumerate(KNOBS)}})
    return score_box(losses, {}), frame


@pytest.fixture(scope="module")
def units() -> np.ndarray:
    return np.random.default_rng(1).random((2048, 3))


def test_an_interaction_is_its_share_of_the_variance(units):
    """Low lr with adamw and high lr with lion cost 1, noise costs a standard deviation of 0.5: half of the variance."""
    noise = 0.5 * np.random.default_rng(2).standard_normal(len(units))
    box, frame = box_of(2.0 + ((units[:, 0] < 0.5) == (units[:, 2] < 0.5)) + noise, units)
    found = interactions([box], frame, KNOBS)
    assert found.columns == list(INTERACTION_COLUMNS)
    of = {(one["first"], one["second"]): one for one in found.to_dicts()}
    assert of["lr", "optimizer"]["interaction"] == pytest.approx(0.5, abs=0.04)
    assert strongest(found).row(0) == ("lr", "optimizer")
    for pair in (("lr", "decay"), ("decay", "optimizer")):
        assert of[pair]["interaction"] < 0.02
        assert of[pair]["ci_low"] == 0.0
    for one in of.values():
        assert 0 <= one["ci_low"] <= one["interaction"] <= one["ci_high"] <= 1


def test_what_each_knob_does_alone_is_no_interaction(units):
    box, frame = box_of(1.0 + (units[:, 0] < 0.5) + 0.5 * (units[:, 2] < 0.5), units)
    assert interactions([box], frame, KNOBS)["interaction"].to_list() == pytest.approx([0.0] * 3, abs=5e-3)


def test_losses_that_are_equal_have_no_interaction(units):
    box, frame = box_of(np.full(len(units), 1.0), units)
    assert interactions([box], frame, KNOBS)["interaction"].to_list() == [0.0] * 3


def test_cells_have_the_share_of_the_runs_near_the_best(units):
    box, frame = box_of(np.where((units[:, 0] < 0.5) & (units[:, 2] < 0.5), 1.0, 2.0), units)
    found = cells(box, frame, KNOBS[0], KNOBS[2])
    assert found.columns == list(CELL_COLUMNS)
    assert {
        (place, name): share for place, name, share in found.select("first_place", "second_part", "share").rows()
    } == {(place, name): float(place < 2 and name == "adamw") for place in range(4) for name in ("adamw", "lion")}
    assert found["num_points"].sum() == len(units)
    with_zero = cells(box, frame, KNOBS[1], KNOBS[0])
    assert with_zero["first_part"].unique(maintain_order=True)[0] == "0"
    assert with_zero["first_part"].n_unique() == 5
