"""What figures draw, by hand."""

import math

import polars as pl
import pytest

from analysis.figures.frames.aggregate import (
    MAX_LAYER_STEPS,
    MAX_STEPS,
    collapses,
    layer_summary,
    loss_summary,
    plot_limits,
    telling_lr,
    trace_panels,
    trace_summary,
)
from bench.errors import UsageError
from tests.analysis.synthetic_results import TRACE_SCHEMA, frame, results, row, traces


def trace(trial_id: str, quantity: str, values: list[float], *, layer: int = -1, every: int = 1) -> pl.DataFrame:
    rows = [(trial_id, every * place, quantity, layer, value) for place, value in enumerate(values)]
    return pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")


def test_loss_summary_by_hand():
    rows = [row("m", 0.1, 0, 1.0), row("m", 0.1, 1, 3.0), row("m", 1.0, 0, math.inf), row("m", 1.0, 1, None)]
    first, second = loss_summary(frame(rows)).iter_rows(named=True)
    assert (first["loss_mean"], first["loss_low"], first["loss_high"]) == (2.0, 1.0, 3.0)
    # Diverged counts as the initial loss, 4; the lost seed is left out.
    assert (second["loss_mean"], second["num_diverged"], second["num_seeds"]) == (4.0, 1, 1)


def test_telling_lr_is_where_methods_differ():
    losses = {("a", 0.1): 1.0, ("b", 0.1): 1.1, ("a", 1.0): 1.0, ("b", 1.0): 3.0, ("a", 10.0): 4.0}
    assert telling_lr(frame([row(method, lr, 0, loss) for (method, lr), loss in losses.items()])) == 1.0


def test_completed_and_diverged_seeds_are_averaged_apart():
    data = frame(
        [
            row("m", 0.1, seed, loss, trial_id=str(seed), diverged_step=step)
            for seed, loss, step in [(0, 1.0, None), (1, 2.0, None), (2, math.inf, 2), (3, math.inf, 1)]
        ]
    )
    all_traces = pl.concat(
        [
            trace("0", "loss", [4.0, 2.0, 1.0]),
            trace("1", "loss", [4.0, 4.0, 3.0]),
            trace("2", "loss", [4.0, 8.0, math.inf]),
            trace("3", "loss", [6.0, math.nan]),
        ]
    )
    summary = trace_summary(data, all_traces, 0.1).select("outcome", "step", "value", "num_seeds", "is_end")
    assert summary.rows() == [
        ("completed", 0, 4.0, 2, False),
        ("completed", 1, 3.0, 2, False),
        ("completed", 2, 2.0, 2, False),
        ("diverged", 0, 5.0, 2, False),
        ("diverged", 1, 8.0, 1, True),  # non-finite values are left out; seed 2 is cut at the first divergence
    ]


@pytest.mark.parametrize("recorded", [True, False])
def test_entropy_band_is_the_spread_over_layers(recorded):
    data = frame([row("m", 0.1, 0, 1.0, trial_id="0")])
    per_layer = [trace("0", "entropy", [1.0], layer=0), trace("0", "entropy", [3.0], layer=1)]
    whole = [trace("0", "entropy_mean", [2.0]), trace("0", "entropy_std", [1.0])]
    summary = trace_summary(data, pl.concat(per_layer + whole * recorded), 0.1)
    assert summary.select("panel", "value", "low", "high").rows() == [("entropy", 2.0, 1.0, 3.0)]


def test_lr_may_differ_by_method():
    data = frame([row(method, lr, 0, 1.0, trial_id=f"{method}{lr}") for method in "ab" for lr in (0.1, 1.0)])
    all_traces = pl.concat([trace(name, "loss", [1.0]) for name in data["trial_id"]])
    assert trace_summary(data, all_traces, {"a": 0.1}).height == 1
    assert trace_summary(data, all_traces, {"a": 0.1, "b": 1.0})["method"].to_list() == ["a", "b"]


def test_long_traces_are_thinned_and_keep_both_ends():
    data = frame([row("m", 0.1, 0, 1.0, trial_id="0")])
    summary = trace_summary(data, trace("0", "loss", [1.0] * 5000), 0.1)
    assert summary.height <= MAX_STEPS + 1
    assert (summary["step"].min(), summary["step"].max()) == (0, 4999)


def test_quantities_keep_their_own_steps():
    data = frame([row("m", 0.1, 0, 1.0, trial_id="0")])
    probes = trace("0", "frobenius_norm", [1.0] * 10, layer=0, every=10)
    held_out = trace("0", "val_loss", [4.0, 3.0, 2.0], every=50)
    summary = trace_summary(data, pl.concat([trace("0", "loss", [1.0] * 100), probes, held_out]), 0.1)
    steps = {panel: rows["step"].to_list() for (panel,), rows in summary.group_by("panel")}
    assert steps["val_loss"] == [0, 50, 100]  # num_steps itself: what the last update led to
    assert steps["frobenius_norm"] == list(range(0, 100, 10))
    assert (steps["loss"][0], steps["loss"][-1]) == (0, 99)


def test_methods_measured_at_other_steps_are_thinned_each_at_its_own():
    data = frame([row(method, 0.1, 0, 1.0, trial_id=method) for method in ("often", "seldom")])
    both = pl.concat([trace("often", "loss", [1.0] * 5000), trace("seldom", "loss", [2.0] * 6, every=999)])
    summary = trace_summary(data, both, 0.1)
    assert summary.filter(pl.col("method") == "often")["step"].to_list()[-1] == 4999
    assert summary.filter(pl.col("method") == "seldom")["step"].to_list()[0] == 0
    assert summary.filter(pl.col("method") == "seldom")["step"].to_list()[-1] == 4995


def test_held_out_line_of_diverged_seeds_ends_before_the_first_divergence():
    data = frame([row("m", 0.1, 0, math.inf, trial_id="0", diverged_step=70)])
    both = pl.concat([trace("0", "loss", [4.0] * 70), trace("0", "val_loss", [4.0, 5.0, math.inf], every=50)])
    summary = trace_summary(data, both, 0.1).filter(pl.col("panel") == "val_loss")
    assert summary.select("step", "value", "is_end").rows() == [(0, 4.0, False), (50, 5.0, True)]


def test_layers_by_hand():
    data = frame([row("m", 0.1, seed, 1.0, trial_id=str(seed)) for seed in (0, 1)])
    entropies = pl.concat(
        [
            trace("0", "entropy", [3.0, 1.0], layer=0),
            trace("1", "entropy", [3.0, 2.0], layer=0),
            trace("0", "entropy", [2.0, 0.0], layer=1),
            trace("0", "entropy_mean", [9.0, 9.0]),
        ]
    )
    summary = layer_summary(data, entropies, 0.1).select("method", "outcome", "layer", "step", "value", "num_seeds")
    assert summary.rows() == [
        ("m", "completed", 0, 0, 3.0, 2),
        ("m", "completed", 0, 1, 1.5, 2),
        ("m", "completed", 1, 0, 2.0, 1),
        ("m", "completed", 1, 1, 0.0, 1),
    ]


def test_every_layer_keeps_both_ends_of_a_long_trace():
    data = frame([row("m", 0.1, 0, 1.0, trial_id="0")])
    deep = pl.concat([trace("0", "entropy", [1.0] * 3000, layer=layer) for layer in range(48)])
    summary = layer_summary(data, deep, 0.1)
    assert summary.height <= 48 * MAX_LAYER_STEPS
    assert set(summary.group_by("layer").agg(pl.col("step").min()).select("step").to_series()) == {0}
    assert set(summary.group_by("layer").agg(pl.col("step").max()).select("step").to_series()) == {2999}


def test_what_is_drawn_is_the_same_bit_for_bit_in_whatever_order_rows_come():
    data = results(num_seeds=3)
    drawn = traces(data.filter((pl.col("lr") - telling_lr(data)).abs() < 1e-9))
    expected = [trace_summary(data, drawn, telling_lr(data)), layer_summary(data, drawn, telling_lr(data))]
    for seed in range(3):
        mixed, rows = (one.sample(fraction=1, shuffle=True, seed=seed) for one in (data, drawn))
        lr = telling_lr(mixed)
        assert loss_summary(mixed).equals(loss_summary(data))
        assert trace_summary(mixed, rows, lr).equals(expected[0])
        assert layer_summary(mixed, rows, lr).equals(expected[1])


def test_lines_say_when_the_seeds_of_their_method_diverged():
    data = frame(
        [
            row("m", 0.1, seed, loss, trial_id=str(seed), diverged_step=step)
            for seed, loss, step in [(0, 1.0, None), (1, math.inf, 9), (2, math.inf, 4), (3, None, None)]
        ]
        + [row("n", 0.1, 0, 1.0, trial_id="n")]
    )
    everything = pl.concat([trace(one, "entropy", [1.0, 2.0], layer=0) for one in ("0", "1", "2", "n")])
    for summary in (trace_summary(data, everything, 0.1), layer_summary(data, everything, 0.1)):
        told = summary.select("method", "first_diverged", "last_diverged", "num_diverged", "num_trials").unique()
        assert sorted(told.rows()) == [("m", 4, 9, 2, 3), ("n", None, None, 0, 1)]


def test_lost_trials_are_not_drawn():
    data = frame([row("m", 0.1, 0, None, trial_id="0")])
    assert trace_summary(data, trace("0", "loss", [1.0]), 0.1).is_empty()


def test_method_that_occurs_twice_is_refused():
    data = frame([row("m", 0.1, 0, 1.0, optimizer=name) for name in ("sgd", "adamw")])
    with pytest.raises(UsageError, match="'m' occurs with several"):
        trace_summary(data, trace("0", "loss", [1.0]), 0.1)


def test_figures_of_a_whole_suite_stay_small():
    data = results()
    assert loss_summary(data).height == 7 * 19
    lr = telling_lr(data)
    summary = trace_summary(data, traces(data.filter((pl.col("lr") - lr).abs() < 1e-9)), lr)
    assert (summary.group_by("panel").len()["len"] < 5000).all()


def test_plot_limits_ignore_what_a_log_axis_cannot_show():
    low, high = plot_limits(pl.Series([0.0, -1.0, math.inf, 1.0, 10.0]), cap=5.0)
    assert 0 < low <= 1.0
    assert 5.0 <= high < 10.0
    assert plot_limits(pl.Series([0.0])) == (1.0, 10.0)


def test_collapse_is_the_first_step_below_a_tenth_of_the_entropy_of_uniform_rows():
    """log 20 is 3.0 nats: 0.299 lies below its tenth, 0.2996 (rounded) above. Rows of d see few keys."""
    lines = {"a": [2.9, 0.2997, 0.299, 0.1], "b": [2.9, 0.5, 0.4, 0.31], "c": [0.0, 2.0, 0.0, 0.0], "d": [0.7, 0.2]}
    rows = pl.DataFrame(
        [("completed", name, step, value) for name, values in lines.items() for step, value in enumerate(values)],
        schema=["outcome", "method", "step", "value"],
        orient="row",
    ).with_columns(uniform_entropy=pl.when(method="d").then(0.7))
    found = collapses(rows.sample(fraction=1, shuffle=True, seed=0), ["method", "outcome"], num_keys=20)
    assert found.select("method", "step").rows() == [("a", 2), ("c", 0)]


def test_norms_by_role_have_no_panels_of_their_own_and_other_probes_have():
    measured = ["weight_norm_query", "update_norm_mlp", "relative_update_query", "edge_ratio"]
    assert [name for name in trace_panels(measured) if name in measured] == ["edge_ratio", "relative_update_query"]


def test_panels_of_held_out_measures_bear_their_titles():
    panels = trace_panels(["val_character_error_rate", "sharpness"])
    shown = {name: (panels[name].title, panels[name].axis) for name in ("val_character_error_rate", "sharpness")}
    title = "Held-out character error rate"
    assert shown == {"val_character_error_rate": (title, title), "sharpness": ("sharpness", "sharpness")}
