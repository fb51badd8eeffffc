"""What every kind of store does: SQLite and Postgres, files and S3, a server with authentication."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import polars as pl
import pytest

from bench.errors import StoreError
from bench.outcome import Outcome
from bench.results.stored import Stored
from bench.results.verify import verify
from bench.store import Store, read_manifest, read_results, read_traces, suite_names, view_link
from tests.bench.store import finished_packs
from tests.bench.store.servers import AWS_SECRET, PASSWORD

HOSTILE_NAME = (
    'it\'s "quoted" `ticked`; DROP TABLE runs; -- <script>alert(1)</script> ネットワーク 🏃 a/b\\c%20?x=1\nz\x00'
)
ARTIFACTS = {"sqlite": "file:///", "postgres": "file:///", "postgres and s3": "s3://", "server": "mlflow-artifacts:/"}
DELIVER = """
import sys
from pathlib import Path
from bench.store import Store, Tracker

tracker = Tracker(Store(Path(sys.argv[1]), sys.argv[2], warn=print), sys.argv[3])
tracker.finished()
print("ready", flush=True)
tracker.deliver()
"""


@pytest.fixture
def suite() -> str:
    """A name of its own: tests share the server."""
    return f"suite {uuid.uuid4().hex[:8]}"


def fresh(store: Store) -> Store:
    """The store as another process sees it."""
    return Store(store.home, store.uri, warn=pytest.fail)


def put(tracker, finished) -> None:
    tracker.put(finished, finished_packs.traces(finished))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_holds(store: Store, suite: str, finished) -> None:
    """The store, without the outbox, gives back exactly these results and their traces."""
    frame = read_results(store, suite, undelivered=False)
    expected = pl.DataFrame([one.row() for one in finished], schema=frame.schema)
    assert frame.sort("trial_id").rows() == expected.sort("trial_id").rows()
    traces = read_traces(store, suite, frame["trial_id"].to_list())
    for one in finished:
        trace = traces.filter(pl.col("trial_id") == one.trial.id).drop("trial_id")
        assert trace.equals(finished_packs.trace(one.trial.seed))


def everything(store: Store, suite: str) -> list:
    """What MLflow holds of the suite's runs, without run ids."""
    experiment = store.experiment(suite)
    assert experiment is not None
    held = []
    for run in store.runs(experiment):
        points = [
            (point.key, point.step, point.timestamp, point.value)
            for key in sorted(run.metrics)
            for point in store.client().get_metric_history(run.run_id, key)
        ]
        tags = {name: value for name, value in run.tags.items() if name != "mlflow.parentRunId"}
        held.append((run.name, run.status, run.start_ms, run.end_ms, tags, run.params, sorted(points)))
    return sorted(held, key=str)


def test_what_is_put_comes_back(request, any_store, suite, open_tracker, warnings_seen, capfd):
    finished = finished_packs.results(range(6))
    tracker = open_tracker(any_store, suite)
    tracker.start('{"a": "manifest"}')
    put(tracker, finished)
    board = {"workload": "regression", "optimizer": "adam", "flags": "", "lr_sensitivity": 0.25}
    tracker.deliver()
    tracker.log_leaderboard(pl.DataFrame([{**board, "method": "softmax"}]))
    tracker.log_page("# Board", {"figures/x.svg": "<svg/>"})
    tracker.finish("FINISHED")
    assert tracker.close() == 0
    again = fresh(any_store)
    assert_holds(again, suite, finished)
    assert read_manifest(again, suite) == '{"a": "manifest"}'
    assert suite in suite_names(again)
    experiment = again.experiment(suite)
    assert experiment is not None
    assert experiment.artifact_location.startswith(ARTIFACTS[request.node.callspec.params["any_store"]])
    by_kind = {run.tags["bench.kind"]: run for run in again.runs(experiment)}
    assert by_kind["suite"].status == "FINISHED"
    assert "# Board" in by_kind["suite"].tags["mlflow.note.content"]
    files = again.client().list_artifacts(by_kind["suite"].run_id, "figures")
    assert [file.path for file in files] == ["figures/x.svg"]
    lines = again.client().search_runs([experiment.experiment_id], "metrics.lr_sensitivity < 1")
    assert [run.data.tags["bench.method"] for run in lines] == ["softmax"]
    assert f"/#/experiments/{experiment.experiment_id}/runs?" in view_link(again, suite, "http://x")
    assert warnings_seen == []
    assert capfd.readouterr() == ("", "")


def test_delivering_twice_is_delivering_once(any_store, suite, open_tracker):
    finished = finished_packs.results(range(3))
    tracker = open_tracker(any_store, suite)
    put(tracker, finished)
    tracker.deliver()
    once = everything(any_store, suite)
    put(tracker, finished)
    assert tracker.deliver() == 0
    tracker.close()
    tracker = open_tracker(fresh(any_store), suite)
    put(tracker, finished)
    assert tracker.deliver() == 0
    assert everything(any_store, suite) == once


def test_results_replace_lost_trials_and_older_results(any_store, suite, open_tracker):
    lost = finished_packs.result(1, outcome=Outcome.CRASHED, initial_loss=None, final_loss=None, message="worker died")
    older, newer = finished_packs.result(1), finished_packs.result(1, final_loss=0.5)
    tracker = open_tracker(any_store, suite)
    for put_now, holds in ((lost, lost), (older, older), (lost, older), (newer, newer)):
        put(tracker, [put_now])
        tracker.deliver()
        assert_holds(any_store, suite, [holds])
        assert tracker.finished() == ({holds.trial.id} if holds.outcome.is_result else set())


def test_hostile_names_and_numbers_come_back(any_store, suite, open_tracker):
    suite += HOSTILE_NAME.replace("\x00", "")
    awkward = finished_packs.result(1, method=HOSTILE_NAME, workload=HOSTILE_NAME * 100, initial_loss=math.nan)
    tracker = open_tracker(any_store, suite)
    put(tracker, [awkward])
    assert tracker.deliver() == 0
    (row,) = read_results(fresh(any_store), suite).iter_rows(named=True)
    expected = awkward.row()
    assert math.isnan(row.pop("initial_loss"))
    assert math.isnan(expected.pop("initial_loss"))
    assert row == expected


def test_no_secret_is_kept_or_said(any_store, suite, open_tracker, warnings_seen, postgres, tmp_path):
    tracker = open_tracker(any_store, suite)
    tracker.start("{}")
    put(tracker, finished_packs.results(range(2)))
    tracker.log_page("# Board", {"x.txt": "x"})
    tracker.finish("FINISHED")
    tracker.close()
    experiment = any_store.experiment(suite)
    assert experiment is not None
    said = [any_store.shown_uri, *warnings_seen, str(experiment), str(everything(any_store, suite))]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (PASSWORD, AWS_SECRET, postgres.password):
        assert secret not in json.dumps(said, ensure_ascii=False)
        assert not any(secret.encode() in content for content in files)


def test_wrong_password_is_one_line_without_it(any_store, suite, monkeypatch, tmp_path):
    if any_store.database is not None:
        pytest.skip("files have no password")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "forgotten secret")
    uri = any_store.uri.replace("p%40ss", "forgotten%20secret")
    with pytest.raises(StoreError, match="authenticat") as caught:
        read_results(Store(tmp_path, uri, warn=pytest.fail), suite)
    assert "\n" not in str(caught.value)
    assert "forgotten" not in str(caught.value)


def test_artifacts_that_are_gone_are_one_line(any_store, suite, open_tracker):
    tracker = open_tracker(any_store, suite)
    finished = [finished_packs.result(1)]
    put(tracker, finished)
    tracker.deliver()
    experiment = any_store.experiment(suite)
    assert experiment is not None
    (run,) = any_store.runs(experiment, "trial")
    repository = any_store.artifact_repository(experiment)
    repository.delete_artifacts(f"{run.run_id}/artifacts/trace.parquet")
    told: list[str] = []
    try:
        read_traces(Store(any_store.home, any_store.uri, warn=told.append), suite, [finished[0].trial.id])
    except StoreError as error:  # of a server: what it answers may pass, so the trace is not given up
        told.append(str(error))
    (line,) = told
    assert "\n" not in line


def test_every_kind_of_store_verifies_and_shows_a_changed_trace(any_store, open_tracker):
    suite = finished_packs.suite(f"verify-{uuid.uuid4().hex[:8]}")
    finished_packs.deliver_suite(open_tracker(any_store, suite.name), any_store, suite)
    checked = verify(Stored.of(suite), any_store)
    assert checked.findings == ()
    assert (checked.num_trials, checked.num_results, checked.num_runs, checked.num_traces) == (12, 12, 12, 12)
    assert (checked.num_unsigned, checked.num_waiting) == (0, 0)
    experiment = any_store.experiment(suite.name)
    assert experiment is not None
    run = any_store.runs(experiment, "trial")[0]
    path = any_store.home / "trace.parquet"
    finished_packs.trace(99).write_parquet(path)
    any_store.artifact_repository(experiment).log_artifact(str(path), f"{run.run_id}/artifacts")
    (finding,) = verify(Stored.of(suite), any_store).findings
    assert run.run_id in finding.where
    assert "when it was delivered" in finding.text


@pytest.mark.stores
def test_results_wait_while_the_server_is_down(server_store, server, open_tracker, warnings_seen, monkeypatch, suite):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    packs = [finished_packs.results(range(start, start + 3)) for start in (0, 3, 6)]
    tracker = open_tracker(server_store, suite)
    tracker.start("{}")
    tracker.put(packs[0], finished_packs.traces(packs[0]))
    wait_until(lambda: not tracker.outbox.entries())
    server.kill()
    tracker.put(packs[1], finished_packs.traces(packs[1]))
    wait_until(lambda: warnings_seen)
    assert tracker.close(timeout_s=5) == 1
    with pytest.raises(StoreError, match="can't be reached"):
        read_results(server_store, suite)
    assert len(warnings_seen) == 1
    assert "can't be reached" in warnings_seen[0]
    assert "1 finished packs wait" in warnings_seen[0]

    tracker = open_tracker(server_store, suite)
    tracker.start("{}")
    tracker.put(packs[2], finished_packs.traces(packs[2]))
    with pytest.raises(StoreError, match="can't be reached"):
        tracker.finished()
    wait_until(lambda: len(warnings_seen) == 2)
    assert len(tracker.outbox.entries()) == 2
    server.start()
    wait_until(lambda: not tracker.outbox.entries())
    assert tracker.finished() == {one.trial.id for pack in packs for one in pack}
    assert tracker.close() == 0
    frame = read_results(server_store, suite, undelivered=False).sort("seed")
    assert frame.rows() == [tuple(one.row().values()) for pack in packs for one in pack]
    assert len(warnings_seen) == 2


@pytest.mark.slow
def test_killed_delivery_is_completed(any_store, suite, open_tracker):
    finished = finished_packs.results(range(60))
    tracker = open_tracker(any_store, suite)
    put(tracker, finished)
    tracker.close(timeout_s=0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    held = []  # statuses of trials' runs after each kill
    for wait_s in (0.1, 0.3, 0.6):
        command = [sys.executable, "-c", DELIVER, str(any_store.home), any_store.uri, suite]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        experiment = any_store.experiment(suite)
        assert experiment is not None
        held.append([run.status for run in any_store.runs(experiment, "trial")])
    if any_store.is_remote:
        assert any("RUNNING" in statuses for statuses in held), "no kill hit a trial's run: the test proves nothing"
    else:
        assert [] in held, "no kill came before the transaction: the test proves nothing"
        assert all(statuses in ([], ["FINISHED"] * 60) for statuses in held)
    tracker = open_tracker(any_store, suite)
    assert tracker.deliver() == 0
    assert_holds(any_store, suite, finished)
    kinds = [tags["bench.kind"] for _, _, _, _, tags, _, _ in everything(any_store, suite)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"suite": 1, "method": 2, "trial": 60}
