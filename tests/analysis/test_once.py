"""Answers are kept as long as their frame lives; a suite's grids of losses are made once for all that reads them."""

import gc
import sys
import weakref
from collections import Counter

import polars as pl
import pytest

from analysis import curves as curves_module
from analysis.curves import curves, entries_by_workload
from analysis.losses import choose_loss
from analysis.once import once_a_frame
from analysis.report.sections import report_sections
from analysis.scores import knob_maps as knob_maps_module
from analysis.scores.table import trials_to_measure
from tests.analysis.synthetic_results import frame, row, subject


def knob_results() -> pl.DataFrame:
    losses = {0.01: 3.0, 0.1: 1.0, 1.0: 2.0}
    return frame(
        [
            row(method, lr, seed, loss + shift + 0.01 * seed + warmup / 100, warmup_steps=warmup)
            for method, shift in (("softmax", 0.0), ("relu_kernel", 0.3))
            for warmup in (0.0, 10.0)
            for lr, loss in losses.items()
            for seed in range(3)
        ]
    )


def counted(work) -> Counter[str]:
    """How often each function of ours is called while `work` runs."""
    calls: Counter[str] = Counter()
    watched = {
        curves_module.curves.__wrapped__.__code__: "curves",
        curves_module._loss_grid.__code__: "loss grid",
        knob_maps_module._knob_map.__code__: "knob map",
    }

    def count(frame, event, _):
        if event == "call" and frame.f_code in watched:
            calls[watched[frame.f_code]] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_answers_are_by_frame_and_arguments_and_go_with_the_frame():
    calls = []

    @once_a_frame
    def height(data: pl.DataFrame, extra: int = 0) -> int:
        calls.append(extra)
        return data.height + extra

    @once_a_frame
    def named(data: pl.DataFrame) -> pl.DataFrame:
        return data.with_columns(b=pl.lit(1))

    first, second = pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1, 2]})
    assert [height(first), height(first), height(first, 5), height(second), height(first, 5)] == [1, 1, 6, 2, 6]
    assert calls == [0, 5, 0]
    answer = weakref.ref(named(first))
    assert answer() is named(first)
    del first
    gc.collect()
    assert answer() is None


def test_an_error_is_raised_each_time():
    @once_a_frame
    def refuse(data: pl.DataFrame) -> None:
        raise ValueError(data.height)

    data = pl.DataFrame({"a": [1]})
    for _ in range(2):
        with pytest.raises(ValueError, match="1"):
            refuse(data)


def test_the_grids_of_a_suite_are_made_once_for_board_guards_shift_scores_and_differences():
    whole = subject(knob_results())
    data = whole.results

    def read() -> None:
        report_sections(whole)
        trials_to_measure(data, whole.num_keys)

    calls = counted(read)
    assert calls["curves"] == 1
    assert calls["loss grid"] == len([key for entries in entries_by_workload(data) for key in entries]) == 4
    assert calls["knob map"] == 2  # of warmup_steps over lr, once each method
    assert counted(read)["loss grid"] == 0


def test_a_held_out_loss_has_its_own_curves():
    data = knob_results().with_columns(initial_val_loss=pl.lit(5.0), val_loss=pl.col("final_loss") + 1)
    chosen = choose_loss(data, "validation")
    assert chosen is choose_loss(data, "validation")
    assert choose_loss(data, "train") is data
    assert curves(chosen)["final_loss"].to_list() == [loss + 1 for loss in curves(data)["final_loss"]]
