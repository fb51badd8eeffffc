import time

import finished_packs
import polars as pl
import pytest

from bench.errors import StoreError
from bench.tracking import Store, leaderboard_link, read_manifest, read_results, read_traces, suite_names


@pytest.fixture
def remote(tmp_path, server, warnings_seen) -> Store:
    return Store(tmp_path, server.uri, warn=warnings_seen.append)


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_server_gives_back_what_was_put(remote, server, open_tracker, capfd):
    finished = finished_packs.results(range(8))
    tracker = open_tracker(remote, "on a server")
    tracker.start("{}")
    tracker.put(finished, finished_packs.traces(finished))
    wait_until(lambda: not tracker.outbox.entries())
    tracker.log_page("# Board", {"figures/x.svg": "<svg/>"})
    tracker.finish("FINISHED")
    assert tracker.close() == 0
    assert read_manifest(remote, "on a server") == "{}"
    assert suite_names(remote) == ["on a server"]
    frame = read_results(remote, "on a server").sort("seed")
    assert frame.rows() == [tuple(one.row().values()) for one in finished]
    traces = read_traces(remote, "on a server", frame["trial_id"].to_list())
    assert read_traces(remote, "on a server", frame["trial_id"].to_list()).equals(traces)
    assert len(list((remote.home / "cache").iterdir())) == 8
    for one in finished:
        trace = traces.filter(pl.col("trial_id") == one.trial.id).drop("trial_id")
        assert trace.equals(finished_packs.trace(one.trial.seed))
    experiment = remote.experiment("on a server")
    assert experiment is not None
    (suite,) = remote.search(experiment.experiment_id, "tags.`bench.kind` = 'suite'")
    assert [file.path for file in remote.client().list_artifacts(suite.info.run_id, "figures")] == ["figures/x.svg"]
    assert leaderboard_link(remote, "on a server", server.uri).startswith(
        f"{server.uri}/#/experiments/{experiment.experiment_id}/runs?"
    )
    assert capfd.readouterr() == ("", "")


def test_results_wait_while_the_server_is_down(remote, server, open_tracker, warnings_seen, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    packs = [finished_packs.results(range(start, start + 3)) for start in (0, 3, 6)]
    tracker = open_tracker(remote, "outage")
    tracker.start("{}")
    tracker.put(packs[0], finished_packs.traces(packs[0]))
    wait_until(lambda: not tracker.outbox.entries())
    server.kill()
    tracker.put(packs[1], finished_packs.traces(packs[1]))
    wait_until(lambda: warnings_seen)
    assert tracker.close(timeout_s=5) == 1
    with pytest.raises(StoreError, match="can't be reached"):
        read_results(remote, "outage")
    assert len(warnings_seen) == 1
    assert "can't be reached" in warnings_seen[0]
    assert "1 finished packs wait" in warnings_seen[0]

    tracker = open_tracker(remote, "outage")
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
    frame = read_results(remote, "outage", undelivered=False).sort("seed")
    assert frame.rows() == [tuple(one.row().values()) for pack in packs for one in pack]
    assert len(warnings_seen) == 2
