"""Whatever is changed in a store after delivery is found by `verify`, each by its own line."""

import contextlib
import json
import math
import shutil
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.driver.queues import SearchQueue
from bench.errors import UsageError
from bench.outcome import Outcome, Result
from bench.results.publish import publish
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.results.verify import verify
from bench.store import Store, Tracker
from bench.suite import Context, Suite
from tests.bench.store import finished_packs


@pytest.fixture
def suite() -> Suite:
    return finished_packs.suite("suite")


@pytest.fixture
def results(suite) -> list[Result]:
    return finished_packs.suite_results(suite)


@pytest.fixture(scope="session")
def delivered_home(fresh_database, tmp_path_factory) -> Path:
    """A home with the suite delivered, to be copied; it was made elsewhere, so that no copy reads its artifacts."""
    made, kept = tmp_path_factory.mktemp("made") / "home", tmp_path_factory.mktemp("kept") / "home"
    made.mkdir(mode=0o700)
    shutil.copy(fresh_database, made / "mlflow.db")
    store, suite = Store(made, warn=pytest.fail), finished_packs.suite("suite")
    finished_packs.deliver_suite(Tracker(store, suite.name), store, suite)
    return made.rename(kept)


@pytest.fixture
def delivered(delivered_home, tmp_path) -> Store:
    shutil.copytree(delivered_home, tmp_path / "home")
    return Store(tmp_path / "home", warn=pytest.fail)


def change(store: Store, statement: str, *values) -> None:
    assert store.database is not None
    with contextlib.closing(sqlite3.connect(store.database)) as connection:
        assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def lines(store: Store, suite: Suite) -> list[str]:
    fresh = Store(store.home, warn=lambda line: None)
    return [f"{'wrong' if one.is_wrong else 'open'}: {one.text}" for one in verify(Stored.of(suite), fresh).findings]


def test_changed_results_metrics_and_params_are_wrong(delivered, suite):
    change(delivered, "update metrics set value = 9 where key = 'final_loss' and rowid = (select min(rowid) from metrics where key = 'final_loss')")  # fmt: skip # noqa: E501
    assert lines(delivered, suite) == []  # the curve of a point: only the last values are checked
    change(delivered, "update latest_metrics set value = 9 where key = 'final_loss' and value < 0.2")
    change(delivered, "update params set value = '7' where key = 'seed' and value = '2'")
    found = lines(delivered, suite)
    assert sum("metric final_loss 9.0, but its result says 0.1" in line for line in found) == 1
    assert sum("param seed 7, but its result says 2" in line for line in found) == 4
    assert len(found) == 5


def test_a_result_of_another_trial_is_wrong(delivered, suite):
    change(delivered, """update tags set value = replace(value, '"seed":2', '"seed":3') where key = 'bench.result'""")
    found = lines(delivered, suite)
    assert sum("but the hash of its trial is" in line for line in found) == 4
    assert sum(line == "open: never trained" for line in found) == 4


def test_a_changed_loss_is_wrong_in_the_leaderboard_too(delivered, suite):
    change(delivered, """update tags set value = replace(value, '"final_loss":0.1,', '"final_loss":7.5,') where key = 'bench.result'""")  # fmt: skip # noqa: E501
    found = lines(delivered, suite)
    assert any("but its result says 7.5" in line for line in found)
    assert any("but the results give" in line for line in found)
    assert all(line.startswith("wrong") for line in found)


def test_an_unreadable_result_is_wrong(delivered, suite):
    change(delivered, "update tags set value = '{' where key = 'bench.result'")
    assert sum("can't be read" in line for line in lines(delivered, suite)) == 12


def test_a_trace_that_is_gone_or_of_other_columns_is_wrong(delivered, suite):
    first, second, third = sorted(delivered.artifacts.glob("*/artifacts/trace.parquet"))[:3]
    first.unlink()
    second.write_bytes(b"nothing")
    pl.DataFrame({"x": [1]}).write_parquet(third)
    change(delivered, "delete from tags where key = 'bench.trace_sha256'")
    found = lines(delivered, suite)
    assert len(found) == 3
    for text in ("can't be read", "no Parquet file", "columns {'x'"):
        assert sum(text in line for line in found) == 1


def test_results_before_checksums_and_versions_are_read(delivered, suite):
    change(delivered, "delete from tags where key in ('bench.trace_sha256', 'bench.schema')")
    change(delivered, "delete from experiment_tags where key = 'bench.schema'")
    checked = verify(Stored.of(suite), Store(delivered.home, warn=pytest.fail))
    assert checked.findings == ()
    assert checked.num_unsigned == 12


def test_a_board_of_an_earlier_version_is_to_be_published_anew(delivered, suite):
    for table in ("metrics", "latest_metrics"):
        change(delivered, f"delete from {table} where key in ('rank_worst', 'blown_up_share')")
    change(delivered, "update latest_metrics set value = 9 where key = 'stable_decades'")  # as it was defined then
    lacking = "blown_up_share, rank_worst; running the suite again does it anew"
    assert lines(delivered, suite) == [f"open: published by another version, whose board lacks {lacking}"]


def test_two_runs_of_a_trial_are_wrong(delivered, suite):
    trial_ids = [trial.id for trial in suite.expand()][:2]
    change(delivered, "update tags set value = ? where key = 'bench.trial_id' and value = ?", *trial_ids)
    assert any("2 ended runs" in line for line in lines(delivered, suite))


def test_a_missing_trial_is_open(delivered, suite, open_tracker, results):
    more = finished_packs.suite("suite", num_seeds=4)
    found = lines(delivered, more)
    assert found == ["open: never trained"] * 4
    tracker = open_tracker(delivered, suite.name)
    rest = [one for one in finished_packs.suite_results(more) if one.trial.id not in {old.trial.id for old in results}]
    tracker.put(rest, {})
    tracker.close(timeout_s=0)
    checked = verify(Stored.of(more), Store(delivered.home, warn=pytest.fail))
    assert (checked.num_waiting, checked.num_results) == (4, 16)
    assert not any("never trained" in one.text for one in checked.findings)


def test_a_suite_that_is_being_run_is_refused(delivered, suite, open_tracker):
    open_tracker(delivered, suite.name)
    with pytest.raises(UsageError, match="already being run"):
        verify(Stored.of(suite), delivered)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("update runs set status = status", 0),
        ("update runs set status = 'RUNNING' where name = 'suite'", 3),
        ("update latest_metrics set value = 9 where key = 'final_loss'", 4),
    ],
)
def test_command_says_what_it_found(delivered, tmp_path, statement, code):
    change(delivered, statement)
    (tmp_path / "suite.yaml").write_text(json.dumps(finished_packs.PLAIN_SUITE))
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "suite.yaml"), "--store", str(delivered.home)])
    assert done.exit_code == code
    assert bool(done.stdout) == bool(code)
    assert "12 of 12 trials have a result; checked 12 runs, 12 traces (0 without a checksum)" in done.stderr


@pytest.mark.repetition
def test_a_search_is_verified_round_by_round(fresh_database, tmp_path):
    """Its trials follow from the recorded results, its answers from its trials."""
    plain = finished_packs.PLAIN_SUITE | {"knobs": {"lr": [1e-4, 10.0]}, "search": "edge"}
    searched = Suite.model_validate(plain, context=Context(allow_code=False))
    store = Store(tmp_path, warn=pytest.fail)
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    tracker, queue = Tracker(store, searched.name), SearchQueue(searched, {})
    while trials := queue.next():
        learned = [trial.knobs.lr < 0.03 * (1 + 0.05 * trial.seed) for trial in trials]
        finished = [
            Result(
                trial=trial,
                outcome=Outcome.COMPLETED if is_stable else Outcome.DIVERGED,
                initial_loss=3.0,
                final_loss=1.0 if is_stable else math.inf,
                wall_s=1.0,
            )
            for trial, is_stable in zip(trials, learned, strict=True)
        ]
        tracker.put(finished, {})
        queue.tell(finished)
    assert tracker.deliver() == 0
    publish(read_subject(Stored.of(searched), store), store, tracker)
    tracker.finish("FINISHED")
    assert tracker.close() == 0
    checked = verify(Stored.of(searched), Store(tmp_path, warn=pytest.fail))
    assert checked.findings == ()
    assert checked.num_trials == checked.num_results > 10
    change(store, """update tags set value = replace(value, '"final_loss":1.0,', '"final_loss":2.9,') where key = 'bench.result'""")  # fmt: skip # noqa: E501
    found = lines(store, searched)
    assert any("metric final_loss 1.0, but its result says 2.9" in line for line in found)
    assert any("but the results give" in line or "never trained" in line for line in found)  # another search


def test_nothing_is_written(delivered, suite):
    shutil.rmtree(delivered.home / "locks", ignore_errors=True)
    before = everything(delivered.home)
    assert lines(delivered, suite) == []
    assert everything(delivered.home) == before


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    """Time of the last change and size of all files and folders."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("has_store", [True, False])
def test_a_suite_without_results_is_merely_missing(fresh_database, suite, tmp_path, has_store):
    home = tmp_path / "home"
    if has_store:
        home.mkdir(mode=0o700)
        shutil.copy(fresh_database, home / "mlflow.db")
    checked = verify(Stored.of(suite), Store(home, warn=pytest.fail))
    assert [(one.text, one.is_wrong) for one in checked.findings] == [("no results of suite 'suite' yet", False)]
    assert (checked.num_trials, checked.num_results) == (suite.num_trials, 0)
    assert home.exists() == has_store


def test_readers_share_a_suite_and_keep_runs_away(delivered, suite):
    with delivered.shared_lock(suite.name):
        assert lines(delivered, suite) == []
        with pytest.raises(UsageError, match="is being verified by another process"), delivered.lock(suite.name):
            pass
