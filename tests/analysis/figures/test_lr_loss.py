"""Figures: drawn in every format, escaped and not too large."""

import json
import math

import polars as pl
import pytest

from analysis.figures.frames.aggregate import layer_summary, loss_summary, telling_lr, trace_summary
from analysis.figures.lr_loss import DRAWN_FORMATS, loss_against_lr, save_spec
from analysis.figures.style.chart_style import PALETTE
from analysis.figures.traces import entropy_by_layer, training_behaviour
from analysis.losses import choose_loss
from bench.errors import UsageError
from tests.analysis.synthetic_results import METHODS, TRACE_SCHEMA, frame, results, row, traces, with_held_out

MAGIC = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    return results(num_seeds=3)


@pytest.fixture(scope="module")
def charts(data):
    lr = telling_lr(data)
    drawn = traces(data.filter((pl.col("lr") - lr).abs() < 1e-9))
    return {
        "loss": loss_against_lr(loss_summary(data), title="Final loss"),
        "trace": training_behaviour(trace_summary(data, drawn, lr), num_keys=21, title="Training behaviour"),
        "layers": entropy_by_layer(layer_summary(data, drawn, lr), num_keys=21, title="Entropy"),
    }


def values_of(spec: dict, name: str) -> set:
    return {entry[name] for rows in spec["datasets"].values() for entry in rows if name in entry}


@pytest.mark.parametrize("name", ["loss", pytest.param("trace", marks=pytest.mark.slow), "layers"])
def test_every_figure_saves_in_every_format(name, charts, tmp_path):
    paths = save_spec(charts[name].to_dict(), tmp_path, name, DRAWN_FORMATS)
    assert [path.name for path in paths] == [f"{name}.svg", f"{name}.png", f"{name}.pdf"]
    for path in paths:
        assert path.read_bytes().startswith(MAGIC[path.suffix.removeprefix(".")])


def test_formats_made_of_one_layout_are_those_of_a_chart(charts, tmp_path):
    (path,) = save_spec(charts["loss"].to_dict(), tmp_path, "loss", [])
    charts["loss"].save(str(tmp_path / "alone.svg"))  # by Altair
    assert path.name == "loss.svg"
    assert path.read_bytes() == (tmp_path / "alone.svg").read_bytes()


def test_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="svg, png, pdf"):
        save_spec({}, tmp_path, "loss", ["html"])


def test_initial_loss_is_a_labelled_rule(data):
    spec = loss_against_lr(loss_summary(data), title="Final loss").to_dict()
    assert values_of(spec, "label") == {"loss at init"}
    assert values_of(spec, "height").pop() == pytest.approx(data["initial_loss"].mean())


@pytest.mark.parametrize(("loss", "words"), [("train", "final training loss"), ("validation", "final held-out loss")])
def test_axis_says_which_loss_it_is(data, loss, words):
    summary = loss_summary(choose_loss(with_held_out(data), loss))
    spec = loss_against_lr(summary, title="", loss=loss).to_dict()
    assert spec["layer"][1]["encoding"]["y"]["title"].startswith(words)
    expected = with_held_out(data)["initial_val_loss" if loss == "validation" else "initial_loss"].mean()
    assert values_of(spec, "height").pop() == pytest.approx(expected)


def test_methods_differ_in_colour(data):
    spec = loss_against_lr(loss_summary(data), title="Final loss").to_dict()
    scale = spec["layer"][1]["encoding"]["color"]["scale"]
    assert scale["domain"] == sorted(METHODS)
    assert sorted(scale["range"]) == sorted(PALETTE)


def test_more_methods_than_colours_differ_in_dashes():
    data = frame([row(f"method{place:02d}", lr, 0, 1.0) for place in range(14) for lr in (0.1, 1.0)])
    encoding = loss_against_lr(loss_summary(data), title="").to_dict()["layer"][1]["encoding"]
    looks = [
        json.dumps(pair)
        for pair in zip(encoding["color"]["scale"]["range"], encoding["strokeDash"]["scale"]["range"], strict=True)
    ]
    assert len(set(looks)) == 14


def test_hostile_names_are_escaped(tmp_path):
    data = frame([row("<script>alert(1)</script>", lr, 0, 1.0) for lr in (0.1, 1.0)])
    chart = loss_against_lr(loss_summary(data), title="<script>alert(2)</script>")
    assert "<script" not in save_spec(chart.to_dict(), tmp_path, "loss", [])[0].read_text(encoding="utf-8")


def test_everything_diverged_still_draws(tmp_path):
    data = frame([row("m", 0.1, 0, math.inf, trial_id="0", diverged_step=0)])
    trace = pl.DataFrame([("0", 0, "loss", -1, 4.0)], schema=TRACE_SCHEMA, orient="row")
    loss = loss_against_lr(loss_summary(data), title="")
    training = training_behaviour(trace_summary(data, trace, 0.1), num_keys=4, title="")
    for chart in (loss, training):
        (path,) = save_spec(chart.to_dict(), tmp_path, "chart", [])
        assert path.read_text(encoding="utf-8").startswith("<svg")


def test_too_many_rows_are_refused(data):
    summary = loss_summary(data)
    with pytest.raises(UsageError, match="at most 5000 rows"):
        loss_against_lr(pl.concat([summary] * 50), title="")


def test_panels_have_room_for_the_label_above_the_loss_at_init(data):
    summary = loss_summary(data)
    spec = loss_against_lr(summary, title="").to_dict()
    top, rule = spec["layer"][1]["encoding"]["y"]["scale"]["domainMax"], summary["initial_loss"].mean()
    assert top >= 1.05 * rule
    assert top >= summary["loss_high"].max()
