"""Performance profiles: drawn in every format, every step where it is, hidden lines told apart."""

import struct

import polars as pl
import pytest

from analysis.figures.lr_loss import save_spec
from analysis.figures.profiles import profile_plot
from analysis.figures.style.columns import COLUMN_INCHES, save_at_width
from bench.errors import UsageError

HOSTILE = "<script>alert(1)</script>"
# a is best everywhere; b on half of the conditions, and within 2.5 on the other half; c on none within 4.
STEPS = pl.DataFrame(
    [(method, tau, share) for method, shares in (("c", (0.0, 0.0, 0.0)), ("a", (1.0, 1.0, 1.0)), ("b", (0.5, 1.0, 1.0)))
     for tau, share in zip((1.0, 2.5, 4.0), shares, strict=True)],
    schema={"method": pl.String, "tau": pl.Float64, "share": pl.Float64},
    orient="row",
)  # fmt: skip


def drawn(frame: pl.DataFrame = STEPS, **words: str) -> dict:
    return profile_plot(frame, **{"title": "Profiles", "distance": "factor of the best", **words}).to_dict()


def points(spec: dict, method: str) -> list[tuple[float, float]]:
    (rows,) = spec["datasets"].values()
    return [(row["tau"], row["share"]) for row in rows if row["method"] == method]


def test_it_saves_in_every_format_and_at_the_width_of_a_column(tmp_path):
    content = [path.read_bytes() for path in save_spec(drawn(), tmp_path, "profiles", ("png", "pdf"))]
    assert [one.lstrip()[:4] for one in content] == [b"<svg", b"\x89PNG", b"%PDF"]
    width, height = struct.unpack(">II", content[1][16:24])
    assert width > height > 400
    save_at_width(profile_plot(STEPS, title="", distance="d"), tmp_path, "column", COLUMN_INCHES)
    assert 'width="234.000pt"' in (tmp_path / "column.svg").read_text()


def test_lines_step_where_shares_rise_and_end_together_soon_after_the_last():
    spec = drawn()
    end = 2.5 + 0.06 * 1.5
    assert spec["layer"][0]["mark"]["interpolate"] == "step-after"
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == pytest.approx([1, end])
    assert points(spec, "b")[:2] == [(1, 0.5), (2.5, 1)]
    assert points(spec, "b")[2] == points(spec, "a")[2] == pytest.approx((end, 1))


def test_profiles_without_a_step_go_all_the_way():
    spec = drawn(STEPS.filter(pl.col("method") != "b"))
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [1, 4]
    assert points(spec, "a") == [(1, 1), (2.5, 1), (4, 1)]


def test_order_of_rows_changes_nothing():
    assert drawn(STEPS.sample(fraction=1, shuffle=True, seed=0)) == drawn()


def test_later_lines_are_thinner_so_that_those_below_show():
    width = drawn()["layer"][0]["encoding"]["strokeWidth"]["scale"]
    assert width["domain"] == ["a", "b", "c"]
    assert width["range"] == sorted(width["range"], reverse=True)
    assert len(set(width["range"])) == 3
    many = pl.concat([STEPS.filter(method="a").with_columns(method=pl.lit(f"m{place:02}")) for place in range(12)])
    assert max(drawn(many)["layer"][0]["encoding"]["strokeWidth"]["scale"]["range"]) <= 6


def test_the_axis_says_what_tau_is():
    assert drawn(distance="decades short of the best")["layer"][0]["encoding"]["x"]["title"] == (
        "τ: decades short of the best"
    )


def test_hostile_names_are_escaped(tmp_path):
    chart = profile_plot(STEPS.with_columns(method=pl.lit(HOSTILE)), title=HOSTILE, subtitle=HOSTILE, distance=HOSTILE)
    assert "<script" not in save_spec(chart.to_dict(), tmp_path, "profiles", [])[0].read_text(encoding="utf-8")


def test_missing_columns_are_named():
    with pytest.raises(UsageError, match="lacks the columns tau, share"):
        profile_plot(pl.DataFrame({"method": ["a"]}), title="", distance="")
