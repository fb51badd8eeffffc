"""Joint maps and their stable area: answers by hand and invariants."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.scores.joint_maps import cell_extents, joint_map, stable_area
from tests.analysis.synthetic_results import frame, row

INF = math.inf
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=15)
LRS, WARMUPS = (0.01, 0.1, 1.0), (0.0, 10.0, 100.0)

# Rows are lr, columns warmup; loss at init 4, least 1, so stable is below 2.5. Two seeds, alike but where it says so.
LOSSES = np.array([[3.0, 2.0, 2.0], [1.5, 1.0, 2.0], [INF, 2.4, 3.0]])


def rows_of(losses, *, seeds=2, method="m", xs=LRS, **other) -> list[dict[str, object]]:
    return [
        row(method, lr, seed, float(losses[i, j]), warmup_steps=warmup, **other)
        for i, lr in enumerate(xs)
        for j, warmup in enumerate(WARMUPS)
        for seed in range(seeds)
    ]


def replaced(rows, place: tuple[float, float, int], **columns) -> list[dict[str, object]]:
    """The rows with columns replaced at (lr, warmup, seed)."""
    return [
        {**found, **columns} if (found["lr"], found["warmup_steps"], found["seed"]) == place else found
        for found in rows
    ]


def area_of(rows) -> dict:
    found = stable_area(frame(rows), "lr", "warmup_steps")
    assert found.height == 1
    return found.row(0, named=True)


def test_cells_by_hand():
    rows = replaced(rows_of(LOSSES), (1.0, 0.0, 1), final_loss=2.0, outcome="completed")
    found = joint_map(frame(rows), "lr", "warmup_steps")
    assert found["loss"].to_list() == [3.0, 2.0, 2.0, 1.5, 1.0, 2.0, 4.0, 2.4, 3.0]
    assert found["stable"].to_list() == [False, True, True, True, True, True, False, True, False]
    assert found["num_diverged"].to_list() == [0] * 6 + [1, 0, 0]
    assert found.filter("is_best").select("x", "y").row(0) == (0.1, 10.0)
    assert found.select(pl.col("x_knob", "y_knob").unique()).row(0) == ("lr", "warmup_steps")
    assert set(found["num_seeds"]) == {2}


def test_stable_area_by_hand():
    # Along lr the cells reach 0.5, 1, 0.5 decades, along warmup (which has 0) 0.5, 1, 0.5 steps. Stable: at lr 0.01
    # 0.5 (1 + 0.5), at 0.1 1 x 2, at 1 0.5 x 1; of 2 x 2.
    entry = area_of(rows_of(LOSSES))
    assert entry["stable_area"] == pytest.approx(0.75 + 2.0 + 0.5)
    assert entry["stable_share"] == pytest.approx(3.25 / 4)
    assert entry["unit"] == "decades of lr x grid steps of warmup_steps"
    assert (entry["num_cells"], entry["num_seeds"], entry["num_trials"], entry["flags"]) == (9, 2, 18, "few_seeds")
    assert (entry["ci_low"], entry["ci_high"]) == (pytest.approx(3.25), pytest.approx(3.25))


def test_interval_by_hand():
    # A third seed diverges at the best lr without warmup: the area falls by 0.5 to 2.75 wherever it takes part, and is
    # 3.25 without it. Jackknife: sd of (2.75, 2.75, 3.25) x sqrt 2 = 1/3; alone 3.25, 3.25, 2.75: their error is 1/6.
    third = rows_of(LOSSES, seeds=3)
    hurt = replaced(third, (0.1, 0.0, 2), final_loss=INF, outcome="diverged")
    entry = area_of(hurt)
    assert entry["stable_area"] == pytest.approx(2.75)
    assert 2.75 - entry["ci_low"] == pytest.approx(4.30265 / 3, rel=1e-5)
    assert entry["ci_high"] == pytest.approx(4.0)  # that of the whole map, which lies nearer


@pytest.mark.parametrize(
    ("values", "extents", "unit"),
    [
        ([0.01, 0.1, 10.0], [0.5, 1.5, 1.0], "decades"),
        ([0.0, 10.0, 500.0], [0.5, 1.0, 0.5], "grid steps"),
        ([1.0, INF], [0.5, 0.5], "grid steps"),
    ],
)
def test_extents_of_cells(values, extents, unit):
    found, found_unit = cell_extents(np.array(values))
    assert (found.tolist(), found_unit) == (pytest.approx(extents), unit)


def test_a_map_at_chance_has_no_stable_cell():
    entry = area_of(rows_of(np.where(LOSSES < 2, 3.9, 4.0)))
    assert (entry["stable_area"], entry["flags"]) == (0.0, "at_chance,few_seeds")


def test_only_maps_of_two_values_each_are_shown():
    assert joint_map(frame(rows_of(LOSSES)), "lr", "weight_decay").is_empty()
    assert stable_area(frame(rows_of(LOSSES)), "lr", "weight_decay").is_empty()


def test_axes_can_be_swapped():
    rows = rows_of(LOSSES)
    swapped = stable_area(frame(rows), "warmup_steps", "lr").row(0, named=True)
    assert swapped["stable_area"] == pytest.approx(area_of(rows)["stable_area"])
    assert swapped["unit"] == "grid steps of warmup_steps x decades of lr"


@REPEATABLE
@given(st.integers(0, 10**6), st.floats(-3.0, 3.0), st.floats(0.01, 100.0))
def test_order_of_rows_constants_of_losses_and_units_of_lr_are_irrelevant(seed, constant, factor):
    data = frame(rows_of(LOSSES) + rows_of(LOSSES[::-1], method="n"))
    expected = stable_area(data, "lr", "warmup_steps")
    assert stable_area(data.sample(fraction=1.0, shuffle=True, seed=seed), "lr", "warmup_steps").equals(expected)
    moved = data.with_columns(pl.col("final_loss", "initial_loss") + constant, lr=pl.col("lr") * factor)
    found = stable_area(moved, "lr", "warmup_steps")["stable_area"].to_list()
    assert found == pytest.approx(expected["stable_area"].to_list())


@REPEATABLE
@given(st.lists(st.floats(0.0, 6.0), min_size=9, max_size=9))
def test_area_lies_between_nothing_and_the_grid(losses):
    entry = area_of(rows_of(np.array(losses).reshape(3, 3)))
    assert 0.0 <= entry["stable_area"] <= 4.0 + 1e-9
    assert 0.0 <= entry["stable_share"] <= 1.0 + 1e-9
