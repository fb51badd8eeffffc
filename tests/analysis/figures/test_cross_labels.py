"""Words at the crosses of diverged lines: every cross is told, none lies on another, close ones share their words."""

import random

import polars as pl
import pytest

from analysis.figures.cross_labels import cross_labels, diverged_sentence, diverged_words
from analysis.figures.frames.aggregate import DIVERGED_COLUMNS

WIDTH = 330.0


def crosses(*rows: tuple[str, float, float, int | None, int | None]) -> pl.DataFrame:
    """Rows of method, pixels from left, pixels from top, first and last step."""
    schema = {"method": pl.String, "from_left": pl.Float64, "from_top": pl.Float64,
              "first_diverged": pl.Int64, "last_diverged": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def told(*rows) -> list[tuple[str, str | None, bool]]:
    return [(label.text, label.method, label.is_left) for label in cross_labels(crosses(*rows), WIDTH)]


def test_one_seed_has_its_step_and_several_the_first_and_last():
    assert told(("a", 100, 100, 340, 340)) == [("step 340", "a", False)]
    assert told(("a", 100, 100, 120, 1340)) == [("steps 120–1,340", "a", False)]


def test_words_that_would_leave_the_panel_stand_left_of_the_cross():
    assert told(("a", 320, 100, 9, 9)) == [("step 9", "a", True)]


def test_crosses_close_together_share_their_words():
    found = told(("a", 100, 100, 20, 30), ("b", 108, 104, 25, 25), ("c", 100, 180, 22, 22))
    assert sorted(found, key=lambda one: one[0]) == [("step 22", "c", False), ("steps 20–30", None, False)]


def test_crosses_side_by_side_keep_their_own_words():
    assert told(("a", 100, 100, 20, 20), ("b", 130, 100, 40, 40)) == [("step 40", "b", False), ("step 20", "a", True)]


def test_crosses_of_unknown_step_have_no_words():
    assert told(("a", 100, 100, None, None)) == []


@pytest.mark.parametrize("seed", range(20))
def test_every_cross_is_told_and_no_words_lie_on_others(seed):
    chance = random.Random(seed)
    rows = [
        (f"m{place}", chance.uniform(0, WIDTH), chance.uniform(0, 200), step := chance.randrange(9000), step)
        for place in range(chance.randrange(1, 14))
    ]
    labels = cross_labels(crosses(*rows), WIDTH)
    of_labels = [row["method"] for label in labels for row in label.crosses]
    assert sorted(of_labels) == sorted(row[0] for row in rows)
    alone = [label for label in labels if label.method is not None]
    for place, one in enumerate(alone):
        for other in alone[place + 1 :]:
            left, right, top, bottom = one.box
            assert right <= other.box[0] or other.box[1] <= left or bottom <= other.box[2] or other.box[3] <= top


def diverged(*rows: tuple[str, int | None, int | None, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"method": pl.String, **DIVERGED_COLUMNS}, orient="row")


def test_words_say_when_and_how_many():
    rows = diverged(("b", 120, 340, 3, 5), ("b", 120, 340, 3, 5), ("a", None, None, 0, 5), ("c", None, None, 1, 1))
    assert diverged_words(rows) == {
        "a": "none diverged (5 seeds)",
        "b": "diverged at steps 120–340 (3 of 5 seeds)",
        "c": "diverged (1 seed)",
    }
    assert diverged_sentence(rows) == "Diverged: b at steps 120–340 (3 of 5 seeds); c (1 seed)"


def test_nothing_is_said_where_none_diverged():
    rows = diverged(("a", None, None, 0, 5))
    assert (diverged_words(rows), diverged_sentence(rows)) == ({}, "")


def test_long_sentences_are_wrapped():
    rows = diverged(*((f"a_method_with_a_long_name_{place}", 7, 7, 1, 1) for place in range(9)))
    lines = diverged_sentence(rows).split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 135
    assert sum(line.count("at step 7") for line in lines) == 9
