"""Files that ask for much memory: `python -m tests.security.bombs FOLDER [WORD]` prints what each took, as JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.errors import UsageError
from bench.imports.columns import MAX_BYTES
from bench.imports.formats import as_tidy
from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import read_tidy
from bench.imports.wishes import Wishes

HEADER = "method,lr,seed,final_loss,initial_loss"
ROW = "a,0.1,0,1.0,2.0\n"
MOST_ADDRESSES = 12 * 2**30  # beyond what is there; so that what is wrong ends the child and not the machine


def runs(**columns: str) -> bytes:
    """100,000 runs as Parquet, with a text each in further columns; a page says it once."""
    import pyarrow
    from pyarrow import parquet

    plain = {"method": "a", "lr": "0.1", "final_loss": "1.0", "initial_loss": "2.0"} | columns
    places = pyarrow.array([0] * 100_000, pyarrow.int32())
    texts = {name: pyarrow.DictionaryArray.from_arrays(places, [text]) for name, text in plain.items()}
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"seed": range(100_000)} | texts), buffer, store_schema=False)
    return buffer.getvalue()


def long_lists() -> bytes:
    """10,000 rows with 10,000 numbers each, all alike."""
    import pyarrow
    from pyarrow import parquet as arrow

    values = pyarrow.array([[1.0] * 10_000], pyarrow.list_(pyarrow.float64())).take(pyarrow.array([0] * 1000))
    table, buffer = pyarrow.table({"final_loss": values}), io.BytesIO()
    with arrow.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(table)
    return buffer.getvalue()


def record(event: bytes) -> bytes:
    """A record of an event file; its checksums are not looked at."""
    return struct.pack("<Q", len(event)) + bytes(4) + event + bytes(4)


def varint(number: int) -> bytes:
    """The number as Protocol Buffers have it."""
    parts = []
    while True:
        number, low = number >> 7, number & 127
        parts.append(low | (128 if number else 0))
        if not number:
            return bytes(parts)


def summary(step: int, values: bytes) -> bytes:
    """A record with a step and values of a summary."""
    return record(b"\x10" + varint(step) + b"\x2a" + varint(len(values)) + values)


def scalar(tag: bytes) -> bytes:
    """A value of a summary, 1.0 under a tag."""
    value = b"\x0a" + varint(len(tag)) + tag + b"\x15" + struct.pack("<f", 1.0)
    return b"\x0a" + varint(len(value)) + value


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def xz_of_a_large_dictionary() -> bytes:
    """Runs packed by xz, with a header that asks for the most that it can, and its checksum."""
    packed = bytearray(lzma.compress(f"{HEADER}\n{ROW}".encode(), preset=0))
    header = slice(12, 12 + 4 * (packed[12] + 1))
    packed[header.start + 4] = 40
    packed[header.stop - 4 : header.stop] = struct.pack("<I", zlib.crc32(packed[header.start : header.stop - 4]))
    return bytes(packed)


ROOM = MAX_BYTES - 1000  # of a file that is not refused by its size alone

BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "parquet, one text of 90 kB in every row": ("runs", lambda: runs(method="x" * 90_000)),
    "parquet, a text of a setting in every row": ("runs", lambda: runs(note="x" * 90_000)),
    "parquet, a list of 10,000 in every row": ("runs", long_lists),
    "csv, one line of 1 GB": ("runs", lambda: b"a"),
    "csv, one line within the bound": ("runs", lambda: b"a" * ROOM),
    "csv, a header of commas": ("runs", lambda: b"," * ROOM),
    "csv, a row of commas": ("runs", lambda: f"{HEADER}\n".encode() + b"," * (ROOM - 100)),
    "csv, empty lines": ("runs", lambda: f"{HEADER}\n{ROW}".encode() + b"\n" * (ROOM - 100)),
    "csv, wide letters": ("runs", lambda: (f"{HEADER}\n" + f'"{"😀" * 30_000}",0.1,0,1.0,2.0\n' * 500).encode()),
    "csv, rows without end": ("runs", lambda: f"{HEADER}\n{ROW * 3_000_000}".encode()),
    "csv, as many rows as may be": ("runs", lambda: f"{HEADER}\n{ROW * 100_000}".encode()),
    "csv, lists without end": ("runs", lambda: f'{HEADER}\n'.encode() + b"".join(
        b'a,0.1,%d,"[%s]",2.0\n' % (n, b"1 " * 60_000) for n in range(500))),
    "json, objects without end": ("runs", lambda: b"[" + b"{}," * (ROOM // 3 - 2) + b"{}]"),
    "json, numbers without end": ("runs", lambda: b'[{"a":[' + b"1," * (ROOM // 2 - 20) + b"1]}]"),
    "json, lists without end": ("runs", lambda: b'[{"a":[' + b"[]," * (ROOM // 3 - 20) + b"1]}]"),
    "json, nested lists": ("runs", lambda: b"[" * ROOM),
    "json, nested objects": ("runs", lambda: b'{"a":' * (ROOM // 5)),
    "json, objects nested 900 deep": ("runs", lambda: b'{"a":' * 900 + b"1" + b"}" * 900),
    "json, a huge text": ("runs", lambda: b'{"method":"' + b"x" * (ROOM - 100) + b'","lr":0.1}'),
    "json, a million names": ("runs", lambda: json.dumps({f"k{n}": n for n in range(1_000_000)}).encode()),
    "json lines, names without end": ("runs", lambda: b"".join(b'{"k%d":1}\n' % n for n in range(4_000_000))),
    "json lines, empty objects": ("runs", lambda: b"{}\n" * (ROOM // 3)),
    "json, one huge number": ("runs", lambda: b'{"lr":' + b"1" * (ROOM - 100) + b"}"),
    "events, empty values": ("tfevents.1", lambda: summary(0, b"\x0a\x00" * 100_000_000)),
    "events, an endless tag": ("tfevents.1", lambda: summary(0, scalar(b"x" * 200_000_000))),
    "events, a tag a step": ("tfevents.1", lambda: b"".join(summary(n, scalar(b"t%d" % n)) for n in range(20_000))),
    "events, scalars without end": ("tfevents.1", lambda: summary(0, scalar(b"loss")) * 1_200_000),
    "gzip of a gigabyte": ("runs.csv.gz", lambda: gzip.compress(bytes(2**28), 1)),
    "bzip2 of a gigabyte": ("runs.csv.bz2", lambda: bz2.compress(bytes(2**28))),
    "xz of a gigabyte": ("runs.csv.xz", lambda: lzma.compress(bytes(2**28), preset=0)),
    "xz, a dictionary of 4 GB": ("runs.csv.xz", xz_of_a_large_dictionary),
    "ZIP of a gigabyte": ("runs.csv.zip", lambda: zipped({"runs.csv": bytes(2**28)})),
    "ZIP, 200,000 files": ("runs.zip", lambda: zipped({f"{number}.csv": b"" for number in range(200_000)})),
    "ZIP in ZIP": ("runs.zip", lambda: zipped({"runs.zip": zipped({"runs.csv": bytes(2**28)})})),
    "gzip in gzip": ("runs.csv.gz", lambda: gzip.compress(gzip.compress(bytes(2**28), 9))),
    "gzip, streams without end": ("runs.csv.gz", lambda: gzip.compress(b"") * (ROOM // 20)),
    "UTF-16, a header of commas": ("runs", lambda: b"\xff\xfe" + b",\0" * (ROOM // 2 - 10)),
    "notebook, cells without end": ("runs.ipynb", lambda: json.dumps(
        {"cells": [{"cell_type": "code", "source": "x", "outputs": []}] * 500_000, "nbformat": 4}).encode()),
}  # fmt: skip


def memory(name: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def read(path: Path) -> str:
    """As `bench import --dry-run` reads a file: what it said."""
    try:
        imported_runs(as_tidy(read_tidy(path), Wishes()), plain_reading("theirs"))
    except UsageError as error:
        return str(error)
    return "read"


def main(folder: Path, only: list[str]) -> None:
    small = folder / "small.csv"
    small.write_text(f"{HEADER}\n{ROW}")
    read(small)  # what is imported is no memory of a file
    small.with_suffix(".parquet").write_bytes(runs(note="b"))
    read(small.with_suffix(".parquet"))
    most = memory("VmSize") + MOST_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for name, (file_name, made) in BOMBS.items():
        if only and not any(word in name for word in only):
            continue
        path = folder / file_name
        with path.open("wb") as file:
            file.write(made())
            if "1 GB" in name:
                file.truncate(2**30)
        size = path.stat().st_size
        before, started = memory("VmRSS"), time.process_time()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        said = read(path)
        peak, seconds = memory("VmHWM") - before, time.process_time() - started
        print(
            json.dumps({"name": name, "size": size, "peak": peak, "seconds": seconds, "said": said[:300]}), flush=True
        )
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
