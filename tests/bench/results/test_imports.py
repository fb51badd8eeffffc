"""Imported runs in a real store: beside ours or alone, marked, replaced as a whole, untouched where nothing changed.

An import draws its page, which takes seconds: most tests are slow ones.
"""

import hashlib
import json
import sqlite3
from contextlib import closing

import polars as pl
import pytest

from analysis.report.folder import write_report
from analysis.scores.leaderboard import leaderboard
from bench.errors import UsageError
from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import read_tidy
from bench.results.named import compared_subject
from bench.results.verify import verify
from bench.store import (
    Store,
    Tracker,
    imported_trials,
    read_imports,
    read_manifest,
    read_results,
    read_runs,
    read_status,
    records,
)
from bench.store.outbox import Outbox
from bench.suite import Context, Suite
from tests.bench.results.imported_stores import (
    PLAIN_SUITE,
    imported_into,
    read,
    rows_of_database,
    runs,
    stored,
    sweep,
    train,
)

LABEL = "in_context_regression(num_steps=200)"


def test_runs_stand_in_a_suite_of_their_own(imported):
    store, path = imported
    alone = imported_runs(read_tidy(path), plain_reading("theirs")).frame
    found = read_results(store, "theirs").sort("trial_id")
    assert found.equals(alone.sort("trial_id"))
    board = read("theirs", store).board
    assert board.drop("flags").equals(leaderboard(alone).drop("flags"))
    assert all(flags.endswith("imported") for flags in board["flags"])
    assert read_status(store, "theirs")["state"] == "finished"
    assert set(imported_trials(store, "theirs").values()) == {"theirs"}
    assert read_imports(store, "theirs")["theirs"] == {
        "file": "theirs.csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "place": read_tidy(path).place,
        "sources": ["x 2025"],
        "num_runs": 8,
        "assumed": {
            "workload": "unknown",
            "optimizer": "unknown",
            "schedule": "unknown",
            "warmup_steps": 0.0,
            "weight_decay": 0.0,
            "grad_clip": "off",
            "init_scale": 1.0,
            "num_steps": "unknown",
        },
    }
    manifest = json.loads(read_manifest(store, "theirs") or "")
    assert manifest["imports"]["theirs"]["file"] == "theirs.csv"


def test_the_same_file_again_changes_nothing(imported):
    store, path = imported
    before = rows_of_database(store)
    again = imported_into(store, path)
    assert again.is_unchanged
    assert rows_of_database(store) == before
    assert again.subject.board.equals(read("theirs", store).board)


@pytest.mark.slow
def test_another_file_of_the_same_name_replaces_it_only_if_asked(imported, tmp_path):
    store, _ = imported
    corrected = sweep() | {("softmax", 0.1, 1): 3.25, ("softmax", 1.0, 0): 2.0}
    other = runs(tmp_path, corrected)
    with pytest.raises(UsageError, match=r"import 'theirs' holds 8 runs of another file of that name .* or --replace"):
        imported_into(store, other)
    done = imported_into(store, other, replaces=True)
    assert (done.num_new, done.num_replaced, done.num_removed) == (1, 1, 4)
    found = read_results(store, "theirs")
    assert {(row["method"], row["lr"], row["seed"]): row["final_loss"] for row in found.to_dicts()} == corrected
    methods = [run.tags["bench.method"] for run in read_runs(store, "theirs") if records.is_kind(run.tags, "method")]
    assert methods == ["softmax"]


@pytest.mark.slow
def test_a_killed_import_is_made_whole_by_the_next(store, tmp_path, monkeypatch):
    path = runs(tmp_path, sweep())

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "log_import", killed)
        with pytest.raises(KeyboardInterrupt):
            imported_into(store, path)
    assert not read_imports(store, "theirs")
    imported_into(store, path)
    assert set(read_imports(store, "theirs")) == {"theirs"}
    assert read_results(store, "theirs").height == 4
    assert not Outbox(store.outbox("theirs").folder, warn=pytest.fail).entries()


@pytest.mark.slow
def test_two_files_stand_side_by_side(store, tmp_path):
    for name in ("first", "second"):
        imported_into(store, runs(tmp_path, sweep(bump=len(name)), name=name), "board")
    methods = read("board", store).board["method"].to_list()
    assert sorted(methods) == ["softmax(imported=first)", "softmax(imported=second)"]
    done = imported_into(store, runs(tmp_path, sweep("mega"), name="first"), "board")
    assert sorted(done.subject.board["method"]) == ["mega(imported=first)", "softmax(imported=second)"]


@pytest.mark.slow
def test_a_suite_of_imports_is_none_of_ours(store, tmp_path, suite):
    train(store, suite)
    before = rows_of_database(store)
    with pytest.raises(UsageError, match=r"suite 'ours' has 8 trials of our own; required --suite with its file"):
        imported_into(store, runs(tmp_path, sweep()), "ours")
    with pytest.raises(UsageError, match=r"suite 'ours' has 8 trials of our own"):
        imported_into(store, runs(tmp_path, sweep(), name="ours"))
    assert rows_of_database(store) == before


@pytest.mark.slow
def test_runs_stand_beside_our_trials(store, tmp_path, suite):
    train(store, suite)
    ours = read(suite, store).board
    done = imported_into(store, runs(tmp_path, sweep()), suite)
    board = read(suite, store)
    assert done.subject.board.equals(board.board)
    assert sorted(board.board["method"]) == ["relu_kernel", "softmax", "softmax(imported=theirs)"]
    theirs = board.board["method"] == "softmax(imported=theirs)"
    assert board.board.filter(theirs)["flags"].str.ends_with("imported").all()
    assert not board.board.filter(~theirs)["flags"].str.contains("imported").any()
    assert board.board.filter(~theirs)["lr_sensitivity"].to_list() == ours["lr_sensitivity"].to_list()
    assert board.board["knobs"].to_list() == [""] * 3
    assert board.num_missing == 0
    assert {name: value for name, value in done.runs.assumed.items() if name != "grad_clip"} == {
        "workload": LABEL,
        "optimizer": "sgd",
        "schedule": "constant",
        "warmup_steps": 0.0,
        "weight_decay": 0.1,
        "init_scale": 1.0,
        "num_steps": 200,
    }
    assert read_status(store, "ours")["state"] == "finished"


@pytest.mark.slow
def test_verify_finds_nothing_wrong_with_imports_and_what_changed_them(store, tmp_path, suite):
    train(store, suite)
    imported_into(store, runs(tmp_path, sweep()), suite)
    checked = verify(stored(suite), store)
    assert (checked.findings, checked.num_runs, checked.num_results, checked.num_trials) == ((), 12, 8, 8)
    with closing(sqlite3.connect(store.database or "")) as connection:
        connection.execute("update latest_metrics set value = 9 where key = 'final_loss' and value = 1.001")
        connection.commit()
    assert "metric final_loss 9.0" in verify(stored(suite), Store(store.home, warn=pytest.fail)).findings[0].text


@pytest.mark.slow
def test_an_import_does_not_finish_a_suite_that_was_stopped(store, tmp_path, suite):
    imported_into(store, runs(tmp_path, sweep()), suite)
    assert read_status(store, "ours")["state"] == "killed"
    board = read(suite, store)
    assert (board.board.height, board.num_missing) == (1, 8)


@pytest.mark.slow
def test_a_suite_run_later_keeps_its_imports_apart(store, tmp_path, suite):
    imported_into(store, runs(tmp_path, sweep(), name="ours"), workload=LABEL)
    train(store, suite)
    methods = read(suite, store).board["method"].to_list()
    assert sorted(methods) == ["relu_kernel", "softmax", "softmax(imported=ours)"]


@pytest.mark.slow
def test_a_side_of_a_comparison_is_all_that_a_name_holds(store, tmp_path, suite):
    train(store, suite)
    imported_into(store, runs(tmp_path, sweep()), suite)
    side = compared_subject("ours", store, allow_code=False)
    assert sorted(side.results["method"].unique()) == ["relu_kernel", "softmax", "softmax(imported=theirs)"]
    assert "theirs" in side.plain_manifest["imports"]


def test_a_name_of_no_side(imported):
    with pytest.raises(UsageError, match=r"^other: no such file, folder or suite; .* or one of sqlite:.*: theirs$"):
        compared_subject("other", imported[0], allow_code=False)


def test_a_name_that_nothing_was_imported_under(store):
    with pytest.raises(UsageError, match=r"nothing was imported as 'theirs'"):
        read("theirs", store)


@pytest.mark.slow
def test_reports_show_imported_runs(store, tmp_path, suite):
    train(store, suite)
    imported_into(store, runs(tmp_path, sweep()), suite)
    write_report(read(suite, store), tmp_path / "beside")
    assert "softmax(imported=theirs)" in (tmp_path / "beside/leaderboard.csv").read_text()
    assert json.loads((tmp_path / "beside/manifest.json").read_text())["imports"]["theirs"]["num_runs"] == 4
    imported_into(store, runs(tmp_path, sweep("<b>") | {("<b>", 1.0, 0): float("inf")}, name="alone"))
    paths = write_report(read("alone", store), tmp_path / "alone")
    page = paths[0].read_text()
    assert "alone.csv" in page
    assert "<b></td>" not in page
    assert pl.read_csv(tmp_path / "alone/leaderboard.csv")["flags"].str.ends_with("imported").all()


def test_verify_finds_nothing_wrong_with_imports_alone_and_what_is_lost_of_them(imported):
    store, _ = imported
    checked = verify(stored("theirs"), store)
    assert (checked.findings, checked.num_runs, checked.num_results, checked.num_trials) == ((), 8, 8, 8)
    (lost, *_) = [run for run in read_runs(store, "theirs") if records.is_kind(run.tags, "trial")]
    store.client().delete_run(lost.run_id)
    found = verify(stored("theirs"), store).findings
    assert ("import theirs", "7 runs, but 8 were imported") in {(one.where, one.text) for one in found}
    assert all(one.is_wrong for one in found)


@pytest.mark.slow
def test_each_side_keeps_its_margin_of_what_blew_up(suite, store, tmp_path):
    wide = Suite.model_validate({**PLAIN_SUITE, "blown_up_margin": 20}, context=Context(allow_code=False))
    assert [trial.id for trial in wide.expand()] == [trial.id for trial in suite.expand()]
    train(store, wide)
    losses = sweep() | {("softmax", 0.1, 1): 50.0}
    board = imported_into(store, runs(tmp_path, losses), wide, blown_up_margin=0.5).subject.board
    shares = dict(board.select("method", "blown_up_share").iter_rows())
    assert shares == {"softmax": 0.0, "relu_kernel": 0.0, "softmax(imported=theirs)": 1 / 4}
    assert read(wide, store).board.equals(board)
    assert read_imports(store, "ours")["theirs"]["blown_up_margin"] == 0.5
    # Again without a margin of its own it has that of the suite, beyond which 50 does not lie.
    board = imported_into(store, runs(tmp_path, losses), wide).subject.board
    assert set(board["blown_up_share"]) == {0.0}


def test_a_file_named_like_a_shipped_suite_is_refused_and_nothing_is_stored(tmp_path):
    """Its board would be the suite's, which says that no trial has a result."""
    file = tmp_path / "quickstart.csv"
    file.write_text("method,lr,seed,final_loss,initial_loss\na,0.1,0,1,2\n")
    store = Store(tmp_path / "home", warn=print)
    with pytest.raises(UsageError, match="quickstart is a shipped suite"):
        imported_into(store, file)
    assert not (tmp_path / "home").exists()
