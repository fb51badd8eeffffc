"""Frames for a terminal: digits by the width of an interval, ends that are censored, no column that says so."""

import polars as pl

from analysis.tables.forms.frames import frame_tables, without_the_same
from analysis.tables.forms.table import Number, Table, columns


def frame(**columns) -> pl.DataFrame:
    return pl.DataFrame({"workload": ["w"], **{name: [value] for name, value in columns.items()}})


def shown(**columns) -> dict[str, str]:
    (table,) = frame_tables(frame(**columns))
    return dict(zip(table.titles, table.texts[0], strict=True))


def test_a_number_and_its_interval_are_one_with_digits_by_its_width():
    found = shown(method="a", value=0.22049, ci_low=0.06504, ci_high=0.37604, unit="loss", other=0.123456)
    assert found == {"method": "a", "value [95%]": "0.22 [0.07, 0.38]", "unit": "loss", "other": "0.123"}


def test_several_intervals_have_their_own_digits():
    found = shown(best_lr=0.0123456, shift=0.123456, shift_ci_low=-1.0, shift_ci_high=2.0, lost=0.5)
    assert found == {"best_lr": "0.0123", "shift [95%]": "0.1 [-1.0, 2.0]", "lost": "0.5"}


def test_rates_have_three_digits_and_say_where_they_are_censored():
    found = shown(value=0.0123456, ci_low=3e-4, ci_high=0.3, ci_censored="both", unit="lr")
    assert found == {"value [95%]": "0.0123 [≤ 0.0003, ≥ 0.3]", "unit": "lr"}
    found = shown(best_lr=0.01, best_lr_ci_low=3e-4, best_lr_ci_high=0.1, best_lr_ci_censored="low")
    assert list(found.values()) == ["0.01 [≤ 0.0003, 0.1]"]


def test_without_an_interval_there_are_three_digits():
    assert shown(value=0.22149, ci_low=None, ci_high=None) == {"value [95%]": "0.221"}


def test_what_is_the_same_on_every_row_is_said_once():
    columns = {"method": ["a", "b"], "optimizer": ["adamw"] * 2, "knobs": ["", "x=1"], "flags": [""] * 2}
    (table,) = frame_tables(pl.DataFrame({"workload": ["w"] * 2, **columns, "score": [1.0, 1.0], "num_seeds": [5, 5]}))
    assert table.titles == ("method", "knobs", "score")
    assert table.same == (("optimizer", "adamw"), ("num_seeds", "5"))


def test_scores_and_names_never_leave_and_flags_leave_late():
    names = ("rank", "method", "knobs", "lr_sensitivity", "ci_low", "ci_high", "best_lr", "num_trials", "flags", "more")
    values = ("1", "a", "k=1", 0.1, 0.0, 0.2, 0.01, 3, "imported", 1.5)
    (table,) = frame_tables(frame(**dict(zip(names, values, strict=True))))
    leaving = sorted((one for one in table.columns if one.leaves), key=lambda one: one.leaves)
    assert [one.title for one in leaving] == ["num_trials", "more", "flags", "best_lr"]


def test_a_column_that_says_the_same_is_said_once_unless_it_is_the_first_or_has_intervals():
    titles = ("Method", "Pairs", "To step", "Difference", "lr")
    rows = tuple(
        ("a", Number(value=3.0), Number(value=None), Number(value=0.5, low=0.0, high=1.0), Number(value=lr))
        for lr in (0.1, 0.2)
    )
    short = without_the_same(Table(heading="h", columns=columns(*titles), rows=rows))
    assert short.titles == ("Method", "Difference", "lr")
    assert short.same == (("Pairs", "3"),)
    assert without_the_same(Table(heading="h", columns=columns(*titles), rows=rows[:1])).titles == titles


def test_a_score_that_is_named_on_every_row_is_said_once_and_a_score_that_is_a_number_is_not():
    pairs = pl.DataFrame({"workload": "w", "score": ["best_loss"] * 2, "first": ["a", "b"], "second": ["c", "c"]})
    (table,) = frame_tables(pairs)
    assert (table.titles, table.same) == (("first", "second"), (("score", "best_loss"),))
