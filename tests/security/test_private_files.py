"""What a store keeps is its user's alone, whatever the umask: another user of the machine gets nothing."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cluster.checkpoints import Checkpoints
from bench.cluster.jobs import Job, _remember
from bench.errors import UsageError
from bench.files import make_folder, private_folder, write_file
from bench.store import Store, Tracker
from tests.bench.store import finished_packs

NOBODY = 65534
AS_NOBODY = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")

# As another user: what of a folder and of these files can be listed, read or written.
TRIED = """
import json, os, sys
from pathlib import Path

os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
got = []
for name in json.loads(sys.stdin.read()):
    for what, access in (("read", os.R_OK), ("write", os.W_OK)):
        if os.access(name, access):
            got.append(f"{{what}} {{name}}")
    try:
        os.scandir(name) if os.path.isdir(name) else open(name, "rb").read(1)
        got.append(f"open {{name}}")
    except OSError:
        pass
print(json.dumps(got))
"""


def got_by_another(*names: Path) -> list[str]:
    """What the user `nobody` can do with files and folders."""
    words = [sys.executable, "-c", TRIED.format(nobody=NOBODY)]
    done = subprocess.run(words, input=json.dumps([*map(str, names)]), capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A folder that everybody may enter, as /tmp; pytest's own are closed."""
    folder = tmp_path_factory.mktemp("everybody")
    for one in (folder, *folder.parents):
        if one.stat().st_uid == os.getuid() and one != Path("/"):
            one.chmod(one.stat().st_mode | 0o055)
    return folder


@pytest.fixture(scope="module")
def home(opened):
    """A store with all that it can hold, made where nothing restrains modes."""
    before = os.umask(0)
    try:
        store = Store(opened / "made" / "home", f"sqlite:///{opened}/made/home/mlflow.db", warn=pytest.fail)
        finished = finished_packs.results(range(2))
        with contextlib.closing(Tracker(store, "suite")) as tracker:
            tracker.start("{}")
            tracker.put(finished, finished_packs.traces(finished))
            tracker.deliver()
            store.outbox("other").put(finished, finished_packs.traces(finished), "waits")
            checkpoints = Checkpoints(uri=str(store.home / "checkpoints" / "suite"), token="t", variant="cpu")
            checkpoints.start()
            checkpoints.save("pack", {"step": 1})
            _remember(Job(**dict.fromkeys(Job.__dataclass_fields__, "job")), store.home)
            logs = {path.name: modes(path) for path in store.home.glob("mlflow.db-*")}
        assert set(logs.values()) <= {"600"}
    finally:
        os.umask(before)
    return store.home


def modes(path: Path) -> str:
    return f"{stat.S_IMODE(path.lstat().st_mode):o}"


def test_every_file_and_folder_is_its_owners_alone(home):
    every = [home, *home.rglob("*")]
    names = {path.relative_to(home).parts[0] for path in every[1:]}
    assert names >= {"mlflow.db", "mlflow.db.lock", "artifacts", "outbox", "checkpoints", "jobs", "locks"}
    assert {path.name for path in every} >= {"trace.parquet", "traces.parquet", "entry.json", "pack-cpu.pt", "job.json"}
    assert {modes(path) for path in every} == {"600", "700"}
    assert {modes(path) for path in every if path.is_dir()} == {"700"}
    assert modes(home.parent) == "700", "a folder that was made for the store"


@AS_NOBODY
def test_another_user_gets_nothing(home, opened):
    open_file = opened / "open"
    open_file.write_text("x")
    assert got_by_another(open_file), "whoever tries can get there"
    assert got_by_another(home, *home.rglob("*")) == []


@pytest.fixture
def earlier(home, tmp_path):
    """The store as an earlier version left it under the umask 022."""
    copy = tmp_path / "store"
    shutil.copytree(home, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def test_an_earlier_store_is_closed_with_one_warning(earlier):
    said = []
    for _ in range(2):
        store = Store(earlier, f"sqlite:///{earlier}/mlflow.db", warn=said.append)
        store.create()
        with store.lock("suite"):
            pass
    assert said == [f"{earlier}: other users of this machine could look into it; from now on it is yours alone"]
    assert {modes(path) for path in earlier.iterdir() if path.is_dir()} | {modes(earlier)} == {"700"}
    assert {modes(path) for path in earlier.iterdir() if path.is_file()} == {"600"}


def test_a_folder_that_holds_other_things_too_stays_open(earlier):
    (earlier / "paper.tex").write_text("")
    Store(earlier, f"sqlite:///{earlier}/mlflow.db", warn=[].append).create()
    assert modes(earlier) == "755"
    assert modes(earlier / "paper.tex") == "644"
    assert modes(earlier / "artifacts") == "700"


@AS_NOBODY
@pytest.mark.parametrize("part", [".", "outbox", "mlflow.db"])
def test_a_store_of_another_user_is_refused(earlier, part):
    os.chown(earlier / part, NOBODY, NOBODY)
    with pytest.raises(UsageError, match=r"belongs to another user \(uid 65534\)"):
        Store(earlier, f"sqlite:///{earlier}/mlflow.db", warn=pytest.fail).create()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_a_user_asked_for_keeps_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        path = write_file(make_folder(tmp_path / "reports" / "a") / "page.html", "a\r\nb\n")
        private = private_folder(tmp_path / "store" / "outbox")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"a\r\nb\n"
    assert (modes(path), modes(path.parent)) == (f"{0o666 & ~umask:o}", f"{0o777 & ~umask:o}")
    assert (modes(private), modes(private.parent)) == ("700", "700")
    assert [*path.parent.iterdir()] == [path]
