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


PEAKED = [("loss", 50.0, "loss_max"), ("grad_norm", 50.0, "grad_norm_max"), ("entropy_mean", 0.01, "entropy_mean_min")]


@pytest.mark.parametrize(("quantity", "spike", "peaks"), PEAKED)
def test_a_peak_of_one_step_is_on_the_curve_of_peaks(quantity, spike, peaks):
    frame = trace(quantity, spike)
    found, last = points(frame, peaks), points(frame, quantity)
    assert sorted(set(found.values())) == pytest.approx(sorted({spike, 1.0}))
    assert set(last.values()) == {1.0}
    assert found.keys() == last.keys()
    assert 20 <= len(found) <= 32
    assert max(found) == NUM_STEPS - 1


def test_what_is_no_peak_of_its_quantity_is_thinned_away():
    assert set(points(trace("loss", 0.5), "loss_max").values()) == {1.0}


def test_all_trials_have_their_points_at_the_same_steps():
    """Or a mean over trials would be one of those that happen to have a point at a step."""
    other = trace("loss", 70.0).with_columns(
        trial_id=pl.lit("b"), value=pl.col("value") + (pl.col("step") % 7).cast(pl.Float32)
    )
    both = curves(pl.concat([trace("loss", 50.0), other]))
    steps = [rows["step"].to_list() for _, rows in both.group_by("trial_id")]
    assert steps[0] == steps[1]


def test_more_parts_make_a_finer_curve_with_the_same_highest_peak():
    frame = trace("loss", 50.0)
    thin, fine = (points(frame, "loss_max", num_buckets=number) for number in (32, 300))
    assert len(fine) > 4 * len(thin)
    assert max(fine.values()) == max(thin.values()) == 50.0


@pytest.mark.parametrize(("quantity", "side"), BY_LAYER.items())
def test_each_layer_has_a_curve_of_its_extremes_and_their_mean_has_none(quantity, side):
    spike = 0.01 if side == "min" else 50.0
    frame = pl.concat([trace(quantity, 1.0, layer=0), trace(quantity, spike, layer=1)])
    names = [f"{quantity}_{side}/layer_{layer}" for layer in (0, 1)]
    assert set(curves(frame)["quantity"]) == set(names)
    assert pytest.approx(spike) in points(frame, names[1]).values()
    assert set(points(frame, names[0]).values()) == {1.0}


def test_a_value_that_is_not_finite_is_no_peak():
    frame = trace("loss", float("inf"))
    assert set(points(frame, "loss").values()) == set(points(frame, "loss_max").values()) == {1.0}
