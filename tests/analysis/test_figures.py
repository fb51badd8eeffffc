"""Figures: drawn in every format, with the theory's bounds, escaped and not too large."""

import json
import math

import polars as pl
import pytest
from synthetic_results import METHODS, frame, results, row, traces

from analysis.aggregate import loss_summary, telling_lr, trace_summary
from analysis.figures import FIGURE_FORMATS, PALETTE, loss_against_lr, save, training_behaviour
from bench.errors import UsageError

MAGIC = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    return results(num_seeds=3)


@pytest.fixture(scope="module")
def trace_chart(data):
    lr = telling_lr(data)
    summary = trace_summary(data, traces(data.filter((pl.col("lr") - lr).abs() < 1e-9)), lr)
    return training_behaviour(summary, num_keys=21, title="Training behaviour")


def values_of(spec: dict, name: str) -> set:
    return {entry[name] for rows in spec["datasets"].values() for entry in rows if name in entry}


@pytest.mark.parametrize("form", FIGURE_FORMATS)
def test_both_figures_save_in_every_format(form, data, trace_chart, tmp_path):
    for name, chart in (("loss", loss_against_lr(loss_summary(data), title="Final loss")), ("trace", trace_chart)):
        content = save(chart, tmp_path / f"{name}.{form}").read_bytes()
        assert content.lstrip().startswith(MAGIC[form])


def test_html_loads_nothing(data, tmp_path):
    path = save(loss_against_lr(loss_summary(data), title="Final loss"), tmp_path / "loss.html")
    page = path.read_text(encoding="utf-8")
    assert "<script src=" not in page
    assert "cdn.jsdelivr" not in page.split("<script")[0]


def test_unknown_format_names_the_known_ones(data, tmp_path):
    with pytest.raises(UsageError, match="svg, png, pdf, html"):
        save(loss_against_lr(loss_summary(data), title=""), tmp_path / "loss.gif")


def test_bounds_are_drawn_and_labelled(trace_chart):
    spec = trace_chart.to_dict()
    assert {math.log(21), math.sqrt(21), 1.0} <= values_of(spec, "height")
    labels = values_of(spec, "label")
    assert {"log N (N = 21): rows uniform", "√N (N = 21): rows one-hot", "1: rows uniform"} == labels


def test_initial_loss_is_a_labelled_rule(data):
    spec = loss_against_lr(loss_summary(data), title="Final loss").to_dict()
    assert values_of(spec, "label") == {"loss at init"}
    assert values_of(spec, "height").pop() == pytest.approx(data["initial_loss"].mean())


def test_methods_differ_in_colour(data):
    spec = loss_against_lr(loss_summary(data), title="Final loss").to_dict()
    scale = spec["layer"][1]["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == dict(zip(sorted(METHODS), PALETTE, strict=True))


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
    assert "<script" not in save(chart, tmp_path / "loss.svg").read_text(encoding="utf-8")
    page = save(chart, tmp_path / "loss.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page


def test_everything_diverged_still_draws(tmp_path):
    data = frame([row("m", 0.1, 0, math.inf, trial_id="0", diverged_step=0)])
    schema = {"trial_id": pl.String, "step": pl.Int32, "quantity": pl.String, "layer": pl.Int16, "value": pl.Float32}
    trace = pl.DataFrame([("0", 0, "loss", -1, 4.0)], schema=schema, orient="row")
    loss = save(loss_against_lr(loss_summary(data), title=""), tmp_path / "loss.svg")
    training = save(training_behaviour(trace_summary(data, trace, 0.1), num_keys=4, title=""), tmp_path / "trace.svg")
    assert all(path.read_text(encoding="utf-8").startswith("<svg") for path in (loss, training))


def test_too_many_rows_are_refused(data):
    summary = loss_summary(data)
    with pytest.raises(UsageError, match="at most 5000 rows"):
        loss_against_lr(pl.concat([summary] * 50), title="")
