"""Imported runs in a real store: beside ours or alone, marked, replaced as a whole, untouched where nothing changed.

An import draws its page, which takes seconds: most tests are slow ones.
"""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from analysis.imports.runs import imported_runs, plain_reading
from analysis.imports.tidy_file import read_tidy
from analysis.report.folder import write_report
from analysis.scores.leaderboard import leaderboard
from analysis.subject import Subject
from bench.errors import UsageError
from bench.results.imports import Imported, import_runs
from bench.results.imports_removal import remove_imports
from bench.results.publish import publish
from bench.results.stored import Stored
from bench.results.subjects import compared_subject, read_grid
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
from bench.trial import Outcome, Result

LABEL = "in_context_regression(num_steps=200)"
PLAIN_SUITE = {
    "name": "ours",
    "workloads": [{"name": "in_context_regression", "num_steps": 200}],
    "methods": ["softmax", "relu_kernel"],
    "optimizers": ["sgd"],
    "knobs": {"lr": [1e-3, 0.1], "weight_decay": 0.1},
    "seeds": 2,
    "probe_every": 20,
}


@pytest.fixture
def suite() -> Suite:
    return Suite.model_validate(PLAIN_SUITE, context=Context(allow_code=False))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("empty")
    Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail).create()
    return home / "mlflow.db"


@pytest.fixture
def store(tmp_path, empty_database, monkeypatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
    (tmp_path / "home").mkdir()
    shutil.copy(empty_database, tmp_path / "home/mlflow.db")
    return Store(tmp_path / "home", warn=pytest.fail)


def runs(folder: Path, losses: dict[tuple[str, float, int], float], *, name: str = "theirs", extra: str = "") -> Path:
    path = folder / f"{name}.csv"
    lines = [f"{method},{lr},{seed},{loss},4.0{extra and ',x 2025'}" for (method, lr, seed), loss in losses.items()]
    path.write_text("\n".join([f"method,lr,seed,loss,initial_loss{extra and ',source'}", *lines]) + "\n")
    return path


def sweep(method: str = "softmax", bump: float = 0.0) -> dict[tuple[str, float, int], float]:
    return {(method, lr, seed): 1.0 + lr + seed / 10 + bump for lr in (1e-3, 0.1) for seed in (0, 1)}


def stored(suite: Suite | str) -> Stored:
    return Stored.of(suite) if isinstance(suite, Suite) else Stored(name=suite, suite=None)


def imported_into(store: Store, path: Path, suite: Suite | str | None = None, **options) -> Imported:
    return import_runs(read_tidy(path), store, beside=None if suite is None else stored(suite), **options)


def read(suite: Suite | str, store: Store) -> Subject:
    return read_grid(stored(suite), store)


def train(store: Store, suite: Suite) -> None:
    """As a run of the suite would leave it."""
    tracker = Tracker(store, suite.name)
    results = [
        Result(trial=one, outcome=Outcome.COMPLETED, initial_loss=4.0, final_loss=0.5 + number / 7, wall_s=0.5)
        for number, one in enumerate(suite.expand())
    ]
    tracker.put(results, {})
    tracker.deliver()
    publish(read(suite, store), store, tracker)
    tracker.finish("FINISHED")
    tracker.close()


@pytest.fixture(scope="session")
def imported_home(empty_database, tmp_path_factory) -> Path:
    """A home that theirs.csv was imported into, to be copied; the file lies beside it."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "home").mkdir()
    shutil.copy(empty_database, folder / "home/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
        path = runs(folder, sweep() | sweep("mega"), extra="source")
        done = imported_into(Store(folder / "home", warn=pytest.fail), path)
    assert (done.subject.name, done.num_new, done.num_replaced, done.num_removed) == ("theirs", 8, 0, 0)
    return folder


@pytest.fixture
def imported(imported_home, store) -> tuple[Store, Path]:
    """A store that holds an import, and its file."""
    shutil.rmtree(store.home)
    shutil.copytree(imported_home / "home", store.home)
    return store, imported_home / "theirs.csv"


def rows_of_database(store: Store) -> list[tuple]:
    with closing(sqlite3.connect(store.database or "")) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return [(table, *row) for table in sorted(tables) for row in connection.execute(f"select * from {table}")]


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
def test_a_corrected_file_replaces_its_predecessor(imported, tmp_path):
    store, _ = imported
    corrected = sweep() | {("softmax", 0.1, 1): 3.25, ("softmax", 1.0, 0): 2.0}
    done = imported_into(store, runs(tmp_path, corrected))
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
    tracker = Tracker(store, "theirs")
    assert tracker.imported("theirs") == {}
    tracker.close()
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
