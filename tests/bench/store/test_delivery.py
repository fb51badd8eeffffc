import contextlib
import dataclasses
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from bench.store import Store, read_manifest, read_results, read_traces, suite_names
from bench.store.ui import VIEW_TAG
from bench.trial import RESULT_COLUMNS, Outcome
from tests.bench.store import finished_packs

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


def put(tracker, finished) -> None:
    tracker.put(finished, finished_packs.traces(finished))


def rows(store: Store, query: str) -> list[tuple]:
    assert store.database is not None
    with contextlib.closing(sqlite3.connect(store.database)) as connection:
        return connection.execute(query).fetchall()


def runs_by_kind(store: Store) -> dict[str, int]:
    kinds = "select value, count(*) from tags join runs using (run_uuid) where key = 'bench.kind'"
    return dict(rows(store, f"{kinds} and lifecycle_stage = 'active' group by value"))


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


def assert_holds(store: Store, finished) -> None:
    """The store gives back exactly these results and their traces."""
    frame = read_results(store, "suite")
    expected = pl.DataFrame([one.row() for one in finished], schema=frame.schema)
    assert frame.sort("trial_id").rows() == expected.sort("trial_id").rows()
    traces = read_traces(store, "suite", frame["trial_id"].to_list())
    assert set(traces["trial_id"]) == set(frame["trial_id"])
    for one in finished:
        trace = traces.filter(pl.col("trial_id") == one.trial.id).drop("trial_id")
        assert trace.equals(finished_packs.trace(one.trial.seed))


def test_delivered_results_come_back_exactly(store, open_tracker):
    finished = finished_packs.results(range(12))
    tracker = open_tracker(store)
    put(tracker, finished)
    assert tracker.deliver() == 0
    assert read_results(store, "suite").schema == {name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()}
    assert_holds(Store(store.home, warn=pytest.fail), finished)
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 12}


def test_results_can_be_read_before_delivery(store, open_tracker):
    first, second = finished_packs.results(range(4)), finished_packs.results(range(4, 8))
    tracker = open_tracker(store)
    put(tracker, first)
    tracker.deliver()
    put(tracker, second)
    assert_holds(store, first + second)
    assert read_results(store, "suite", undelivered=False).height == 4
    assert tracker.finished() == {one.trial.id for one in first + second}


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
    chance = random.Random(0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    num_open = 0
    for kill in range(8):  # until one of them hit an open run
        if num_open:
            break
        child = subprocess.Popen(
            [sys.executable, "-c", DELIVER, str(store.home)], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.05, 0.3) + 0.05 * kill)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        num_open += len(rows(store, "select 1 from runs where status = 'RUNNING' and name like '%seed=%'"))
        assert len(tracker.outbox.entries()) == 1
        assert_holds(store, finished)
    assert num_open > 0, "no kill hit a trial's run: the test proves nothing"
    tracker = open_tracker(store)
    assert tracker.finished() == {one.trial.id for one in finished}
    assert tracker.deliver() == 0
    assert_holds(store, finished)
    assert runs_by_kind(store) == {"suite": 1, "method": 2, "trial": 30}

    (tmp_path / "undisturbed").mkdir()
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


def test_curve_is_thin_and_averaged_over_layers(store, open_tracker):
    finished = [finished_packs.result(1)]
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.deliver()
    curves = rows(store, "select key, step, value from metrics order by step")
    steps = [step for key, step, _ in curves if key == "loss"]
    assert steps[0] == 0
    assert steps[-1] == finished_packs.NUM_STEPS - 1
    assert 15 <= len(steps) <= 40
    assert {value for key, _, value in curves if key == "frobenius_norm"} == {1.5}


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


def test_leaderboard_numbers_are_on_the_method_runs(store, open_tracker):
    tracker = open_tracker(store)
    put(tracker, finished_packs.results(range(4)))
    tracker.deliver()
    board = pl.DataFrame(
        {
            "rank": [1, 2],
            "workload": ["regression"] * 2,
            "method": ["softmax", "relu"],
            "optimizer": ["adam"] * 2,
            "lr_sensitivity": [0.25, 0.5],
            "best_loss": [0.1, math.inf],
            "best_lr": pl.Series([0.01, None], dtype=pl.Float64),
            "val_loss": pl.Series([None, None], dtype=pl.Float64),
            "flags": [["few seeds", "edge"], []],
        },
        strict=False,
    )
    tracker.log_leaderboard(board)
    experiment = store.experiment("suite")
    assert experiment is not None
    runs = store.client().search_runs(
        [experiment.experiment_id], "tags.`bench.kind` = 'method'", order_by=["metrics.lr_sensitivity ASC"]
    )
    assert [run.data.tags["bench.method"] for run in runs] == ["softmax", "relu"]
    assert runs[0].data.metrics == {"rank": 1, "lr_sensitivity": 0.25, "best_loss": 0.1, "best_lr": 0.01}
    assert runs[1].data.metrics == {"rank": 2, "lr_sensitivity": 0.5}
    assert [run.data.tags["flags"] for run in runs] == ["few seeds, edge", ""]

    assert "val_loss" not in store.client().get_experiment(experiment.experiment_id).tags[VIEW_TAG]

    tracker.log_leaderboard(board.with_columns(lr_sensitivity=pl.lit(None, pl.Float64)))
    again = store.client().get_run(runs[0].info.run_id)
    assert math.isnan(again.data.metrics["lr_sensitivity"])
    assert again.data.metrics["best_loss"] == 0.1


def test_page_and_start_are_on_the_suite_run(store, open_tracker, tmp_path):
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    tracker = open_tracker(store)
    tracker.finished()
    tracker.start("{}")
    tracker.log_page("# Results\n" + "a line\n" * 2000, {"leaderboard.md": "| ñ |", "figures/loss.svg": figure})
    tracker.finish("FINISHED")
    tracker.close()
    experiment = store.experiment("suite")
    assert experiment is not None
    (run,) = store.search(experiment.experiment_id, "tags.`bench.kind` = 'suite'")
    assert run.info.status == "FINISHED"
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("# Results\na line\n")
    assert note.endswith("a line\n\n…")
    assert len(note) <= 8000
    folder = store.run_folder(experiment, run.info.run_id)
    assert folder is not None
    assert (folder / "figures/loss.svg").read_text() == "<svg/>"
    assert (folder / "leaderboard.md").read_text() == "| ñ |"
    assert [path.read_text() for path in folder.glob("starts/*.json")] == ["{}"]
    with pytest.raises(ValueError, match="below"):
        open_tracker(store).log_page("", {"../outside": "x"})


def test_runs_are_found_by_the_tags_of_their_start(store, open_tracker):
    tracker = open_tracker(store)
    put(tracker, finished_packs.results(range(4)))
    tracker.deliver()
    tracker.tag({"bench.version": "0.1.0", "bench.date": "2026-11-23T00:00:00Z"})
    experiment = store.experiment("suite")
    assert experiment is not None
    condition = "tags.`bench.version` = '0.1.0' and tags.`bench.date` LIKE '2026-11-%'"
    found = {run.info.run_id: run.data.tags for run in store.search(experiment.experiment_id, condition)}
    assert sorted(tags["bench.kind"] for tags in found.values()) == ["method", "method", "suite"]
    (suite,) = [tags for tags in found.values() if tags["bench.kind"] == "suite"]
    assert (suite["bench.method"], suite["bench.optimizer"]) == ("relu, softmax", "adam")
    assert store.search(experiment.experiment_id, "tags.`bench.version` = '0.2.0'") == []


def test_note_ends_with_links_to_pages(store, open_tracker):
    tracker = open_tracker(store)
    tracker.log_page("a line\n" * 2000, {"a b.html": "<p>", "x.csv": "1"})
    experiment = store.experiment("suite")
    assert experiment is not None
    (run,) = store.search(experiment.experiment_id)
    note, run_id = run.data.tags["mlflow.note.content"], run.info.run_id
    address = f"#/experiments/1/runs/{run_id}/artifacts/a%20b.html?workflowType=machine_learning"
    assert note.endswith(f"a line\n\n…\n\nPages under Artifacts: [a b.html]({address})\n")
    assert len(note) <= 8000


def test_suite_run_is_running_again_after_a_new_start(store, open_tracker):
    tracker = open_tracker(store)
    tracker.finished()
    tracker.finish("FINISHED")
    tracker.close()
    tracker = open_tracker(store)
    tracker.finished()
    tracker.start("{}")
    deadline = time.monotonic() + 30
    while rows(store, "select status from runs") != [("RUNNING",)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_moved_home_is_read_all_the_same(store, open_tracker, tmp_path):
    finished = finished_packs.results(range(4))
    tracker = open_tracker(store)
    put(tracker, finished[:2])
    tracker.deliver()
    put(tracker, finished[2:])
    tracker.close(timeout_s=0)
    moved = tmp_path / "moved"
    store.home.rename(moved)
    store = Store(moved, warn=pytest.fail)
    assert_holds(store, finished)
    assert open_tracker(store).deliver() == 0
    assert_holds(store, finished)
    assert not (tmp_path / "a home").exists()


def test_newest_manifest_and_names_of_suites_are_found(store, open_tracker, tmp_path):
    assert suite_names(store) == []
    assert read_manifest(store, "suite") is None
    for manifest in ('{"start": 1}', '{"start": 2}'):
        tracker = open_tracker(store)
        tracker.start(manifest)
        tracker.finish("FINISHED")
        tracker.close()
    assert rows(store, "select status from runs") == [("FINISHED",)]
    assert suite_names(store) == ["suite"]
    assert read_manifest(store, "suite") == '{"start": 2}'
    store.home.rename(tmp_path / "moved")
    assert read_manifest(Store(tmp_path / "moved", warn=pytest.fail), "suite") == '{"start": 2}'


def test_traces_of_chosen_quantities(store, open_tracker):
    finished = finished_packs.results(range(3))
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.deliver()
    chosen = read_traces(store, "suite", [finished[1].trial.id, "unknown"], ["loss"])
    assert chosen["trial_id"].unique().to_list() == [finished[1].trial.id]
    assert chosen.drop("trial_id").equals(finished_packs.trace(1).filter(pl.col("quantity") == "loss"))


def test_trial_without_trace_has_no_rows(store, open_tracker):
    tracker = open_tracker(store)
    tracker.put(finished_packs.results([1]), {})
    tracker.deliver()
    assert read_traces(store, "suite", read_results(store, "suite")["trial_id"].to_list()).height == 0


def test_unknown_suite_has_no_results(store):
    assert read_results(store, "never run").height == 0
    assert Path(store.artifacts).exists() is False
