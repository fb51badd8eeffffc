"""Values of any knob, which of them vary, and what else does."""

import math

import polars as pl
import pytest

from analysis.knobs import knob_text, knob_values, other_knobs, setting_values, varied_knobs
from bench.errors import UsageError
from tests.analysis.synthetic_results import frame, row


def with_settings(rows: list[dict[str, object]], settings: list[str | None]) -> pl.DataFrame:
    return frame(rows).with_columns(settings=pl.Series(settings, dtype=pl.String))


TWO = [row("m", lr, 0, 1.0) for lr in (0.1, 1.0)]


def test_lane_knobs_are_columns_and_all_others_keys_of_settings():
    results = with_settings(TWO, ['{"batch_size":32}', '{"batch_size":64,"optimizer.beta1":0.9}'])
    assert knob_values(results, "lr").to_list() == [0.1, 1.0]
    assert knob_values(results, "batch_size").to_list() == [32.0, 64.0]
    assert knob_values(results, "optimizer.beta1").to_list() == [None, 0.9]


def test_values_of_settings_are_in_order_whatever_their_types():
    results = with_settings(TWO, ['{"depth":12,"norm":"pre","x":true}', '{"depth":4,"x":"on"}'])
    results = pl.concat([results, with_settings(TWO, ['{"depth":null,"x":2}', "{}"])])
    assert setting_values(results) == {"depth": [None, 4, 12], "norm": ["pre"], "x": [2, True, "on"]}


def test_results_without_settings_have_lane_knobs_alone():
    for results in (frame(TWO).drop("settings", strict=False), with_settings(TWO, [None, "{}"])):
        assert varied_knobs(results) == ["lr"]
        assert other_knobs(results, {"lr"}).to_list() == ["", ""]


def test_unknown_knob_suggests_the_known_one():
    with pytest.raises(UsageError, match=r"did you mean 'batch_size'.*lr, warmup_steps"):
        knob_values(with_settings(TWO, ['{"batch_size":32}'] * 2), "batchsize")


def test_a_value_that_is_no_number_is_refused_and_never_a_varied_knob():
    results = with_settings(TWO, ['{"norm":"pre"}', '{"norm":"post"}'])
    with pytest.raises(UsageError, match="over numbers, and a trial has 'pre'"):
        knob_values(results, "norm")
    assert varied_knobs(results) == ["lr"]
    assert other_knobs(results, {"lr"}).to_list() == ["norm=pre", "norm=post"]


def test_a_knob_varies_only_where_one_method_has_several_values():
    # Warmup differs between optimizers, depth within one; nobody has two weight decays.
    rows = [
        row("m", 0.1, 0, 1.0, optimizer=name, warmup_steps=w) for name, w in (("sgd", 0.0), ("sgd", 0.0), ("a", 5.0))
    ]
    assert varied_knobs(with_settings(rows, ['{"depth":2}', '{"depth":4}', '{"depth":2}'])) == ["depth"]


def test_others_are_named_where_they_vary_and_axes_never():
    rows = [row("m", 0.1, 0, 1.0, warmup_steps=w, grad_clip=c) for w in (0.0, 100.0) for c in (1.0, math.inf)]
    results = with_settings(rows, ['{"depth":2}'] * 4)
    assert other_knobs(results, {"warmup_steps"}).to_list() == ["grad_clip=1", "grad_clip=inf"] * 2
    assert other_knobs(results, ("warmup_steps", "grad_clip", None)).to_list() == [""] * 4


def test_text_of_a_value():
    assert [knob_text(value) for value in (0.0, 32.0, 1e-4, 3e-5, math.inf)] == ["0", "32", "0.0001", "3e-05", "inf"]
