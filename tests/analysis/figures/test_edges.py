"""Curvature over the edge: medians over seeds up to the first divergence, and a rule at 1."""

import polars as pl
import pytest

from analysis.figures.edges import curvature_over_edge
from analysis.figures.frames.edges import edge_summary
from bench.trace import TRACE_COLUMNS
from tests.analysis.synthetic_results import results

LR = 0.1


def traces_of(trials: pl.DataFrame, values: dict[int, list[float]]) -> pl.DataFrame:
    """edge_ratio of each seed at steps 0, 10, 20, ..."""
    ids = dict(trials.select("seed", "trial_id").iter_rows())
    rows = [
        {"trial_id": ids[seed], "step": 10 * place, "layer": -1, "quantity": "edge_ratio", "value": value}
        for seed, column in values.items()
        for place, value in enumerate(column)
    ]
    return pl.DataFrame(rows, schema={"trial_id": pl.String, **{k: getattr(pl, v) for k, v in TRACE_COLUMNS.items()}})


@pytest.fixture(scope="module")
def trials() -> pl.DataFrame:
    found = results(num_seeds=3).filter(pl.col("method") == "softmax")
    one = found.filter((pl.col("lr") - LR).abs() == (pl.col("lr") - LR).abs().min()).sort("seed")
    assert one.height == 3
    return one.with_columns(outcome=pl.lit("completed"), diverged_step=pl.lit(None, pl.Int64))


def test_a_line_is_the_median_over_seeds(trials):
    found = edge_summary(trials, traces_of(trials, {0: [0.1, 0.2], 1: [0.3, 2.0], 2: [5.0, 0.4]}))
    assert found["value"].to_list() == pytest.approx([0.3, 0.4])
    assert found["step"].to_list() == [0, 10]
    assert found["num_seeds"].to_list() == [3, 3]
    assert not found["is_end"].any()


def test_a_line_ends_with_the_first_seed_that_diverged(trials):
    diverged = trials.with_columns(
        outcome=pl.when(pl.col("seed") == 1).then(pl.lit("diverged")).otherwise("outcome"),
        diverged_step=pl.when(pl.col("seed") == 1).then(pl.lit(12)),
    )
    found = edge_summary(diverged, traces_of(trials, {seed: [1.0, 2.0, 3.0] for seed in range(3)}))
    assert found.select("step", "is_end").rows() == [(0, False), (10, True)]


def test_what_is_concave_or_was_never_measured_is_no_row(trials):
    assert edge_summary(trials, traces_of(trials, {0: [-0.5, 0.5]}))["step"].to_list() == [10]
    assert edge_summary(trials, traces_of(trials, {})).is_empty()


def test_long_lines_keep_at_most_41_steps_and_their_end(trials):
    found = edge_summary(trials, traces_of(trials, {0: [1.0] * 333}))
    assert found.height <= 41
    assert (found["step"].min(), found["step"].max()) == (0, 3320)


def test_the_figure_has_a_panel_a_quantity_and_method_and_a_rule_at_one(trials):
    found = edge_summary(trials, traces_of(trials, {0: [0.1, 0.2], 1: [0.3, 2.0]}))
    both = pl.concat([found, found.with_columns(method=pl.lit("other"))])
    spec = curvature_over_edge(both, title="Curvature over the edge of stability").to_dict()
    assert [panel["title"]["text"] for panel in spec["vconcat"][0]["concat"]] == ["other", "softmax"]
    heights = {row["height"] for rows in spec["datasets"].values() for row in rows if "height" in row}
    assert heights == {1.0}
