"""The figure of a search: how every trial ended, the rounds, and the answer in its interval."""

import math

import polars as pl
import pytest

from analysis.figures.search import ASKED_COLUMNS, asked_chart
from bench.errors import UsageError

ROWS = [(1, 1, 0.01, 0, "completed", 2.0), (2, 1, 1.0, 0, "diverged", None), (3, 2, 0.1, 1, "no result", None)]
PRUNED = (4, 2, 0.3, 0, "pruned", 3.0)
ASKED = pl.DataFrame(ROWS, schema=ASKED_COLUMNS, orient="row")


def drawn(
    answer: float | None = 0.2, interval: tuple[float, float] | None = (0.05, math.inf), asked: pl.DataFrame = ASKED
) -> dict:
    return asked_chart(asked, knob="lr", answer=answer, interval=interval, title="t").to_dict()


def rows_of(spec: dict, unit: dict) -> list[dict]:
    return spec["datasets"][unit["data"]["name"]]


def units(spec: dict, mark: str) -> list[dict]:
    return [unit for unit in spec["layer"] if unit["mark"]["type"] == mark]


def test_marks_tell_how_a_trial_ended():
    spec = drawn(asked=pl.DataFrame([*ROWS, PRUNED], schema=ASKED_COLUMNS, orient="row"))
    found = [[row["state"] for row in rows_of(spec, unit)] for unit in units(spec, "point")]
    assert found == [["completed"], ["diverged"], ["no result"], ["pruned"]]
    assert units(spec, "point")[0]["encoding"]["color"]["field"] == "loss"


def test_rounds_are_numbered_and_every_other_is_shaded():
    spec = drawn(None, None)
    (shade,) = units(spec, "rect")
    assert [(row["start"], row["end"]) for row in rows_of(spec, shade)] == [(2.5, 3.5)]
    (words,) = units(spec, "text")
    assert [(row["middle"], row["words"]) for row in rows_of(spec, words)] == [(1.5, "round 1"), (3.0, "2")]


def test_the_answer_is_a_rule_in_a_band_that_ends_with_the_axis():
    spec = drawn()
    band = rows_of(spec, units(spec, "rect")[1])
    assert band == [{"low": 0.05, "high": pytest.approx(1.5)}]
    (rule,) = units(spec, "rule")
    assert rows_of(spec, rule)[0] == {"height": 0.2, "label": "answer: 0.2"}


def test_without_an_answer_or_an_interval_there_is_no_rule_or_no_band():
    assert units(drawn(None, None), "rule") == []
    assert len(units(drawn(0.2, None), "rect")) == 1


def test_a_frame_of_other_columns_is_refused():
    with pytest.raises(UsageError, match="the frame of trials asked for"):
        asked_chart(ASKED.drop("state"), knob="lr", answer=None, interval=None, title="t")
