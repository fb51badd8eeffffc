"""Figures over knobs: drawn in every format, in the right order, with marks where they belong."""

import json
import math
import re
import struct

import polars as pl
import pytest
import vl_convert

from analysis.across.optimizer_matrix import optimizer_matrix
from analysis.figures.knobs import edge_plot, joint_heat_map, optimizer_matrix_chart
from analysis.figures.lr_loss import save_spec
from analysis.scores.joint_maps import joint_map
from analysis.scores.leaderboard import leaderboard
from bench.errors import UsageError
from tests.analysis.synthetic_results import frame, row

MAGIC = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
HOSTILE = "<script>alert(1)</script>"

EDGES = pl.DataFrame(
    {
        "method": ["a", "b", "c", "d"],
        "value": [0.1, 3.0, math.inf, 0.5],
        "low": [0.05, 1.0, 2.0, None],
        "high": [0.2, math.inf, math.inf, None],
    }
)


def suite(methods=("m", "n"), optimizers=("sgd", "adamw")) -> pl.DataFrame:
    return frame(
        [
            row(
                method,
                lr,
                seed,
                math.inf if lr * (place + 1) > 1.5 else 3 - lr,
                warmup_steps=warmup,
                optimizer=optimizer,
            )
            for place, method in enumerate(methods)
            for optimizer in optimizers
            for lr in (0.01, 0.1, 1.0)
            for warmup in (0.0, 100.0)
            for seed in range(2)
        ]
    )


def cells(**names) -> pl.DataFrame:
    return joint_map(suite(**names).filter(optimizer="sgd"), "lr", "warmup_steps")


def matrix(**names) -> pl.DataFrame:
    return optimizer_matrix(leaderboard(suite(**names).filter(warmup_steps=0.0)))


CHARTS = {
    "edges": lambda: edge_plot(EDGES, title="Edges", subtitle="note"),
    "map": lambda: joint_heat_map(cells(), title="Map", subtitle="note"),
    "matrix": lambda: optimizer_matrix_chart(matrix(), title="Matrix", subtitle="note"),
}


def rows_of(chart) -> list[dict]:
    return [entry for rows in chart.to_dict()["datasets"].values() for entry in rows]


@pytest.mark.parametrize("name", CHARTS)
def test_every_figure_saves_in_every_format(name, tmp_path):
    for path in save_spec(CHARTS[name]().to_dict(), tmp_path, name, MAGIC):
        content = path.read_bytes()
        assert content.startswith(MAGIC[path.suffix.removeprefix(".")])
        if path.suffix == ".png":
            width, height = struct.unpack(">II", content[16:24])
            assert width > 400
            assert height > 200
        assert len(content) > 5_000


def test_edges_are_ordered_and_open_ones_have_an_arrow():
    spec = CHARTS["edges"]().to_dict()
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["c", "b", "d", "a"]
    assert {entry["method"] for entry in rows_of(CHARTS["edges"]()) if entry["is_open"]} == {"b", "c"}
    (border,) = {entry["end"] for entry in rows_of(CHARTS["edges"]()) if entry["is_open"]}
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"][1] == border
    assert border > 3.0


def test_an_edge_without_interval_is_a_point():
    alone = next(entry for entry in rows_of(CHARTS["edges"]()) if entry["method"] == "d")
    assert (alone["start"], alone["point"], alone["end"]) == (0.5, 0.5, 0.5)
    assert next(entry for entry in rows_of(CHARTS["edges"]()) if entry["method"] == "c")["point"] is None


@pytest.mark.parametrize(
    ("edges", "labels"),
    [
        ([0.2, 0.6], ["0.2", "0.5"]),
        ([0.3], ["0.2", "0.3"]),
        ([2.3e-4, 3e-4], ["1.5e-4", "2e-4", "3e-4"]),
        ([0.01, 3.0], ["0.01", "0.1", "1"]),
    ],
)
def test_the_axis_of_edges_has_two_labels_at_least(edges, labels):
    alone = pl.DataFrame({"method": [f"m{place}" for place in range(len(edges))], "value": edges}).with_columns(
        low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64)
    )
    svg = vl_convert.vegalite_to_svg(edge_plot(alone, title="").to_dict())
    shown = re.search('aria-label="X-axis.*?(?=aria-label="Y-axis)', svg)[0]
    assert [text for text in re.findall(r">([^<>]+)</text>", shown) if text[0].isdigit()] == labels


@pytest.mark.parametrize("value", [0.0, math.inf])
def test_edges_that_no_log_axis_has_are_refused(value):
    with pytest.raises(UsageError, match="above 0 and finite"):
        edge_plot(pl.DataFrame({"method": ["a"], "value": [value], "low": [value], "high": [value]}), title="")


def test_every_cell_is_drawn_once_with_its_marks():
    shown = rows_of(CHARTS["map"]())
    assert len(shown) == 2 * 3 * 2
    assert {(entry["method"], entry["x_text"]) for entry in shown if entry["is_diverged"]} == {("n", "1")}
    assert sum(entry["is_best"] for entry in shown) == 2


def test_axes_of_a_map_ascend_and_zero_has_its_place():
    encoding = CHARTS["map"]().to_dict()["concat"][0]["layer"][0]["encoding"]
    assert encoding["x"]["scale"]["domain"] == ["0.01", "0.1", "1"]
    assert encoding["y"]["scale"]["domain"] == ["100", "0"]  # from the top


def test_all_panels_share_one_scale_that_is_safe_for_colour_blindness():
    scales = {
        json.dumps(panel["layer"][0]["encoding"]["color"]["scale"]) for panel in CHARTS["map"]().to_dict()["concat"]
    }
    assert len(scales) == 1
    assert "viridis" in scales.pop()


def test_values_that_three_digits_confuse_keep_all_theirs():
    close = cells().with_columns(x=pl.col("x").replace_strict({0.01: 0.1, 0.1: 0.10001, 1.0: 1.0}))
    domain = joint_heat_map(close, title="").to_dict()["concat"][0]["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert domain == ["0.1", "0.10001", "1.0"]


def test_whole_numbers_are_written_out():
    many = cells().with_columns(y=pl.col("y").replace_strict({0.0: 1000.0, 100.0: math.inf}))
    domain = joint_heat_map(many, title="").to_dict()["concat"][0]["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert domain == ["inf", "1000"]


def test_a_map_of_two_pairs_of_knobs_is_refused():
    two = pl.concat([cells(), cells().with_columns(y_knob=pl.lit("depth"))])
    with pytest.raises(UsageError, match="must have one pair of knobs, got depth, warmup_steps on y"):
        joint_heat_map(two, title="")


def test_matrix_has_methods_by_mean_and_interval_in_each_cell():
    found = matrix()
    chart = optimizer_matrix_chart(found, title="")
    order = chart.to_dict()["layer"][0]["encoding"]["y"]["sort"]
    assert order == found["method"].unique(maintain_order=True).to_list()
    assert len(rows_of(chart)) == 4
    assert all("\n[" in entry["cell"] for entry in rows_of(chart))


def test_a_cell_at_chance_has_no_number():
    found = matrix().with_columns(at_chance=pl.col("method") == "m")
    texts = {entry["method"]: entry["cell"] for entry in rows_of(optimizer_matrix_chart(found, title=""))}
    assert texts["m"] == "at chance"
    assert "chance" not in texts["n"]


def test_a_cell_where_little_was_learned_has_no_number():
    found = matrix().with_columns(learned_little=pl.col("method") == "m")
    texts = {entry["method"]: entry["cell"] for entry in rows_of(optimizer_matrix_chart(found, title=""))}
    assert texts["m"] == "learned\nlittle"
    assert "little" not in texts["n"]


def test_hostile_names_are_escaped(tmp_path):
    names = {"methods": (HOSTILE, "n"), "optimizers": ("sgd", HOSTILE)}
    charts = {
        "edges": edge_plot(EDGES.with_columns(method=pl.lit(HOSTILE)), title=HOSTILE),
        "map": joint_heat_map(cells(**names), title=HOSTILE, subtitle=HOSTILE, loss=HOSTILE),
        "matrix": optimizer_matrix_chart(matrix(**names), title=HOSTILE),
    }
    for name, chart in charts.items():
        assert "<script" not in save_spec(chart.to_dict(), tmp_path, name, [])[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("draw", [edge_plot, joint_heat_map, optimizer_matrix_chart])
def test_missing_columns_are_named(draw):
    with pytest.raises(UsageError, match="lacks the columns"):
        draw(pl.DataFrame({"method": ["a"]}), title="")
