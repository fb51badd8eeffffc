import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pytest

from bench.errors import BenchError, BudgetError
from bench.store.outbox import CorruptEntryError, Outbox
from bench.trial import canonical_json
from tests.bench.store import finished_packs

# Puts a pack again and again; the first time it is killed at its first step in the file system, then at its second ...
PUT_AND_DIE = """
import os, signal, sys
from pathlib import Path

from bench.store.outbox import Outbox
from tests.bench.store import finished_packs

folder = sys.argv[1]
moment = left = None


def count(event, arguments):
    global left
    if left is None or event not in ("open", "os.mkdir", "os.rename") or folder not in str(arguments[0]):
        return
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1


sys.addaudithook(count)
for moment in range(100):
    process = os.fork()  # no thread runs so far
    if process == 0:
        pack = finished_packs.results(range(6))
        traces = finished_packs.traces(pack)
        left = moment
        Outbox(Path(folder), warn=print).put(pack, traces, name="pack")
        os._exit(0)
    was_killed = os.WIFSIGNALED(os.waitpid(process, 0)[1])
    names = os.listdir(folder) if os.path.isdir(folder) else []
    print(was_killed, len([name for name in names if name[0] != "."]), flush=True)
    if not was_killed:
        break
"""


@pytest.fixture
def outbox(tmp_path, warnings_seen) -> Outbox:
    return Outbox(tmp_path / "outbox", warn=warnings_seen.append)


def put_numbers(outbox: Outbox, *numbers: int) -> Path:
    pack = finished_packs.results(numbers)
    return outbox.put(pack, finished_packs.traces(pack), name="pack")


def test_load_returns_what_was_put(outbox):
    pack = finished_packs.results(range(6))
    traces = finished_packs.traces(pack)
    entry = outbox.load(outbox.put(pack, traces, name="../<b>x</b> 'y'"))
    assert entry.results == tuple(pack)
    for trial_id, trace in traces.items():
        assert entry.traces.filter(pl.col("trial_id") == trial_id).drop("trial_id").equals(trace)
    assert entry.path.parent == outbox.folder


def test_traces_are_kept_compressed(outbox):
    """They wait for a server that may be away for a night: a disk holds several times as many."""
    pack = finished_packs.results(range(2))
    (file,) = outbox.put(pack, finished_packs.traces(pack), name="pack").glob("*.parquet")
    group = pyarrow.parquet.ParquetFile(file).metadata.row_group(0)
    assert {group.column(place).compression for place in range(group.num_columns)} == {"ZSTD"}


def test_entries_come_in_the_order_they_were_put(outbox):
    paths = [put_numbers(outbox, number) for number in range(5)]
    assert outbox.entries() == paths


def test_pack_without_traces_is_kept(outbox):
    entry = outbox.load(outbox.put(finished_packs.results([1]), {}, name="pack"))
    assert entry.traces.height == 0


def test_removed_entry_is_gone(outbox):
    path = put_numbers(outbox, 1)
    outbox.remove(path)
    assert outbox.entries() == []
    with pytest.raises(FileNotFoundError):
        outbox.load(path)


def test_trace_without_its_result_is_refused(outbox):
    with pytest.raises(ValueError, match="no result"):
        outbox.put(finished_packs.results([1]), {"somewhere else": finished_packs.trace(1)}, name="pack")


def test_trace_of_other_columns_is_refused(outbox):
    pack = finished_packs.results([1])
    wrong = finished_packs.trace(1).with_columns(pl.col("value").cast(pl.Float64))
    with pytest.raises(ValueError, match="Float64"):
        outbox.put(pack, {pack[0].trial.id: wrong}, name="pack")


@pytest.mark.parametrize(
    ("file_name", "damage"),
    [
        ("traces.parquet", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        ("traces.parquet", lambda content: content[: len(content) // 2]),
        ("entry.json", lambda content: content[: len(content) // 2]),
        ("entry.json", lambda content: content.replace(b'"wall_s":1.5', b'"wall_s":1.6')),
        ("entry.json", lambda content: content.replace(b'"version":1}', b'"version":0}')),
        ("entry.json", lambda content: b""),
    ],
)
def test_damaged_entry_is_set_aside_and_blocks_no_other(outbox, warnings_seen, file_name, damage):
    damaged, whole = put_numbers(outbox, 1), put_numbers(outbox, 2)
    file = damaged / file_name
    file.write_bytes(damage(file.read_bytes()))
    why = r"ValueError: the checksum of \S+ is wrong|ValueError: entry version 0|JSONDecodeError: \S.*"
    with pytest.raises(CorruptEntryError, match=rf"{damaged.name}: damaged or foreign entry \(({why})\)$"):
        outbox.load(damaged)
    assert [entry.path for entry in outbox.load_all()] == [whole]
    assert [warning.count("\n") for warning in warnings_seen] == [0]
    assert damaged.name in warnings_seen[0]
    assert (outbox.folder / "corrupt" / damaged.name / file_name).exists()
    assert outbox.entries() == [whole]


def test_entry_of_a_run_before_held_out_data_is_whole(outbox):
    path = put_numbers(outbox, 1, 5)
    entry = json.loads((path / "entry.json").read_text())
    entry["results"] = [{k: v for k, v in one.items() if "val_" not in k} for one in entry["results"]]
    entry["results_sha256"] = hashlib.sha256(canonical_json(entry["results"]).encode()).hexdigest()
    (path / "entry.json").write_text(json.dumps(entry))
    assert [one.results for one in outbox.load_all()] == [tuple(finished_packs.results([1, 5]))]


def test_kill_at_any_step_of_putting_leaves_a_whole_entry_or_none(outbox, warnings_seen):
    command = [sys.executable, "-c", PUT_AND_DIE, str(outbox.folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    was_killed, counts = zip(*(line.split() for line in printed.splitlines()), strict=True)
    assert was_killed == ("True",) * (len(counts) - 1) + ("False",)
    # before the rename: folders, two files, the synced folder and the rename itself; after it the outbox's own sync
    assert [int(count) for count in counts] == [0] * (len(counts) - 2) + [1, 2]
    assert len(counts) >= 7
    assert len(list(outbox.load_all())) == 2
    assert warnings_seen == []
    assert list(outbox.folder.glob(".*"))
    outbox.clean()
    assert list(outbox.folder.glob(".*")) == []


def test_files_are_on_the_disk_before_the_entry_has_its_name(outbox, monkeypatch):
    """Nothing but the order of system calls tells: what a kill leaves is whole even if nothing was synced."""
    calls = []
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(descriptor: int) -> None:
        calls.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def recorded_rename(source: Path, target: Path) -> None:
        calls.append(("rename", Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    name = put_numbers(outbox, 1).name
    assert calls == [
        ("sync", "traces.parquet"),
        ("sync", "entry.json"),
        ("sync", f".writing-{name}"),
        ("rename", name),
        ("sync", "outbox"),
    ]


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, BudgetError), (errno.EDQUOT, BudgetError), (errno.EIO, OSError)]
)
def test_full_disk_and_spent_quota_are_budget_errors_and_other_faults_are_not(outbox, monkeypatch, number, expected):
    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises((OSError, BenchError)) as caught:
        put_numbers(outbox, 1, 2)
    assert type(caught.value) is expected
    assert expected is OSError or "no space left to keep 2 finished trials" in str(caught.value)
    assert list(outbox.folder.iterdir()) == []


def test_full_disk_is_a_budget_error_and_leaves_nothing(tmp_path, warnings_seen):
    mount = tmp_path / "small"
    mount.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "small", mount], check=False).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    try:
        outbox = Outbox(mount / "outbox", warn=warnings_seen.append)
        with pytest.raises(BudgetError, match="no space left to keep 20 finished trials"):
            put_numbers(outbox, *range(20))
        assert list(outbox.folder.iterdir()) == []
    finally:
        subprocess.run(["umount", mount], check=True)
