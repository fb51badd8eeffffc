"""How the trials of each method stand while a suite trains."""

import math
import time

from bench.cluster.retries import Part
from bench.cluster.schedule import Progress
from bench.cluster.standings import Standings
from bench.driver.live import LiveNumbers
from bench.outcome import Outcome, Result
from bench.store.status import live_points
from bench.training.pack import Pack
from tests.trials import trial

TRIALS = tuple(trial(seed=seed) for seed in range(4))
PART = Part.whole(Pack(trials=TRIALS))
NAN = math.nan


def result(number: int, loss: float) -> Result:
    outcome, step = (Outcome.COMPLETED, None) if math.isfinite(loss) else (Outcome.DIVERGED, 3)
    return Result(
        trial=TRIALS[number], outcome=outcome, initial_loss=2.0, final_loss=loss, diverged_step=step, wall_s=1.0
    )


def reported() -> Standings:
    standings = Standings()
    rows = [(1.0, 0.5), (3.0, 0.25), (NAN, 0.125), (8.0, NAN)]
    standings.report(PART, {one.id: row for one, row in zip(TRIALS, rows, strict=True)})
    return standings


def test_trials_in_training_have_losses_and_entropies_where_they_are_measured():
    assert reported().by_method() == {
        "softmax": {"trials_done": 0, "median_loss": 3.0, "worst_loss": 8.0, "least_entropy": 0.125}
    }


def test_trials_that_ended_have_final_losses_and_a_share_that_diverged():
    standings = reported()
    standings.end(PART, [result(0, 1.5), result(1, 2.5), result(2, math.inf), result(3, math.inf)])
    assert standings.by_method() == {
        "softmax": {
            "trials_done": 4, "median_loss": 2.0, "worst_loss": 2.5, "least_entropy": 0.125, "diverged_share": 0.5
        }
    }  # fmt: skip


def test_a_part_that_failed_counts_no_more():
    standings = reported()
    standings.end(PART, ())
    assert standings.by_method() == {}


def test_numbers_are_taken_now_and_then_and_once_more_at_the_end():
    progress = Progress(total=4, standings=reported(), started=time.monotonic() - 2.0)
    live = LiveNumbers()
    first = live.numbers(progress)
    assert first["median_loss/softmax"] == 3.0
    assert first["progress/trials_done"] == 0
    assert live.numbers(progress) == {}
    progress.standings.end(PART, [result(number, 1.0) for number in range(4)])
    progress.completed = 4
    assert live.numbers(progress)["progress/trials_per_second"] > 1


def test_a_label_becomes_a_name_that_mlflow_takes():
    (point,) = live_points({"median_loss/window_softmax(width=4)": 1.0}, time.time() - 5.5)
    assert (point.name, point.step) == ("median_loss/window_softmax_width_4_", 5)
