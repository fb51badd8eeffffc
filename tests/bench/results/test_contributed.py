"""Results that others contribute: written, checked against every way to be wrong, and set beside ours as theirs."""

import json
from pathlib import Path

import polars as pl
import pytest

from analysis.paper.files import write_sums
from bench.errors import UsageError
from bench.results.contributed import CONTRIBUTION_FILE, contributions, verify_contribution, with_contributed
from bench.results.stored import Stored
from bench.results.subjects import read_grid
from bench.store import Store, Tracker
from tests.bench.store import finished_packs
from tests.command_line import bench_here

COMMITTED = Path(__file__).parents[3] / "suites/results/contributed"
MANIFEST = {
    "manifest_version": 2, "suite": {"name": "suite", "schedules": [{"name": "constant"}]}, "suite_sha256": "0" * 64,
    "seeds": [0, 1, 2], "bench": "0.1.0", "git": "1" * 40, "python": "3.11.9", "packages": {"torch": "2.13.0"},
    "device": "2 CPU", "cpu": "made up", "system": "Linux", "precision": "float32", "determinism": {"x": False},
    "written": "2026-11-30T00:00:00Z",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    home = tmp_path_factory.mktemp("ours")
    made = Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail)
    suite = finished_packs.suite("suite")
    tracker = Tracker(made, suite.name)
    tracker.keep_suite(suite.text)
    tracker.start(json.dumps(MANIFEST))
    finished_packs.deliver_suite(tracker, made, suite)
    tracker.close()
    return made


@pytest.fixture
def theirs(store, tmp_path) -> Path:
    """A contribution, made by the command that others make theirs with."""
    words = (
        "export",
        "suite",
        "--store",
        store.home,
        "--contribution",
        "theirs",
        "--by",
        "A group",
        "--about",
        "made up",
    )
    done = bench_here(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    return tmp_path / "theirs"


def verified(folder: Path) -> tuple[int, str]:
    done = bench_here(folder.parent, "verify", "--contributed", folder.name)
    return done.returncode, done.stdout


def test_a_contribution_is_whole_and_right(theirs):
    assert sorted(path.name for path in theirs.iterdir()) == [
        "SHA256SUMS", "contribution.json", "curves.csv", "leaderboard.csv", "manifest.json"
    ]  # fmt: skip
    assert verified(theirs) == (0, "")
    assert json.loads((theirs / CONTRIBUTION_FILE).read_text())["by"] == "A group"


def changed(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    write_sums(folder)


def test_a_changed_file_is_said(theirs):
    (theirs / "curves.csv").write_text((theirs / "curves.csv").read_text() + "\n")
    assert verified(theirs) == (4, "theirs/curves.csv: not as SHA256SUMS has it\n")


def test_a_file_that_is_missing_or_too_many_is_said(theirs):
    (theirs / "manifest.json").rename(theirs / "notes.txt")
    assert verified(theirs) == (4, "theirs/manifest.json: not there\ntheirs/notes.txt: no part of a contribution\n")


def test_a_number_that_the_curves_do_not_give_is_said(theirs):
    board = pl.read_csv(theirs / "leaderboard.csv")
    best = board.filter(method="softmax")["best_loss"].item()
    changed(theirs, "leaderboard.csv", str(best), "0.01")
    code, printed = verified(theirs)
    assert code == 4
    assert f"softmax, sgd: best_loss is 0.01, computed anew {best}" in printed


def test_an_entry_without_curves_is_said(theirs):
    text = (theirs / "curves.csv").read_text().splitlines()
    rest = [line for line in text if "relu_kernel" not in line]
    changed(theirs, "curves.csv", "\n".join(text), "\n".join(rest))
    code, printed = verified(theirs)
    assert code == 4
    assert "relu_kernel, sgd: not in curves.csv" in printed


@pytest.mark.parametrize(("old", "new", "said"), [
    ('"suite_sha256": "', '"other": "', "manifest.json: does not say 'suite_sha256'"),
    ('"manifest_version": 2', '"manifest_version": 1', "manifest.json: is of version 1; required 2"),
])  # fmt: skip
def test_a_manifest_that_leaves_something_out_is_said(theirs, old, new, said):
    changed(theirs, "manifest.json", old, new)
    assert verified(theirs) == (4, f"theirs/{said}\n")


def test_changes_that_no_commit_has_are_said_and_are_nothing_wrong(theirs):
    changed(theirs, "manifest.json", "1" * 40, "1" * 40 + "+changes")
    assert verified(theirs)[0] == 3


def test_a_contribution_says_whose_it_is(store, theirs):
    changed(theirs, CONTRIBUTION_FILE, "A group", " ")
    assert verified(theirs) == (4, "theirs/contribution.json: 'by': required words\n")
    words = ("export", "suite", "--store", store.home, "--contribution", "new")
    assert bench_here(theirs.parent, *words).returncode == 2
    assert not (theirs.parent / "new").exists()


def test_entries_of_others_stand_beside_ours_as_theirs(store, theirs):
    ours = read_grid(Stored.of(finished_packs.suite("suite")), store)
    both = with_contributed(ours, [theirs.parent], store)
    board = both.board
    assert set(board["method"]) == {"softmax", "relu_kernel", "softmax(contributed=theirs)",
                                    "relu_kernel(contributed=theirs)"}  # fmt: skip
    flags = dict(board.select("method", "flags").iter_rows())
    assert {name for name, its in flags.items() if "imported" in its} == {
        name for name in flags if "contributed" in name
    }
    scores = dict(board.select("method", "lr_sensitivity").iter_rows())
    assert scores["softmax(contributed=theirs)"] == scores["softmax"]
    assert board["knobs"].n_unique() == 1
    done = bench_here(theirs.parent, "leaderboard", "suite", "--store", store.home, "--contributed", "theirs")
    assert "softmax(contributed=theirs)" in done.stdout


def test_a_contribution_that_is_wrong_or_of_another_workload_stands_on_no_board(store, theirs):
    ours = read_grid(Stored.of(finished_packs.suite("suite")), store)
    for name in ("curves.csv", "leaderboard.csv"):
        changed(theirs, name, "in_context_regression", "elsewhere")
    assert verified(theirs) == (0, "")
    with pytest.raises(UsageError, match="no entry on a workload of suite"):
        with_contributed(ours, [theirs], store)
    (theirs / "curves.csv").write_text("")
    with pytest.raises(UsageError, match="not as SHA256SUMS has it; see bench verify --contributed"):
        with_contributed(ours, [theirs], store)
    with pytest.raises(UsageError, match=r"required a contribution, a folder with contribution\.json"):
        with_contributed(ours, [store.home], store)


def test_what_was_contributed_is_right(store):
    """Every folder that is committed; none so far."""
    folders = contributions([COMMITTED]) if list(COMMITTED.glob(f"*/{CONTRIBUTION_FILE}")) else []
    assert {path.name for path in COMMITTED.iterdir() if path.is_dir()} == {folder.name for folder in folders}
    assert [finding for folder in folders for finding in verify_contribution(folder, store)] == []
