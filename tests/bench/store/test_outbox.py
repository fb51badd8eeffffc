import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from bench.errors import BudgetError
from bench.store.outbox import CorruptEntryError, Outbox
from bench.trial import canonical_json
from tests.bench.store import finished_packs

PUT_FOREVER = """
import sys
from tests.bench.store import finished_packs
from bench.store.outbox import Outbox
from pathlib import Path

outbox = Outbox(Path(sys.argv[1]), warn=print)
pack = finished_packs.results(range(6))
traces = finished_packs.traces(pack)
print("ready", flush=True)
while True:
    outbox.put(pack, traces, name="pack")
    print("put", flush=True)
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
    with pytest.raises(CorruptEntryError):
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


def test_kill_while_putting_leaves_whole_entries_only(outbox, warnings_seen):
    chance = random.Random(0)
    leftovers = 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for kill in range(60):  # at least 2, and on until one of them hit a write
        if kill >= 2 and leftovers:
            break
        known = len(outbox.entries())
        child = subprocess.Popen(
            [sys.executable, "-c", PUT_FOREVER, str(outbox.folder)], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        num_put = child.stdout.read().count(b"put\n")
        child.wait()
        child.stdout.close()
        leftovers += len(list(outbox.folder.glob(".*")))
        assert len(outbox.entries()) - known in (num_put, num_put + 1)
    assert len(list(outbox.load_all())) == len(outbox.entries()) > 0
    assert warnings_seen == []
    assert leftovers > 0, "no kill hit a write: the test proves nothing"
    outbox.clean()
    assert list(outbox.folder.glob(".*")) == []


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
