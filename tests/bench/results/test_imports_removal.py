"""Imports that are removed leave nothing, and everything else as it was."""

import json

import pytest

from bench.errors import UsageError
from bench.results.imports_removal import remove_imports
from bench.results.verify import verify
from bench.store import (
    Store,
    Tracker,
    imported_trials,
    read_import,
    read_imports,
    read_manifest,
    read_runs,
    read_status,
    records,
)
from tests.bench.results.imported_stores import imported_into, read, rows_of_database, runs, stored, sweep, train


def test_an_import_that_is_removed_leaves_nothing_and_can_come_again(imported):
    store, path = imported
    assert remove_imports(store, "theirs", beside=None) == {"theirs": 8}
    assert read_runs(store, "theirs") == []
    assert (read_imports(store, "theirs"), imported_trials(store, "theirs"), read_status(store, "theirs")) == (
        {}, {}, {"state": "waiting"},
    )  # fmt: skip
    before = rows_of_database(store)
    with pytest.raises(UsageError, match=r"sqlite:.*: nothing was imported as 'theirs'$"):
        remove_imports(store, "theirs", beside=None)
    assert rows_of_database(store) == before
    assert read_import(store, "theirs", "theirs") == {}
    assert path.is_file()


def test_a_removal_that_was_killed_is_ended_by_the_next(imported, monkeypatch):
    store, _ = imported

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "forget_import", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_imports(store, "theirs", beside=None)
    assert not imported_trials(store, "theirs")
    assert remove_imports(store, "theirs", beside=None) == {"theirs": 0}
    assert not read_imports(store, "theirs")


def test_what_was_never_imported_is_named_with_what_was(imported):
    store, _ = imported
    before = rows_of_database(store)
    with pytest.raises(UsageError, match=r"nothing was imported as 'thiers'; there are theirs$"):
        remove_imports(store, "thiers", beside=None)
    with pytest.raises(UsageError, match=r"no import 'mine' in suite 'theirs'; there are theirs$"):
        remove_imports(store, "mine", beside=stored("theirs"))
    assert rows_of_database(store) == before


@pytest.mark.slow
def test_one_import_of_a_suite_is_removed_and_the_other_stays(store, tmp_path):
    for name in ("first", "second"):
        imported_into(store, runs(tmp_path, sweep(), name=name), "board")
    with pytest.raises(UsageError, match=r"suite 'board' has an import of that name, which --suite board removes"):
        remove_imports(store, "first", beside=None)
    assert remove_imports(store, "first", beside=stored("board")) == {"first": 4}
    assert read("board", store).board["method"].to_list() == ["softmax(imported=second)"]
    assert set(json.loads(read_manifest(store, "board") or "")["imports"]) == set(read_imports(store, "board"))
    assert set(read_imports(store, "board")) == {"second"}
    assert verify(stored("board"), store).findings == ()
    labels = [run.tags["bench.method"] for run in read_runs(store, "board") if records.is_kind(run.tags, "method")]
    assert labels == ["softmax(imported=second)"]


@pytest.mark.slow
def test_removing_what_stands_beside_our_trials_leaves_ours_as_they_were(store, tmp_path, suite):
    train(store, suite)
    before, ours = read(suite, store), trial_runs(store)
    for name in ("first", "second"):
        imported_into(store, runs(tmp_path, sweep(), name=name), suite)
    with pytest.raises(UsageError, match=r"^ours: .* has 8 trials of this suite that were trained here; required its"):
        remove_imports(store, "ours", beside=None)
    assert remove_imports(store, "first", beside=stored(suite)) == {"first": 4}
    assert remove_imports(store, "second", beside=stored(suite)) == {"second": 4}
    assert trial_runs(store) == ours
    board = read(suite, store)
    assert board.board.equals(before.board)
    assert board.results.sort("trial_id").equals(before.results.sort("trial_id"))
    assert verify(stored(suite), store).findings == ()
    assert "imports" not in json.loads(read_manifest(store, "ours") or "{}")
    assert read_status(store, "ours")["state"] == "finished"


def trial_runs(store: Store) -> set[str]:
    """Ids of the runs of trials in the suite 'ours'."""
    return {run.run_id for run in read_runs(store, "ours") if records.is_kind(run.tags, "trial")}
