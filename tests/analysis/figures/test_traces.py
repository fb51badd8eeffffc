"""What is drawn against step: which panels, which bounds, and how lines tell methods, layers and divergence apart."""

import math

import polars as pl
import pytest

from analysis.figures.frames.aggregate import layer_summary, telling_lr, trace_summary
from analysis.figures.of_a_suite import curve_figures
from analysis.figures.style.chart_style import log_axis
from analysis.figures.style.diverged_words import diverged_sentence
from analysis.figures.traces import entropy_by_layer, training_behaviour
from tests.analysis.synthetic_results import METHODS, held_out_traces, results, row_masses, subject, traces

NORM_BOUNDS = {"√N (N = 21): rows one-hot", "1: rows uniform over N keys"}
ENTROPY_BOUND = "log N (N = 21): rows uniform over N keys"


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    return results(num_seeds=3)


@pytest.fixture(scope="module")
def drawn(data) -> pl.DataFrame:
    return traces(data.filter((pl.col("lr") - telling_lr(data)).abs() < 1e-9))


def spec_of(data: pl.DataFrame, all_traces: pl.DataFrame) -> dict:
    summary = trace_summary(data, all_traces, telling_lr(data))
    return training_behaviour(summary, num_keys=21, title="Training behaviour").to_dict()


def titles(spec: dict) -> list[str]:
    return [panel["title"]["text"] for panel in spec["concat"]]


def values_of(spec: dict, name: str) -> set:
    return {entry[name] for rows in spec["datasets"].values() for entry in rows if name in entry}


def panel_of(spec: dict, title: str) -> dict:
    return next(panel for panel in spec["concat"] if panel["title"]["text"].startswith(title))


def test_bounds_are_drawn_and_labelled(data, drawn):
    spec = spec_of(data, drawn)
    assert values_of(spec, "height") == {math.log(21), math.sqrt(21), 1.0}
    assert values_of(spec, "label") == NORM_BOUNDS | {ENTROPY_BOUND}


def test_each_method_has_the_bound_of_the_keys_that_its_rows_see(data, drawn):
    ids = data.filter(method="relu_kernel")["trial_id"].to_list()
    is_narrow = (pl.col("quantity") == "uniform_entropy") & pl.col("trial_id").is_in(ids)
    narrow = drawn.with_columns(value=pl.when(is_narrow).then(pl.lit(2.5, pl.Float32)).otherwise("value"))
    labels = values_of(spec_of(data, narrow), "label") - NORM_BOUNDS
    assert labels == {f"{ENTROPY_BOUND}, 6 methods", "2.50: uniform over keys seen, relu_kernel"}
    summary = layer_summary(data, narrow, telling_lr(data))
    spec = entropy_by_layer(summary, num_keys=21, title="").to_dict()
    assert values_of(spec, "height") == {math.log(21), 2.5}


def test_layers_of_several_stacks_are_named_and_have_bounds_of_their_own(data, drawn):
    """Means over steps of unequal lengths differ a little from method to method and are one rule."""
    names = [f"encoder.{index}" for index in range(3)] + [f"cross.{index}" for index in range(2)]
    num_layers = drawn.filter(quantity="entropy")["layer"].n_unique()
    names = [*names[: num_layers - 2], *names[-2:]]
    is_cross = (pl.col("quantity") == "uniform_entropy") & (pl.col("layer") >= num_layers - 2)
    shorter = drawn.with_columns(value=pl.when(is_cross).then(pl.lit(2.0, pl.Float32)).otherwise("value"))
    summary = layer_summary(data, shorter, telling_lr(data))
    text = entropy_by_layer(summary, num_keys=21, title="", names=names).to_json()
    assert f"'{names[0]}'" in text
    assert "'cross.0'" in text
    assert "2.00: rows uniform over the keys they see" in text
    noise = pl.when(pl.col("method") == next(iter(METHODS))).then(0.999).otherwise(1.0)
    ragged = drawn.join(data.select("trial_id", "method"), on="trial_id").with_columns(
        value=pl.when(pl.col("quantity") == "uniform_entropy").then(pl.col("value") * noise).otherwise("value")
    )
    labels = values_of(spec_of(data, ragged.select(drawn.columns)), "label") - NORM_BOUNDS
    assert labels == {ENTROPY_BOUND}


def test_a_head_below_the_mean_of_its_layer_has_a_figure(data, drawn):
    kinds = {one.kind for one in curve_figures(subject(data, drawn))}
    assert "entropy_by_head" not in kinds  # of one head it is the layer's
    is_least = pl.col("quantity") == "least_head_entropy"
    lower = drawn.with_columns(value=pl.when(is_least).then(pl.col("value") / 2).otherwise("value"))
    (of_heads,) = (one for one in curve_figures(subject(data, lower)) if one.kind == "entropy_by_head")
    assert of_heads.summary["value"].max() < 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.25, 4, [0.5, 1, 2]),
        (0.9, 4, [1, 1.5, 2, 3, 4]),
        (2e-5, 8, [1e-4, 1e-3, 1e-2, 0.1, 1]),
    ],
)
def test_a_log_axis_has_round_numbers_and_every_power_of_ten(low, high, expected):
    assert log_axis(low, high).values == pytest.approx(expected)


def test_a_log_axis_without_two_round_numbers_keeps_vegas():
    assert "values" not in log_axis(3.1, 3.9).to_dict()


def test_bounds_hold_where_the_row_mass_is_1(data, drawn):
    assert values_of(spec_of(data, row_masses(drawn, 1.001)), "label") == NORM_BOUNDS | {ENTROPY_BOUND}


def test_norm_has_no_bounds_where_rows_do_not_sum_to_1(data, drawn):
    spec = spec_of(data, row_masses(drawn, 0.4))
    assert values_of(spec, "label") == {ENTROPY_BOUND, "1: rows sum to 1"}
    assert titles(spec)[-1] == "Row mass of attention"


def test_without_held_out_data_there_are_four_panels(data, drawn):
    expected = ["Training loss", "Gradient norm", "Attention entropy", "Frobenius norm of attention, ||P||"]
    assert titles(spec_of(data, drawn)) == expected


def test_what_no_probe_measured_has_no_panel(data, drawn):
    without = drawn.filter(~pl.col("quantity").str.starts_with("entropy"))
    assert titles(spec_of(data, without)) == ["Training loss", "Gradient norm", "Frobenius norm of attention, ||P||"]
    of_training = without.filter(pl.col("quantity") != "frobenius_norm")
    assert titles(spec_of(data, of_training)) == ["Training loss", "Gradient norm"]


def test_a_quantity_that_a_suite_added_has_a_panel_of_its_name_down_to_its_least(data, drawn):
    is_norm = pl.col("quantity") == "frobenius_norm"
    added = drawn.filter(is_norm).with_columns(quantity=pl.lit("logit_skew"), value=-pl.col("value"))
    spec = spec_of(data, pl.concat([drawn, added]))
    assert titles(spec) == [*titles(spec_of(data, drawn)), "logit_skew"]
    y = panel_of(spec, "logit_skew")["layer"][0]["encoding"]["y"]
    low, high = y["scale"]["domain"]
    assert (y["title"], high > 0) == ("logit_skew", True)
    assert low < trace_summary(data, added, telling_lr(data))["value"].min() < 0


def test_held_out_loss_is_drawn_beside_the_training_loss(data, drawn):
    at_lr = data.filter((pl.col("lr") - telling_lr(data)).abs() < 1e-9)
    spec = spec_of(data, pl.concat([drawn, held_out_traces(at_lr)]))
    assert titles(spec)[4:] == ["Held-out loss (dots) and training loss (thin)", "Held-out accuracy"]
    panel = panel_of(spec, "Held-out loss")
    panels_drawn = [
        {row["panel"] for row in spec["datasets"][layer["data"]["name"]]}
        for layer in panel["layer"]
        if layer["mark"]["type"] == "line"
    ]
    assert panels_drawn == [{"loss"}, {"val_loss"}]
    assert panel["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 2000]


def test_a_panel_a_method_and_a_colour_a_layer(data, drawn):
    summary = layer_summary(data, drawn, telling_lr(data))
    spec = entropy_by_layer(summary, num_keys=21, title="Entropy").to_dict()
    assert [panel["title"]["text"] for panel in spec["concat"]] == sorted(METHODS)
    for panel in spec["concat"]:
        lines = panel["layer"][0]
        assert lines["encoding"]["color"]["scale"]["domain"] == [0, 4]
        rows = spec["datasets"][lines["data"]["name"]]
        assert {(row["method"], row["layer"]) for row in rows} == {
            (panel["title"]["text"], layer) for layer in range(5)
        }


def test_entropies_of_one_layer_still_draw(data):
    at_lr = data.filter((pl.col("lr") - telling_lr(data)).abs() < 1e-9)
    summary = layer_summary(data, traces(at_lr, num_layers=1), telling_lr(data))
    colour = entropy_by_layer(summary, num_keys=21, title="").to_dict()["concat"][0]["layer"][0]["encoding"]["color"]
    assert (colour["scale"]["domain"], colour["legend"]) == ([0, 1], None)


def test_crosses_say_at_which_step(data, drawn):
    """In the tooltip, below the title, and over the panel of a method."""
    lr = telling_lr(data)
    at_lr = data.filter((pl.col("lr") - lr).abs() < 1e-9)
    assert (at_lr["outcome"] == "diverged").any()
    spec = spec_of(data, drawn)
    for title in titles(spec):
        units = panel_of(spec, title)["layer"]
        crosses = [unit for unit in units if unit["mark"].get("shape", "").startswith("M")]
        assert [tip["field"] for tip in crosses[0]["encoding"]["tooltip"]][:3] == [
            "method", "first_diverged", "last_diverged"
        ]  # fmt: skip
    kinds = {one.kind: one for one in curve_figures(subject(data, drawn))}
    training = kinds["training_behaviour"].chart.to_dict()
    assert diverged_sentence(trace_summary(data, drawn, lr)).split("\n")[0] in training["title"]["subtitle"]

    summary = layer_summary(data, drawn, lr)
    panels = entropy_by_layer(summary, num_keys=21, title="").to_dict()["concat"]
    told = {panel["title"]["text"]: panel["title"]["subtitle"] for panel in panels}
    assert {name for name, words in told.items() if words.startswith("diverged at step")} == set(
        at_lr.filter(outcome="diverged")["method"]
    )
    assert told["relu_kernel"] == "none diverged (3 seeds)"


def test_nothing_is_said_of_divergence_where_no_seed_did(data):
    calm = data.filter(pl.col("outcome") == "completed", pl.col("lr") == 0.001)
    summary = layer_summary(calm, traces(calm), 0.001)
    panels = entropy_by_layer(summary, num_keys=21, title="").to_dict()["concat"]
    assert all("subtitle" not in panel["title"] for panel in panels)


def triangles(unit: dict) -> bool:
    return unit["mark"].get("shape") == "triangle-down"


def test_collapse_is_marked_on_the_line_where_it_begins(data, drawn):
    """Softmax's entropy, of seeds that completed, is set to 0.2 nats in every layer from step 100 on; log 21 is 3.0."""
    ids = data.filter(method="softmax", outcome="completed")["trial_id"].to_list()
    is_low = pl.col("trial_id").is_in(ids) & (pl.col("step") >= 100) & pl.col("quantity").str.starts_with("entropy")
    fallen = drawn.with_columns(
        value=pl.when(is_low & (pl.col("quantity") != "entropy_std")).then(0.2).otherwise("value")
    )
    unmarked = panel_of(spec_of(data, drawn), "Attention entropy")["layer"]
    assert not any(map(triangles, unmarked))
    spec = spec_of(data, fallen.cast({"value": pl.Float32}))
    marked = [unit for unit in panel_of(spec, "Attention entropy")["layer"] if triangles(unit)]
    assert len(marked) == 1
    rows = spec["datasets"][marked[0]["data"]["name"]]
    first = drawn.filter(pl.col("trial_id").is_in(ids), pl.col("step") >= 100)["step"].min()
    assert [(row["method"], row["outcome"], row["step"]) for row in rows] == [("softmax", "completed", first)]
    assert rows[0]["value"] == pytest.approx(0.2)

    layers = entropy_by_layer(
        layer_summary(data, fallen.cast({"value": pl.Float32}), telling_lr(data)), num_keys=21, title=""
    )
    panels = {panel["title"]["text"]: panel["layer"] for panel in layers.to_dict()["concat"]}
    assert {name for name, units in panels.items() if any(map(triangles, units))} == {"softmax"}
