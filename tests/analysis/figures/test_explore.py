"""The explore page: what is drawn of every trial, its weight, and its controls in a real browser."""

import dataclasses
import re

import polars as pl
import pytest

from analysis.figures.explore import explore_spec
from analysis.figures.frames.explored import LEAST_STEPS, Explored, explored
from analysis.figures.of_a_suite import parts
from analysis.figures.style.interactive import interactive_page
from tests.analysis.synthetic_results import METHODS, results
from tests.analysis.synthetic_results import traces as traces_of


def explored_of(data, traces, **limits) -> Explored:
    found = explored(data, [traces], **limits)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    (_, part), *_ = parts(results(num_seeds=2))
    return part


@pytest.fixture(scope="module")
def found(data):
    return explored_of(data, traces_of(data))


def test_every_trial_with_a_result_has_a_cell_and_a_loss(data, found):
    assert found.cells.height == data.filter(pl.col("outcome").is_in(["completed", "diverged"])).height
    assert {one["trial"] for one in found.series if one["quantity"] == "loss"} == set(found.cells["trial"])


def test_values_stand_at_rising_steps_and_those_of_layers_have_their_mean(found):
    assert found.steps == sorted(set(found.steps))
    assert all(len(one["values"]) <= len(found.steps) for one in found.series)
    layers = {one["layer"] for one in found.series if one["quantity"] == "entropy"}
    assert min(layers) == -1
    assert len(layers) > 2


def test_methods_of_one_colour_have_other_dashes(found):
    spec = explore_spec(found, lr="0.1", caption="")
    encoding = spec["vconcat"][0]["encoding"]
    colours, dashes = (encoding[channel]["scale"]["range"] for channel in ("color", "strokeDash"))
    assert len(colours) == len(METHODS)
    assert len({(colour, str(dash)) for colour, dash in zip(colours, dashes, strict=True)}) == len(METHODS)
    family = ["qk_layernorm_fixed", "qk_layernorm_free"]
    explored = dataclasses.replace(found, cells=found.cells.head(2).with_columns(method=pl.Series(family)))
    encoding = explore_spec(explored, lr="0.1", caption="")["vconcat"][0]["encoding"]
    assert len(set(encoding["color"]["scale"]["range"])) == 1
    assert len(set(map(str, encoding["strokeDash"]["scale"]["range"]))) == 2


def test_a_spike_of_one_step_is_drawn(data):
    traces = traces_of(data)
    trial = traces.filter(quantity="loss")["trial_id"][0]
    is_spike = (pl.col("trial_id") == trial) & (pl.col("quantity") == "loss")
    middle = traces.filter(is_spike)["step"].sort()[-2]
    spiked = traces.with_columns(value=pl.when(is_spike & (pl.col("step") == middle)).then(777.0).otherwise("value"))
    values = [value for one in explored_of(data, spiked).series for value in one["values"]]
    assert 777.0 in values


def test_what_does_not_fit_is_thinned_and_then_left_out_layers_first(data, found):
    small = explored_of(data, traces_of(data), max_values=20_000)
    assert len(small.steps) < len(found.steps)
    assert sum(len(one["values"]) for one in small.series) <= 20_000
    tiny = explored_of(data, traces_of(data), max_values=3_000)
    assert tiny.left_out
    assert {one["layer"] for one in tiny.series} == {-1}
    assert len(tiny.steps) <= LEAST_STEPS


def test_trials_without_traces_have_no_chart(data):
    assert explored(data, []) is None
    assert explored(data, [traces_of(data).clear()]) is None


def test_layers_of_several_stacks_have_their_names(found):
    names = [f"encoder.{index}" for index in range(99)]
    (select,) = (
        one
        for one in explore_spec(found, lr="0.1", caption="", layer_names=names)["params"]
        if one["name"] == "p_layer"
    )
    assert select["bind"]["labels"][:2] == ["mean", "encoder.0"]


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    """Of 665 trials: 7 methods, 19 learning rates, 5 seeds."""
    (_, part), *_ = parts(results(num_seeds=5))
    many = explored_of(part, traces_of(part))
    assert many.cells.height == 665
    path = tmp_path_factory.mktemp("explore") / "charts.html"
    specs = [("Traces", explore_spec(many, lr="0.1", caption="Traces"))]
    path.write_text(interactive_page([], title="explore", explored=specs), encoding="utf-8")
    return path


def test_the_page_of_665_trials_weighs_less_than_2_megabytes(page):
    assert page.stat().st_size < 2_000_000


@pytest.mark.whole
def test_controls_cells_and_legend_choose_what_is_drawn(page, browser):
    asked: list[str] = []
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(page.as_uri())
    lines = shown.locator("#chart-0 .mark-line path")
    lines.first.wait_for()
    assert lines.count() == 7 * 5
    labels = shown.locator("#chart-0 .role-axis-label").nth(1).locator("text").all_inner_texts()
    assert labels
    assert all(re.fullmatch(r"[0-9.]+", label) for label in labels if label)
    shown.locator("select[name=p_seed]").focus()
    shown.keyboard.press("ArrowDown")  # from all seeds to the first
    shown.wait_for_function("document.querySelectorAll('#chart-0 .mark-line path').length == 7")
    shown.keyboard.press("Shift+Tab")
    assert shown.evaluate("document.activeElement.name") == "p_lr"
    shown.locator("select[name=p_seed]").select_option("3")
    shown.wait_for_function("document.querySelectorAll('#chart-0 .mark-line path').length == 7")
    shown.locator("select[name=p_method]").select_option("softmax")  # the others fade
    dim = "[...document.querySelectorAll('#chart-0 .mark-line path')].filter(one => one.getAttribute('opacity') < 0.1)"
    shown.wait_for_function(f"{dim}.length == 6")
    shown.locator("select[name=p_axis]").select_option("linear")
    shown.locator("select[name=p_quantity]").select_option("entropy")
    shown.locator("select[name=p_layer]").select_option(label="1")
    shown.locator("#chart-0 .mark-rect path").nth(4).click()
    shown.wait_for_function("document.querySelectorAll('#chart-0 .mark-line path').length == 1")
    assert all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.whole
@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 1280)])
def test_it_fits_a_phone_and_is_dark_where_the_browser_is(page, browser, scheme, width):
    shown = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    shown.goto(page.as_uri())
    shown.locator("#chart-0 svg.marks").wait_for()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    label = shown.locator("#chart-0 .role-axis-label text").first.evaluate("one => one.getAttribute('fill')")
    assert (label == "#e8e8e8") == (scheme == "dark")
    names = "[...document.querySelectorAll('#chart-0 .role-legend-label text')]"
    right = shown.evaluate(f"{names}.map(one => [one.textContent, one.getBoundingClientRect().right])")
    ends = {text: end for text, end in right if text in METHODS}
    assert len(ends) == len(METHODS)
    assert max(ends.values()) <= width
    gradient = shown.locator("#chart-0 .role-legend-gradient").first.bounding_box()
    assert gradient is not None
    assert gradient["x"] + gradient["width"] <= width
