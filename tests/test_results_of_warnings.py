"""What the README of suites/results/ says of detectors of failing runs holds in the files beside it."""

import polars
import pytest

from bench.results.thresholds import read_abort
from bench.store import Store
from bench.suite import find_suite, load_suite
from tests.published import RESULTS, stated

PERCENT = r"(\d+)% \[(\d+)%, (\d+)%\]"


@pytest.fixture(scope="module")
def detectors() -> dict[str, dict]:
    """Rows of the board whose thresholds are fitted on other methods, by detector; without those that saw nothing."""
    board = polars.read_csv(RESULTS / "early_warning/warnings.csv").filter(polars.col("recall").is_not_null())
    return {row["detector"]: row for row in board.filter(held_out="method").iter_rows(named=True)}


def percents(row: dict, name: str) -> list[int]:
    return [round(100 * row[f"{name}{end}"]) for end in ("", "_low", "_high")]


def test_runs_are_counted_as_is_said(detectors):
    row = detectors["loss"]
    trials = polars.read_csv(RESULTS / "early_warning/curves.csv")
    said = stated(r"(\d+) of (\d+) trials diverged, (\d+) are stable, (\d+) learned nothing")
    assert said == [row["num_failed"], trials.height, row["num_stable"], row["num_stuck"]]


def test_no_detector_leads_by_more_than_two_steps(detectors):
    (most,) = stated(r"the median lead of every detector is (\d+) steps or less")
    assert max(row["lead_steps"] for row in detectors.values()) == most


def test_what_each_warns_of_is_what_is_said(detectors):
    said = stated(rf"it warns of {PERCENT} of the failures at {PERCENT} of false alarms, entropy of {PERCENT}")
    variance = detectors["logit_variance"]
    assert said == [
        *percents(variance, "recall"), *percents(variance, "false_alarms"), *percents(detectors["entropy"], "recall"),
    ]  # fmt: skip
    assert stated(rf"The loss alone warns of {PERCENT}") == percents(detectors["loss"], "recall")
    assert stated(rf"over the edge of {PERCENT}, curvature along the gradient of {PERCENT}") == [
        *percents(detectors["edge_ratio"], "recall"), *percents(detectors["gradient_curvature"], "recall"),
    ]  # fmt: skip


def test_no_signal_of_attention_is_told_from_the_loss_as_better(detectors):
    of_attention = (
        "entropy",
        "entropy_slope",
        "least_head",
        "logit_variance",
        "max_logit",
        "spectral_norm",
        "sharp_rows",
    )
    best = max(of_attention, key=lambda name: detectors[name]["recall"])
    assert best == "logit_variance"
    assert all(detectors[name]["recall_low"] < detectors["loss"]["recall"] for name in of_attention)
    for name in ("edge_ratio", "gradient_curvature"):
        assert detectors[name]["recall_high"] < min(detectors[other]["recall_low"] for other in of_attention)


def test_runs_of_the_suite_can_be_aborted_by_its_board():
    """At the threshold of other methods, beside what it says of false alarms."""
    suite, board = load_suite(find_suite("early_warning")), RESULTS / "early_warning/warnings.csv"
    store = Store(RESULTS / "none", None, warn=pytest.fail)
    abort = read_abort(suite, "logit_variance", str(board), store, allow_code=False)
    (row,) = abort.thresholds
    assert (row["held_out"], row["false_alarms"]) == ("method", pytest.approx(0.049, abs=5e-4))
    assert [abort.watch.threshold(trial) for trial in suite.expand()[:1]] == [row["threshold"]]
