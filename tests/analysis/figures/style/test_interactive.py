"""The interactive page: one library for all charts, panels that zoom, nothing hostile."""

import json
import re

import pytest
import vl_convert

from analysis.figures.diverged import diverged_map_chart
from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.frames.diverged_map import diverged_map
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.style.interactive import _libraries, interactive_page, zoomable
from tests.analysis.synthetic_results import frame, results, row


@pytest.fixture(scope="module")
def data():
    return results(num_seeds=2)


def test_panels_with_two_scales_zoom_and_grids_do_not(data):
    curves = zoomable(loss_against_lr(loss_summary(data), title="").to_dict())
    assert [unit["params"][0]["bind"] for unit in curves["layer"] if "params" in unit] == ["scales"]
    grids = zoomable(diverged_map_chart(diverged_map(data), title="").to_dict())
    assert not [unit for unit in grids["spec"]["layer"] if "params" in unit]


def test_each_panel_has_a_name_of_its_own(data):
    panel = loss_against_lr(loss_summary(data), title="").to_dict()
    joined = zoomable({"vconcat": [{"hconcat": [panel, panel | {"layer": [dict(unit) for unit in panel["layer"]]}]}]})
    names = [unit["params"][0]["name"] for part in joined["vconcat"][0]["hconcat"] for unit in part["layer"]
             if "params" in unit]  # fmt: skip
    assert len(names) == len(set(names)) == 2


def test_page_holds_the_libraries_once_and_loads_nothing():
    hostile = "</script><script>alert(1)</script>"
    data = frame([row(hostile, lr, 0, 1.0) for lr in (0.1, 1.0)])
    chart = loss_against_lr(loss_summary(data), title=hostile)
    page = interactive_page([(hostile, chart.to_dict()), (hostile, chart.to_dict())], title=hostile)
    assert page.count("<script>") == 2  # libraries and charts
    assert "<script>alert" not in page
    assert "<script src" not in page
    assert page.count('<figure id="chart-') == 2
    assert len(page) < 1_500_000


def test_page_holds_of_data_what_is_drawn_in_six_digits(data):
    chart = loss_against_lr(loss_summary(data.with_columns(final_loss=data["final_loss"] / 3)), title="").to_dict()
    page = interactive_page([("Loss", chart)], title="")
    (kept,) = json.loads(re.findall(r"const specs = (.*), dark =", page)[0])
    assert kept["datasets"].keys() == chart["datasets"].keys()
    for name, rows in chart["datasets"].items():
        for before, after in zip(rows, kept["datasets"][name], strict=True):
            assert {"workload", "optimizer"}.isdisjoint(after)
            for column, value in after.items():
                same = pytest.approx(before[column], rel=1e-5) if isinstance(value, float) else before[column]
                assert value == same
    drawn = {part["field"] for layer in chart["layer"] for part in layer["encoding"].values() if "field" in part}
    assert drawn <= {column for rows in kept["datasets"].values() for row in rows for column in row}
    numbers = [value for rows in kept["datasets"].values() for row in rows for value in row.values()]
    assert max(len(repr(value)) for value in numbers if isinstance(value, float)) <= len("-1.23456e-10")


@pytest.mark.whole
def test_libraries_are_bundled_once_a_user_and_made_anew_where_nothing_can_be_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = _libraries.__wrapped__
    script = bundle()
    (kept,) = (tmp_path / "cache" / "bench").iterdir()
    assert vl_convert.__version__ in kept.name
    assert kept.read_text(encoding="utf-8") == script
    kept.write_text("kept", encoding="utf-8")
    assert bundle() == "kept"
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert bundle() == script
