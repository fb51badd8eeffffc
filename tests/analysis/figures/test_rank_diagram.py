"""The diagram of mean ranks: names in order, bars from rank to rank, the critical difference to scale."""

import struct

import polars as pl
import pytest

from analysis.figures.lr_loss import save_spec
from analysis.figures.rank_diagram import rank_diagram
from analysis.figures.style.columns import COLUMN_INCHES, save_at_width
from bench.errors import UsageError

HOSTILE = "<script>alert(1)</script>"
RANKS = pl.DataFrame({"method": ["m+cf", "m", "cf", "plain"], "mean_rank": [1.964, 2.0, 2.893, 3.143]})
GROUPS = [("m+cf", "m", "cf"), ("cf", "plain")]  # Demšar 2006, Fig. 1(a)


def chart(frame: pl.DataFrame = RANKS, groups=GROUPS, title: str = "Ranks"):
    return rank_diagram(frame, groups, title=title, subtitle=title, critical_difference=1.12)


def rows(spec: dict, column: str) -> list[dict]:
    """The rows of the one data set with this column."""
    (found,) = [data for data in spec["datasets"].values() if data and column in data[0]]
    return found


def bars(spec: dict) -> list[dict]:
    (found,) = [data for data in spec["datasets"].values() if data and "low" in data[0] and "label" not in data[0]]
    return found


def test_it_saves_in_every_format_and_at_the_width_of_a_column(tmp_path):
    content = [path.read_bytes() for path in save_spec(chart().to_dict(), tmp_path, "ranks", ("png", "pdf"))]
    assert [one.lstrip()[:4] for one in content] == [b"<svg", b"\x89PNG", b"%PDF"]
    width, height = struct.unpack(">II", content[1][16:24])
    assert width > height > 200
    save_at_width(chart(), tmp_path, "column", COLUMN_INCHES)
    assert 'width="234.000pt"' in (tmp_path / "column.svg").read_text()


def test_names_stand_below_each_other_from_the_best_with_their_mean_ranks():
    found = rows(chart().to_dict(), "mean_rank")
    assert [row["label"] for row in found] == ["m+cf  1.96", "m  2.00", "cf  2.89", "plain  3.14"]
    places = [row["place"] for row in found]
    assert places == sorted(places)
    assert len(set(places)) == 4


def test_bars_join_the_first_and_last_of_each_group_above_all_names():
    spec = chart().to_dict()
    assert [(row["low"], row["high"]) for row in bars(spec)] == [(1.964, 2.893), (2.893, 3.143)]
    places = [row["place"] for row in bars(spec)]
    assert len(set(places)) == 2
    assert 0 < min(places) < max(places) < min(row["place"] for row in rows(spec, "mean_rank"))


def test_the_axis_holds_all_ranks_and_the_critical_difference_is_to_its_scale():
    spec = chart().to_dict()
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [1, 4]
    (found,) = [data for data in spec["datasets"].values() if data and "critical" in str(data[0].get("label"))]
    assert found == [{"low": 1.0, "high": pytest.approx(2.12), "label": "critical difference 1.12"}]


def test_without_groups_there_are_no_bars():
    spec = chart(groups=[]).to_dict()
    assert not [data for data in spec["datasets"].values() if data and "low" in data[0] and "label" not in data[0]]


def test_hostile_names_are_escaped(tmp_path):
    frame = RANKS.with_columns(method=pl.col("method").replace("m", HOSTILE))
    path = save_spec(chart(frame, [("m+cf", HOSTILE)], HOSTILE).to_dict(), tmp_path, "ranks", [])[0]
    assert "<script" not in path.read_text(encoding="utf-8")


def test_missing_columns_are_named():
    with pytest.raises(UsageError, match="lacks the columns mean_rank"):
        chart(pl.DataFrame({"method": ["a"]}))
