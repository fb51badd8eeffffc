"""Curves of MLflow's pages: thin, with their peaks."""

import polars as pl
import pytest

from bench.store.curves import BY_LAYER, curves
from bench.trace import TRACE_COLUMNS

NUM_STEPS = 10_000
SPIKE = 7_777  # of one step


def trace(quantity: str, spike: float, *, layer: int = -1, num_steps: int = NUM_STEPS) -> pl.DataFrame:
    """1 at every step but one, at which it is `spike`."""
    values = [spike if step == SPIKE else 1.0 for step in range(num_steps)]
    columns = {"trial_id": "a", "step": range(num_steps), "quantity": quantity, "layer": layer, "value": values}
    kinds = {name: getattr(pl, kind) for name, kind in TRACE_COLUMNS.items()}
    return pl.DataFrame(columns, schema_overrides=kinds)


def points(frame: pl.DataFrame, name: str, **options: int) -> dict[int, float]:
    return dict(curves(frame, **options).filter(quantity=name).select("step", "value").iter_rows())


@pytest.mark.parametrize(("quantity", "spike"), [("loss", 50.0), ("grad_norm", 50.0), ("entropy_mean", 0.01)])
def test_a_peak_of_one_step_is_on_its_curve_where_it_was(quantity, spike):
    found = points(trace(quantity, spike), quantity)
    assert found[SPIKE] == pytest.approx(spike)
    assert 25 <= len(found) <= 64
    assert max(found) == NUM_STEPS - 1


def test_what_is_no_peak_of_its_quantity_is_thinned_away():
    assert SPIKE not in points(trace("loss", 0.5), "loss")


def test_more_parts_make_a_finer_curve_that_holds_the_same_peaks():
    frame = trace("loss", 50.0)
    thin, fine = (points(frame, "loss", num_buckets=number) for number in (32, 300))
    assert len(fine) > 4 * len(thin)
    assert fine[SPIKE] == thin[SPIKE]


@pytest.mark.parametrize("quantity", BY_LAYER)
def test_each_layer_has_a_curve_of_its_own_and_their_mean_has_none(quantity):
    spike = 0.01 if quantity == "entropy" else 50.0
    frame = pl.concat([trace(quantity, 1.0, layer=0), trace(quantity, spike, layer=1)])
    assert set(curves(frame)["quantity"]) == {f"{quantity}/layer_0", f"{quantity}/layer_1"}
    assert points(frame, f"{quantity}/layer_1")[SPIKE] == pytest.approx(spike)
    assert SPIKE not in points(frame, f"{quantity}/layer_0")


def test_a_value_that_is_not_finite_is_no_peak():
    assert set(points(trace("loss", float("inf")), "loss").values()) == {1.0}
