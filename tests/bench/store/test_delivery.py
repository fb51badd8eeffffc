"""Delivery: what is put into the outbox is in MLflow once, whole and exact, whatever is killed meanwhile."""

import dataclasses
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from bench.outcome import RESULT_COLUMNS, Outcome
from bench.store import Store, read_results, records
from bench.store.curves import CURVE_POINTS
from bench.store.delivery import Writer
from tests.bench.store import finished_packs
from tests.bench.store.stored import assert_holds, put, rows, runs_by_kind

HOSTILE_NAMES = [
    'it\'s "quoted" `ticked`; DROP TABLE runs; --',
    "<script>alert(1)</script>",
    "ネットワーク 🏃 ñ",
    "a/b\\c%20?x=1#y&z={}",
    "line\nbreak\x00null\tend",
    "long " * 3000,
]

DELIVER = """
import sys
from pathlib import Path
from bench.store import Store, Tracker

tracker = Tracker(Store(Path(sys.argv[1]), warn=print), "suite")
tracker.finished()
print("ready", flush=True)
tracker.deliver()
"""


def everything(store: Store) -> tuple:
    """All that MLflow's database holds of the trials, without run ids."""
    trial = "join tags t on t.run_uuid = r.run_uuid and t.key = 'bench.trial_id' where r.lifecycle_stage = 'active'"
    return (
        rows(store, f"select t.value, status, name, start_time, end_time from runs r {trial} order by 1"),
        rows(
            store,
            "select t.value, m.key, m.step, m.timestamp, m.value from metrics m "
            f"join runs r on r.run_uuid = m.run_uuid {trial} order by 1, 2, 3, 4, 5",
        ),
        rows(
            store,
            "select t.value, p.key, p.value from params p "
            f"join runs r on r.run_uuid = p.run_uuid {trial} order by 1, 2, 3",
        ),
    )


def traces_of(store: Store) -> list[Path]:
    return list(store.artifacts.glob("*/artifacts/trace.parquet"))


def kill_before_the_transaction(store: Store, child: subprocess.Popen[bytes]) -> None:
    """SIGKILL while files of trials are written, before their rows: the process is stopped until one is seen."""
    while not traces_of(store):
        child.send_signal(signal.SIGCONT)
        time.sleep(0.002)
        assert child.poll() is None, "delivered before a file was seen: the test proves nothing"
        child.send_signal(signal.SIGSTOP)
    child.kill()
    child.communicate()
    assert rows(store, "select 1 from runs where name like '%seed=%'") == []


def test_delivered_results_come_back_exactly(store, open_tracker):
    finished = finished_packs.results(range(12))
    tracker = open_tracker(store)
    put(tracker, finished)
    assert tracker.deliver() == 0
    assert read_results(store, "suite").schema == {name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()}
    assert_holds(Store(store.home, warn=pytest.fail), finished)
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 12}


def test_delivering_twice_is_delivering_once(store, open_tracker):
    finished = finished_packs.results(range(6))
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.deliver()
    once = everything(store)
    put(tracker, finished)
    assert tracker.deliver() == 0
    tracker.close()
    tracker = open_tracker(store)
    put(tracker, finished)
    assert tracker.deliver() == 0
    assert everything(store) == once
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 6}


def test_killed_delivery_is_completed_without_loss_or_copies(store, open_tracker, fresh_database, tmp_path):
    finished = finished_packs.results(range(30))
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.close(timeout_s=0)
    assert len(tracker.outbox.entries()) == 1
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", DELIVER, str(store.home)], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        kill_before_the_transaction(store, child)
        assert len(tracker.outbox.entries()) == 1
        assert_holds(store, finished)
    tracker = open_tracker(store)
    assert tracker.finished() == {one.trial.id for one in finished}
    assert tracker.deliver() == 0
    assert_holds(store, finished)
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 30}
    assert len(traces_of(store)) == 30  # what the killed left was written over

    (tmp_path / "undisturbed").mkdir(mode=0o700)
    shutil.copy(fresh_database, tmp_path / "undisturbed" / "mlflow.db")
    undisturbed = Store(tmp_path / "undisturbed", warn=pytest.fail)
    other = open_tracker(undisturbed)
    put(other, finished)
    (entry,) = other.outbox.entries()
    text = (entry / "entry.json").read_text()
    created_ms = rows(store, "select max(end_time) from runs")[0][0]
    position = text.index('"created_ms":') + len('"created_ms":')
    (entry / "entry.json").write_text(text[:position] + str(created_ms) + text[text.index(",", position) :])
    other.deliver()
    assert everything(store) == everything(undisturbed)


def test_no_metric_is_non_finite(store, open_tracker):
    finished = [finished_packs.result(0), finished_packs.result(1, initial_loss=math.nan, final_loss=math.inf)]
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.deliver()
    metrics = rows(store, "select key, step, value, is_nan from metrics")
    assert all(abs(value) < 1e300 and not is_nan for _, _, value, is_nan in metrics)
    last_of_loss = rows(store, "select run_uuid, max(step) from metrics where key = 'loss' group by run_uuid")
    assert sorted(step for _, step in last_of_loss) == [finished_packs.NUM_STEPS - 3, finished_packs.NUM_STEPS - 1]
    frame = read_results(store, "suite").sort("seed")
    assert frame["final_loss"].to_list() == [math.inf, math.inf]
    assert math.isnan(frame["initial_loss"][1])


def test_losses_of_a_trial_are_tags_of_three_digits_and_metrics_of_all(store, open_tracker):
    finished = [
        finished_packs.result(1, initial_loss=0.5, final_loss=1 / 3),
        finished_packs.result(2, final_loss=123.0),
    ]
    diverged = finished_packs.result(3, outcome=Outcome.DIVERGED, initial_loss=1234.5, final_loss=math.inf)
    tracker = open_tracker(store)
    put(tracker, [*finished, diverged])
    tracker.deliver()
    query = "select r.name, t.key, t.value from tags t join runs r using (run_uuid) where t.key in {} order by 1, 2"
    tags = rows(store, query.format(records.LOSSES))
    assert [(key, value) for name, key, value in tags if name.endswith("seed=1")] == [
        ("Final loss", "0.333"),
        ("Loss at init", "0.500"),
    ]
    assert ("Final loss", "123") in [(key, value) for name, key, value in tags if name.endswith("seed=2")]
    assert [(key, value) for name, key, value in tags if name.endswith("seed=3")] == [("Loss at init", "1.23e+03")]
    assert (1 / 3,) in rows(store, "select value from metrics where key = 'final_loss'")


def test_curve_is_thin_and_averaged_over_layers(store, open_tracker):
    finished = [finished_packs.result(1)]
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.deliver()
    curves = rows(store, "select key, step, value from metrics order by step")
    steps = [step for key, step, _ in curves if key == "loss"]
    assert steps[0] == 0
    assert steps[-1] == finished_packs.NUM_STEPS - 1
    assert 15 <= len(steps) <= CURVE_POINTS
    assert {value for key, _, value in curves if key == "frobenius_norm"} == {1.5}


def test_points_of_a_curve_are_dated_by_their_step_and_numbers_by_the_end(store, open_tracker):
    finished = finished_packs.result(1)
    tracker = open_tracker(store)
    put(tracker, [finished])
    tracker.deliver()
    ((start, end),) = rows(store, "select start_time, end_time from runs where name like '%seed=1'")
    assert end - start == 1500  # wall_s
    curve = rows(store, "select step, timestamp from metrics where key = 'loss' order by step")
    assert [time for _, time in curve] == [start + 1500 * step // finished_packs.NUM_STEPS for step, _ in curve]
    assert rows(store, "select step, timestamp from metrics where key = 'final_loss'") == [
        (finished_packs.NUM_STEPS, end)
    ]


def test_lost_trial_is_kept_but_not_finished_and_a_result_replaces_it(store, open_tracker):
    lost = finished_packs.result(1, outcome=Outcome.CRASHED, initial_loss=None, final_loss=None, message="worker died")
    tracker = open_tracker(store)
    put(tracker, [lost])
    assert tracker.finished() == set()
    tracker.deliver()
    assert tracker.finished() == set()
    assert read_results(store, "suite")["outcome"].to_list() == ["crashed"]
    assert rows(store, "select status from runs where name like '%seed=1'") == [("FAILED",)]

    found = finished_packs.result(1)
    put(tracker, [found])
    assert_holds(store, [found])
    tracker.deliver()
    assert tracker.finished() == {found.trial.id}
    assert_holds(store, [found])
    put(tracker, [lost])
    assert_holds(store, [found])
    tracker.deliver()
    assert_holds(store, [found])
    assert runs_by_kind(store) == {"suite": 1, "method": 1, "trial": 1}


def test_newer_result_of_a_trial_replaces_the_older(store, open_tracker):
    tracker = open_tracker(store)
    newer = finished_packs.result(1, final_loss=0.5)
    for one in (finished_packs.result(1), newer):
        put(tracker, [one])
        tracker.deliver()
    assert_holds(store, [newer])
    assert runs_by_kind(store) == {"suite": 1, "method": 1, "trial": 1}


def test_what_trials_differ_in_is_the_method_and_what_has_two_values(store, open_tracker):
    tracker = open_tracker(store)
    put(tracker, [finished_packs.result(1), finished_packs.result(6)])
    tracker.deliver()
    writer = Writer(store, "suite", CURVE_POINTS)
    assert writer.varied_params() == ["method", "seed"]
    writer.close()
    put(tracker, [finished_packs.result(2)])
    tracker.deliver()
    writer.forget()
    assert writer.varied_params() == ["method", "lr", "seed"]
    writer.close()


def test_the_method_run_goes_with_the_last_of_its_trials(store, open_tracker):
    tracker = open_tracker(store)
    finished = finished_packs.results(range(1, 4))  # relu, softmax, relu
    put(tracker, finished)
    tracker.deliver()
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 3}
    tracker.remove({finished[0].trial.id, "of no trial"})
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 2}
    tracker.remove({finished[2].trial.id})
    assert runs_by_kind(store) == {"suite": 1, "method": 1, "trial": 1}
    assert_holds(store, [finished[1]])


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_survive(store, open_tracker, name):
    finished = [dataclasses.replace(finished_packs.result(1, method=name, workload=name), message=name)]
    suite_name = name[:200].replace("\x00", "")
    tracker = open_tracker(store, suite_name)
    put(tracker, finished)
    assert tracker.deliver() == 0
    assert read_results(Store(store.home, warn=pytest.fail), suite_name).rows() == [tuple(finished[0].row().values())]
    board = pl.DataFrame({"workload": [name], "method": [name], "optimizer": ["adam"], "rank": [1], "flags": [[name]]})
    tracker.log_leaderboard(board)
    assert runs_by_kind(store) == {"suite": 1, "method": 1, "trial": 1}


def test_background_delivers_what_is_put(store, open_tracker):
    finished = finished_packs.results(range(3))
    tracker = open_tracker(store)
    tracker.start("{}")
    for one in finished:
        put(tracker, [one])
    deadline = time.monotonic() + 30
    while tracker.outbox.entries():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert tracker.close() == 0
    assert_holds(store, finished)
