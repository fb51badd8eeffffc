"""What aborted runs saved and lost, worked out by hand, and how often the interval holds the truth."""

import numpy as np
import pytest

from analysis.scores.causes.aborts import ABORT_COLUMNS, aborts, lost_runs
from analysis.tables.causes.aborts import abort_group, abort_sentence
from tests.analysis.synthetic_results import frame, row

BOARD = {"workload": "toy", "optimizer": "sgd", "threshold": 3.0}
BOARD |= {"false_alarms": 0.2, "false_alarms_low": 0.05, "false_alarms_high": 0.5}


def results():
    """Of 100 steps each: 4 stable runs, one that diverged, and 2 that were aborted after steps 9 and 49."""
    ended = [row("softmax", 0.1, seed, 0.5, initial_loss=1.0, num_steps=100, workload="toy") for seed in range(4)]
    ended.append(row("softmax", 0.1, 4, float("inf"), initial_loss=1.0, num_steps=100, workload="toy"))
    for seed, step in ((5, 9), (6, 49)):
        one = row("softmax", 0.1, seed, None, initial_loss=1.0, num_steps=100, workload="toy")
        ended.append(one | {"outcome": "aborted", "aborted_step": step})
    return frame(ended)


def test_steps_saved_and_runs_lost_by_hand():
    found = aborts(results(), {"detector": "max_logit", "source": "x", "thresholds": [BOARD]})
    assert found.columns == list(ABORT_COLUMNS)
    (one,) = found.to_dicts()
    assert (one["num_trials"], one["num_aborted"], one["num_missed"]) == (7, 2, 1)
    assert one["steps_saved"] == 90 + 50
    assert one["saved"] == 0.2
    assert one["lost"] == pytest.approx(1.0), "4 x 0.2 / 0.8"
    assert (one["lost_low"], one["lost_high"]) == (0, 2)
    assert "aborted 2 of 7 trials, which saved 140 steps; about 1.0 [0.0, 2.0]" in abort_sentence(found)
    assert "Largest logit" in abort_group(found).tables[0].heading


def test_without_aborted_runs_nothing_is_said():
    assert aborts(results(), None).is_empty()
    assert aborts(
        results().filter(outcome="completed"), {"detector": "loss", "source": "x", "thresholds": []}
    ).is_empty()
    assert abort_sentence(aborts(results(), None)) == ""


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
def test_the_interval_holds_the_number_that_was_lost(share):
    """30 stable and 10 failing runs, a detector of a known share of false alarms: at least 95% of 400 draws."""
    draw, board = (
        np.random.default_rng(0),
        {"false_alarms": share, "false_alarms_low": share, "false_alarms_high": share},
    )
    held = []
    for _ in range(400):
        lost = draw.binomial(30, share)
        found = lost_runs(lost + 10, 30 - lost, board)
        assert 0 <= found.low <= found.value <= found.high <= lost + 10
        held.append(found.low <= lost <= found.high)
    assert np.mean(held) >= 0.95


def test_where_no_run_completed_all_may_be_lost():
    found = lost_runs(5, 0, {"false_alarms": 0.1, "false_alarms_low": 0.0, "false_alarms_high": 0.7})
    assert (found.value, found.low, found.high) == (0.0, 0.0, 5.0)
