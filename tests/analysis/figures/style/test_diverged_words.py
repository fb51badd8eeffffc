"""Words for lines that diverged: when, and how many seeds."""

import polars as pl

from analysis.figures.frames.aggregate import DIVERGED_COLUMNS
from analysis.figures.style.diverged_words import diverged_sentence, diverged_words


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
