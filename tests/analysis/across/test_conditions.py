"""Which trials of several sides make a condition, what it is called, and what is left out."""

import re

import polars as pl
import pytest

from analysis.across.conditions import CONDITION_COLUMNS, conditions
from bench.errors import UsageError
from tests.analysis.across.side_frames import AT_CHANCE, LITTLE, side

THREE = {"a": 0.2, "b": 0.4, "c": 0.6}


def names(**sides: pl.DataFrame) -> list[str]:
    return conditions(sides, "train").frame["condition"].to_list()


def entries(**sides: pl.DataFrame) -> list[tuple[str, str]]:
    return [entry.key[:2] for entry in conditions(sides, "train").entries]


def test_workloads_of_two_sides_are_conditions_in_the_order_of_the_sides():
    found = conditions({"one": side(THREE, workload="z"), "two": side(THREE, workload="y", floor=0.9)}, "train")
    assert found.frame.columns == list(CONDITION_COLUMNS)
    assert found.frame.rows() == [("z", "one", "z", "sgd", "", 3, 2), ("y", "two", "y", "sgd", "", 3, 2)]
    assert [entry.key for entry in found.entries[:2]] == [("z", "a", "", ""), ("z", "b", "", "")]
    assert found.notes == ()


def test_parameters_of_a_workload_are_left_out_of_its_name_where_they_tell_nothing_apart():
    assert names(one=side(THREE, workload="w(depth=2)"), two=side(THREE, workload="v", floor=0.9)) == ["w", "v"]


def test_workloads_of_one_name_are_told_apart_by_their_sides():
    one, two = side(THREE, workload="w"), side(THREE, workload="w", floor=0.9)
    assert names(one=one, two=two) == ["w (one)", "w (two)"]
    assert names(one=one, two=two.with_columns(workload=pl.lit("w(depth=2)"))) == ["w (one)", "w (two)"]


def test_workloads_of_one_side_are_told_apart_by_their_parameters():
    both = pl.concat([side(THREE, workload="w(depth=2)"), side(THREE, workload="w(depth=4)", floor=0.9)])
    assert names(one=both) == ["w(depth=2)", "w(depth=4)"]
    assert names(one=both, two=side(THREE, workload="w(depth=2)", floor=0.8)) == [
        "w(depth=2) (one)",
        "w(depth=4) (one)",
        "w(depth=2) (two)",
    ]


def test_each_optimizer_of_a_side_is_a_condition():
    one = pl.concat([side(THREE, optimizer="sgd"), side(THREE, optimizer="adamw", floor=0.9)])
    two = side(THREE, optimizer="lion", workload="v", floor=0.8)
    assert names(one=one) == ["adamw", "sgd"]
    assert names(one=one, two=two) == ["in_context_regression, adamw", "in_context_regression, sgd", "v"]
    assert conditions({"one": one, "two": two}, "train").frame["optimizer"].to_list() == ["adamw", "sgd", "lion"]


def test_each_setting_of_a_knob_that_all_methods_have_is_a_condition():
    one = pl.concat([side(THREE, warmup_steps=0.0), side(THREE, warmup_steps=9.0, floor=0.9)])
    assert names(one=one) == ["warmup_steps=0", "warmup_steps=9"]


def test_a_knob_that_only_some_methods_have_is_part_of_their_name():
    wide = [
        side({"window": 0.3}, settings=f'{{"width":{width},"modes":"x,y"}}', floor=1 - width / 100) for width in (4, 8)
    ]
    one = pl.concat([side({"a": 0.2}), *wide])
    assert entries(one=one, two=side({"a": 0.3, "b": 0.4}, workload="v", floor=0.5)) == [
        ("in_context_regression", "a"),
        ("in_context_regression", "window, width=4, modes=x, y"),
        ("in_context_regression", "window, width=8, modes=x, y"),
        ("v", "a"),
        ("v", "b"),
    ]


def test_methods_that_learned_nothing_or_little_are_flagged_and_count_as_at_chance():
    found = conditions({"one": side({"a": 0.2, "b": AT_CHANCE, "c": LITTLE})}, "train")
    assert {pair[1]: flag for pair, flag in found.flags.items()} == {"a": "", "b": "at_chance", "c": "learned_little"}
    assert [entry.at_chance for entry in found.entries] == [False, True, True]


def test_conditions_that_compare_nothing_are_left_out_and_said():
    sides = {
        "one": side({"a": AT_CHANCE, "b": AT_CHANCE}, workload="u"),
        "two": side({"a": 0.2}, workload="v"),
        "three": side(THREE, workload="w", floor=0.9),
    }
    found = conditions(sides, "train")
    assert found.frame["condition"].to_list() == ["w"]
    assert found.notes == (
        "left out: u, sgd of one: no method learned there",
        "left out: v, sgd of two: it has a single method, a",
    )


def test_the_same_runs_count_once_whatever_their_side_calls_the_workload():
    runs = side(THREE, workload="w", noise=0.01)
    again = runs.with_columns(workload=pl.lit("v"), trial_id=pl.format("{}-again", "trial_id"))
    found = conditions({"one": runs, "two": again}, "train")
    assert found.frame["side"].to_list() == ["one"]
    (note,) = found.notes
    assert re.fullmatch(
        r"left out: v, sgd of two: its runs are those of w, sgd of one: (\d+) of \1 end in the same loss to the last "
        "bit at the same method, lr and seed; --keep-same compares them",
        note,
    )
    assert conditions({"one": runs, "two": again}, "train", keeps_same=True).frame["side"].to_list() == ["one", "two"]


def test_runs_that_share_some_losses_by_chance_stay():
    # Of four points of a method two are equal: not more than half.
    one, two = side(THREE, workload="w"), side({name: value + 0.1 for name, value in THREE.items()}, workload="v")
    assert names(one=one, two=two) == ["w", "v"]


def test_sides_without_results_have_no_condition():
    assert names(one=side(THREE).with_columns(outcome=pl.lit("crashed"), final_loss=pl.lit(None, pl.Float64))) == []


def test_a_loss_that_a_workload_lacks_is_refused():
    with pytest.raises(UsageError, match="has a held-out loss"):
        conditions({"one": side(THREE)}, "validation")
