"""The paper's figures from any suite's data: which methods, which bounds, what is skipped and why.

Shapes: A layers, S sequences, H heads, Q queries, K keys.
"""

import dataclasses
import math

import altair as alt
import numpy as np
import polars as pl
import pytest

from analysis.figures.attention import heat_maps
from analysis.figures.frames.inspected import (
    GAIN_COLUMNS,
    GAMMAS,
    HISTOGRAM_COLUMNS,
    MAX_CELLS,
    NUM_LOOKS,
    Inspection,
    Snapshot,
    entropy_by_layer,
    gamma_summary,
    heat_map_summary,
    histogram_summary,
    most_collapsed,
    spread,
    variance_and_entropy,
)
from analysis.figures.hong_lee_2025 import FIGURES, THEORY_FIGURES, Material, PaperChart
from analysis.figures.lr_loss import save_spec
from analysis.text import entry_name
from bench.errors import UsageError
from tests.analysis.synthetic_results import TRACE_SCHEMA, results, traces

LR = 0.1
NUM_KEYS = 21
# method: as METHODS of synthetic_results; the diverging ones have their cliff below LR.
METHODS = {
    "softmax": (-2.2, -2.0, 0.35),
    "elu_kernel": (-2.5, -0.3, 0.55),
    "qk_layernorm_free": (-2.8, 0.9, 0.5),
    "qk_layernorm_weight_clipped": (-2.8, 0.9, 0.5),
    "window_softmax(width=8)": (-2.2, -0.3, 0.45),
}
STEPS = (0, 1, 10, 99)


def inspection(num_keys: int = NUM_KEYS) -> Inspection:
    """Two methods; softmax diverged; its second layer's rows are one-hot at the end."""
    gains, histograms, snapshots = [], [], []
    for method in ("softmax", "qk_layernorm_free"):
        for step in STEPS:
            for layer in range(2):
                if method != "softmax":
                    gains += [(method, step, layer, quantity, 1 + 0.1 * step) for quantity in GAMMAS]
                gains.append((method, step, layer, "spectral_norm_query", 2.0))
                histograms += [
                    (method, step, layer, of, low, low + 0.5, 0.25 + 0.5 * (low == 0.5))
                    for of in ("weight", "entropy")
                    for low in (0.5, 1.0)
                ]
            p_ASHQK = np.full((2, 2, 1, num_keys, num_keys), 1 / num_keys, dtype=np.float32)
            if method == "softmax" and step == STEPS[-1]:
                p_ASHQK[1] = np.eye(num_keys)
            snapshots.append(Snapshot(method=method, step=step, p_ASHQK=p_ASHQK))
    schemas = [{n: getattr(pl, kind) for n, kind in columns.items()} for columns in (GAIN_COLUMNS, HISTOGRAM_COLUMNS)]
    return Inspection(
        seed=0,
        gains=pl.DataFrame(gains, schema=schemas[0], orient="row"),
        histograms=pl.DataFrame(histograms, schema=schemas[1], orient="row"),
        snapshots=tuple(snapshots),
        diverged=frozenset({"softmax"}),
        parted={},
    )


@pytest.fixture(scope="module")
def material() -> Material:
    data = results(num_seeds=2, methods=METHODS)
    drawn = traces(data.filter((pl.col("lr") - LR).abs() < 1e-9), num_layers=2)
    variances = drawn.filter(quantity="entropy").with_columns(
        quantity=pl.lit("logit_variance"), value=(4 - pl.col("value")).cast(pl.Float32)
    )
    return Material(
        place="in_context_regression, sgd",
        family="regression",
        num_keys=NUM_KEYS,
        lr=LR,
        results=data,
        traces=pl.concat([drawn, variances]),
        inspection=inspection(),
    )


@pytest.fixture(scope="module")
def charts(material) -> dict[str, PaperChart]:
    """By file name."""
    drawn = {}
    for figure in FIGURES.values():
        outcome = figure.draw(material)
        if not isinstance(outcome, str):
            drawn |= {figure.stem + one.part: one for one in outcome}
    return drawn


def drawn_of(key: str, material: Material) -> list[PaperChart]:
    outcome = FIGURES[key].draw(material)
    assert not isinstance(outcome, str), outcome
    return outcome


def reason_of(key: str, material: Material) -> str:
    outcome = FIGURES[key].draw(material)
    assert isinstance(outcome, str)
    return outcome


def methods_of(key: str, material: Material) -> set[str]:
    return {entry_name(method) for method in drawn_of(key, material)[0].data["method"].unique()}


def test_every_number_of_the_paper_is_there():
    assert {int(key) for key in (*FIGURES, *THEORY_FIGURES) if key.isdigit()} == set(range(1, 12))
    stems = [figure.stem for figure in (*FIGURES.values(), *THEORY_FIGURES.values())]
    assert len(set(stems)) == len(stems)


@pytest.mark.slow
def test_every_figure_renders_and_says_what_it_is_of(charts, tmp_path):
    assert {name[:9] for name in charts} == {*(f"figure_{n:02}" for n in (1, 2, 4, 5, 8, 9, 11)), "rows_in_t"}
    for name, drawn in charts.items():
        content = save_spec(drawn.chart.to_dict(), tmp_path, name, [])[0].read_text()
        assert "in_context_regression, sgd" in content
        assert ("lr = 0.1" in content) == ("loss_against_lr" not in name)
        assert drawn.data.height > 0


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("figure_01_training", f"log N (N = {NUM_KEYS})"),
        ("figure_01_training", f"√N (N = {NUM_KEYS})"),
        ("figure_08_gammas", "1: as it starts"),
        ("figure_09_variance_and_entropy", f"log N (N = {NUM_KEYS})"),
        ("rows_in_training", "1/N"),
        ("rows_in_training", "log N"),
    ],
)
def test_bounds_are_drawn(charts, name, label):
    spec = charts[name].chart.to_dict()
    labels = {row["label"] for rows in spec["datasets"].values() for row in rows if "label" in row}
    assert any(one.startswith(label) for one in labels)


def test_figures_1_and_5_share_the_methods_and_other_treatments_are_fig_9s(charts):
    shown = {name[7:9]: {entry_name(method) for method in drawn.data["method"]} for name, drawn in charts.items()}
    assert shown["01"] == {"softmax", "window_softmax", "qk_layernorm_weight_clipped"}
    assert shown["05"] == {"elu_kernel"}
    assert shown["09"] == {"qk_layernorm_free", "qk_layernorm_weight_clipped"}


def test_fig_1_shows_what_there_is_where_no_main_method_is(material):
    kernels = dataclasses.replace(material, results=material.results.filter(pl.col("method") == "elu_kernel"))
    assert methods_of("1", kernels) == {"elu_kernel"}
    assert "qk_layernorm_free" in reason_of("9", kernels)
    other = dataclasses.replace(material, results=material.results.filter(pl.col("method") == "softmax"))
    assert "elu_kernel" in reason_of("5", other)


@pytest.mark.parametrize(
    ("family", "skipped"),
    [("regression", {"6", "7"}), ("llama", {"2", "7"}), ("gpt", {"1", "2"}), ("other", {"6", "7"})],
)
def test_the_workload_decides_between_the_two_figures_of_a_kind(material, family, skipped):
    of_family = dataclasses.replace(material, family=family)
    found = {key for key in ("1", "2", "6", "7") if isinstance(FIGURES[key].draw(of_family), str)}
    assert found == skipped


def test_figures_that_look_inside_say_why_there_is_nothing_to_see(material):
    unseen = dataclasses.replace(material, inspection=None, not_inspected="too large")
    for key, figure in FIGURES.items():
        assert figure.is_inspected == (key in ("8", "11", "rows"))
        if figure.is_inspected:
            assert reason_of(key, unseen) == "too large"


def test_without_gammas_there_is_no_fig_8(material):
    gains = material.inspection.gains.filter(pl.col("method") == "softmax")
    plain = dataclasses.replace(material, inspection=dataclasses.replace(material.inspection, gains=gains))
    assert reason_of("8", plain) == "no method of the suite has gammas"


def test_one_learning_rate_makes_no_curve(material):
    one = dataclasses.replace(material, results=material.results.filter((pl.col("lr") - LR).abs() < 1e-9))
    assert reason_of("2", one) == "there are results at one learning rate alone"


def test_a_learning_rate_without_traces_is_said(material):
    bare = dataclasses.replace(material, traces=material.traces.clear())
    assert reason_of("4", bare) == "no logit variances were traced at lr = 0.1"
    assert reason_of("1", bare).startswith("no traces at lr = 0.1 of ")
    assert reason_of("9", bare).startswith("no traces at lr = 0.1 of ")


def test_normalised_entropy_is_h_over_log_n_minus_h():
    data = results(num_seeds=1, methods={"softmax": (-2.2, 0.9, 0.35)}).filter((pl.col("lr") - LR).abs() < 1e-9)
    name = data["trial_id"][0]
    # Entropies: half of log N, log N (which a log axis can't show), a quarter; variances 4, 1, 0.
    values = [(0, "entropy", 0.5), (5, "entropy", 1.0), (9, "entropy", 0.25)]
    rows = [(name, step, quantity, 0, share * math.log(NUM_KEYS)) for step, quantity, share in values]
    rows += [(name, step, "logit_variance", 0, variance) for step, variance in ((0, 4.0), (5, 1.0), (9, 0.0))]
    found = variance_and_entropy(data, pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row"), LR, NUM_KEYS)
    assert found["step"].to_list() == [0]
    assert found["logit_variance"].to_list() == [4.0]
    assert found["normalised_entropy"].to_list() == pytest.approx([1.0], rel=1e-6)
    assert found["most_entropy"].to_list() == pytest.approx([math.log(NUM_KEYS)])


def test_normalised_entropy_of_causal_rows_is_of_the_most_that_they_can_have():
    data = results(num_seeds=1, methods={"softmax": (-2.2, 0.9, 0.35)}).filter((pl.col("lr") - LR).abs() < 1e-9)
    values = {"entropy": 2.28, "logit_variance": 1.0, "uniform_entropy": 4.56}
    rows = [(data["trial_id"][0], 0, name, 0, value) for name, value in values.items()]
    found = variance_and_entropy(data, pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row"), LR, 256)
    assert found["normalised_entropy"].to_list() == pytest.approx([1.0], rel=1e-6)


def test_gammas_end_in_a_cross_where_their_run_diverged():
    found = gamma_summary(inspection())
    assert set(found["quantity"]) == set(GAMMAS)
    assert not found["is_end"].any()
    diverged = dataclasses.replace(inspection(), diverged=frozenset({"qk_layernorm_free"}))
    assert gamma_summary(diverged).filter("is_end")["step"].unique().to_list() == [STEPS[-1]]


def test_histograms_keep_their_sum_when_layers_are_averaged():
    found = histogram_summary(inspection())
    sums = found.group_by("method", "of", "step").agg(pl.col("share").sum())["share"]
    np.testing.assert_allclose(sums, 1)
    assert found.filter(method="softmax", of="weight", low=0.5)["place"].to_list() == list(range(len(STEPS)))


def test_looks_are_spread_over_the_log_axis():
    assert spread(range(1000), 4) == [0, 9, 99, 999]
    assert spread([7], NUM_LOOKS) == [7]
    assert spread([3, 1, 1], NUM_LOOKS) == [1, 3]
    kept = spread(range(1000), NUM_LOOKS)
    assert spread(kept, NUM_LOOKS) == kept


def test_the_layer_that_collapsed_most_is_shown():
    assert most_collapsed(inspection()) == 1
    last = inspection().snapshots[3].p_ASHQK
    np.testing.assert_allclose(entropy_by_layer(last), [math.log(NUM_KEYS), 0], atol=1e-6)


def test_entropy_of_a_row_that_does_not_sum_to_one_is_of_its_shares():
    p_ASHQK = np.array([[[[[0.1, 0.1], [0.0, 0.0]]]]])
    np.testing.assert_allclose(entropy_by_layer(p_ASHQK), [math.log(2) / 2])


def test_a_heat_map_shows_every_weight_of_a_small_matrix():
    found = heat_map_summary(inspection(), sequence=1, layer=1, head=0)
    last = found.filter(method="softmax", step=STEPS[-1])
    assert last.height == NUM_KEYS**2
    assert last["size"].unique().to_list() == [1]
    assert last.filter(pl.col("query") == pl.col("key"))["weight"].unique().to_list() == [1.0]
    assert last["weight"].sum() == NUM_KEYS


def test_a_large_matrix_is_averaged_in_blocks():
    num_keys = 2 * MAX_CELLS + 1  # blocks of 3, the last of 2
    found = heat_map_summary(inspection(num_keys), sequence=0, layer=1, head=0)
    last = found.filter(method="softmax", step=STEPS[-1]).sort("query", "key")
    assert last["size"].unique().to_list() == [3]
    assert last["query"].max() == num_keys - 2
    diagonal = last.filter(pl.col("query") == pl.col("key"))["weight"]
    np.testing.assert_allclose(diagonal, [1 / 3] * (len(diagonal) - 1) + [1 / 2], rtol=1e-6)
    with pytest.raises(UsageError, match="at most 40,000 cells"):
        heat_maps(pl.concat([found] * 50), title="")


def test_fig_11_is_one_chart_a_sequence(material):
    parts = drawn_of("11", material)
    assert [one.part for one in parts] == ["sequence_0", "sequence_1"]
    for one in parts:
        assert set(one.data["method"]) == {"softmax", "qk_layernorm_free"}
        assert isinstance(one.chart, alt.TopLevelMixin)


def test_runs_that_part_from_the_stored_ones_are_told_where_they_are_drawn(material):
    seen = dataclasses.replace(material.inspection, parted={"softmax": 1400})
    told = dataclasses.replace(material, inspection=seen)
    said = "Other losses than the run scored: softmax from step 1,400"
    for key in ("8", "11", "rows"):
        for plain, one in zip(drawn_of(key, material), drawn_of(key, told), strict=True):
            assert (said in str(one.chart.to_dict()["title"])) == ("softmax" in one.data["method"].unique())
            assert "Other losses" not in str(plain.chart.to_dict()["title"])
