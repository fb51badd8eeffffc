"""Reading a store: before and after delivery, moved elsewhere, by quantity, and where nothing is."""

from pathlib import Path

import polars as pl
import pytest

from bench.store import Store, read_manifest, read_results, read_traces, suite_names
from tests.bench.store import finished_packs
from tests.bench.store.stored import assert_holds, put, rows


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


def test_results_can_be_read_before_delivery(store, open_tracker):
    first, second = finished_packs.results(range(4)), finished_packs.results(range(4, 8))
    tracker = open_tracker(store)
    put(tracker, first)
    tracker.deliver()
    put(tracker, second)
    assert_holds(store, first + second)
    assert read_results(store, "suite", undelivered=False).height == 4
    assert tracker.finished() == {one.trial.id for one in first + second}


@pytest.mark.parametrize("broken", [Path.unlink, lambda path: path.write_bytes(b"no Parquet")])
def test_traces_that_are_gone_or_broken_are_said_and_the_others_read(store, open_tracker, broken):
    finished = finished_packs.results(range(3))
    tracker = open_tracker(store)
    put(tracker, finished)
    tracker.deliver()
    ids = [result.trial.id for result in finished]
    paths = sorted(store.home.rglob("*.parquet"))
    assert len(paths) == 3
    broken(paths[0])
    warnings: list[str] = []
    found = read_traces(Store(store.home, warn=warnings.append), "suite", ids)
    assert found["trial_id"].n_unique() == 2
    (warning,) = warnings
    assert warning.startswith("1 of 3 traces left out that can't be read (trial ")
