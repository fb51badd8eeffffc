"""Thousands of damaged files of runs: `python -m tests.faults.fuzz_imports --count 10000`, of each format.

A file of every format and shape with letters, cells, lines and bytes changed, moved, doubled and lost, as CSV, packed,
in UTF-16, as Parquet and TensorBoard's events. Each must be read as runs, or be refused in lines that name it or the
option that is wrong; nothing else may be raised, none may take longer than a second, and memory stays within
MAX_GROWTH.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import resource
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UsageError
from bench.imports.columns import MAX_MEMORY
from bench.imports.formats import as_tidy
from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import read_tidy
from bench.imports.wishes import Wishes
from tests.bench.imports.files_of_others import EXAMPLES, SHAPES
from tests.faults.fuzz_suites import damaged

PLAIN = """
, ,, " "" ; nan NaN inf -inf 1e400 1e-320 1.7976931348623157e308 -1 0 9999999999999999999999 0x1F 1_000 [ ] [1,2] [nan]
[[1]] {} {"a":1} null None true NA 0,5 1,000 # sep=; |
FAIL COMPLETE finished RUNNING step run Step lr seed method loss final_loss
initial_loss val_loss trial_id training_iteration {lr} = 'a ../x \N{SNOWMAN}
"""
WORDS = (*PLAIN.split(), "\n", "\r\n", "\t", "\x00", "\ufeff", "\u2028", "\x85")
RUN = {"method": "a", "lr": "1", "seed": "0"}
# What is said of the undamaged file of a format, so that most that is damaged is still looked at to its end.
OWN: dict[str, dict[str, Any]] = {
    **{name: wishes for name, (_, wishes) in (EXAMPLES | SHAPES).items()},
    "wandb runs": {"constants": {"initial_loss": "4"}},
    "wandb api": {"constants": {"initial_loss": "4"}},
    "ray results": {"constants": {"initial_loss": "4"}},
    "optuna trials": {"constants": {"initial_loss": "4", "method": "a"}},
    "parquet": {},
    "parquet lists": {"columns": {"final_loss": "train_loss"}},
    "event file": {"constants": RUN},
    **dict.fromkeys(("ZIP", "gzip", "UTF-16", "UTF-16 without its mark"), EXAMPLES["checkpoints"][1]),
}
WISHES: tuple[dict[str, Any], ...] = (
    {}, {"last_of": "seed"}, {"last_of": "trial_id"}, {"settings": ["seed"]}, {"run_names": "{method}-lr{lr}-s{seed}"},
    {"columns": {"final_loss": "val_loss"}}, {"loss": "validation"}, {"without_loss": "diverged"},
    {"ignored": ["lr"]}, {"ignored": ["loss"]}, {"ignored": ["step"]}, {"constants": RUN}, {"without_loss": "lost"},
)  # fmt: skip
MAX_SECONDS = 1.0
MAX_GROWTH = MAX_MEMORY / 2  # bytes beyond what was held before the first damaged file: these are small


def damaged_bytes(content: bytes, draw: random.Random) -> bytes:
    """Content with one to six bytes or stretches changed, doubled or lost."""
    for _ in range(draw.randint(1, draw.choice((1, 6)))):
        place = draw.randrange(len(content) + 1)
        end = min(place + draw.randint(1, 9), len(content))
        new = bytes(draw.choice((0, 1, 127, 128, 255, draw.randrange(256))) for _ in range(end - place))
        content = content[:place] + draw.choice((new, b"", content[place:end] * 2)) + content[end:]
        content = content[: draw.randrange(len(content) + 1)] if draw.random() < 0.05 else content
    return content


def events() -> bytes:
    """An event file of TensorBoard with three losses, as its format says; its checksums are not looked at."""
    records = []
    for step in range(3):
        value = b"\x0a\x04loss\x15" + struct.pack("<f", 4.0 - step)
        event = b"\x10" + bytes([step]) + b"\x2a" + bytes([len(value) + 2]) + b"\x0a" + bytes([len(value)]) + value
        records.append(struct.pack("<Q", len(event)) + bytes(4) + event + bytes(4))
    return b"".join(records)


def sources() -> dict[str, tuple[str, Callable[[random.Random], bytes]]]:
    """By format: the name of its file, and what damages it."""

    def of_text(text: str) -> Callable[[random.Random], bytes]:
        return lambda draw: damaged(text, draw, WORDS, draw.choice((1, 6))).encode("utf-8", "surrogatepass")

    def of_bytes(content: bytes) -> Callable[[random.Random], bytes]:
        return lambda draw: damaged_bytes(content, draw)

    table = pl.read_csv(io.StringIO(EXAMPLES["checkpoints"][0]), schema_overrides={"train_loss": pl.Float64})
    plain, listed = io.BytesIO(), io.BytesIO()
    table.write_parquet(plain)
    table.group_by("method", "lr", "seed").agg("step", "train_loss").write_parquet(listed)
    texts = {name: ("runs", of_text(text)) for name, (text, _) in (EXAMPLES | SHAPES).items()}
    text = EXAMPLES["checkpoints"][0]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("runs.csv", text)
    contents = {"parquet": plain.getvalue(), "parquet lists": listed.getvalue(), "ZIP": archive.getvalue()}
    contents |= {
        "gzip": gzip.compress(text.encode()),
        "UTF-16": text.encode("utf-16"),
        "UTF-16 without its mark": text.encode("utf-16-le"),
    }
    binary = {name: ("runs", of_bytes(content)) for name, content in contents.items()}
    return texts | binary | {"event file": ("events.out.tfevents.1", of_bytes(events()))}


def read(path: Path, wishes: dict[str, Any]) -> None:
    """As `bench import --dry-run` reads a file."""
    file = as_tidy(read_tidy(path), Wishes(**wishes))
    imported_runs(file, plain_reading("theirs"))


def fuzz(count: int, seed: int) -> Iterator[tuple[str, int, int, float]]:
    """Format, files read, files refused and seconds of the slowest, for `count` damaged files of each format."""
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (file_name, made)) in enumerate(sources().items()):
            draw = random.Random(f"{seed} {number}")
            path = Path(folder, file_name)
            num_read, worst = 0, 0.0
            for _ in range(count):
                content, wishes = made(draw), draw.choice((*WISHES, *[OWN[name]] * 20))
                path.write_bytes(content)
                started = time.process_time()
                try:
                    read(path, wishes)
                    num_read += 1
                except UsageError as error:
                    lines = str(error).split("\n")
                    assert all(file_name in line or line.startswith("--") for line in lines), lines
                except BaseException:
                    print(f"--- {name}, {wishes}, raised by:\n{content!r}")
                    raise
                seconds = time.process_time() - started
                assert seconds < MAX_SECONDS, (seconds, name, wishes, content)
                worst = max(worst, seconds)
            yield name, num_read, count - num_read, worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    list(fuzz(1, arguments.seed))  # what is imported is no time and no memory of a damaged file
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, num_read, num_refused, worst in fuzz(arguments.count, arguments.seed):
        print(f"{name}: {num_read} read, {num_refused} refused, longest {worst:.3f} s of CPU", flush=True)
    growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(f"{growth / 1e6:.0f} MB beyond what was held before")
    assert growth < MAX_GROWTH


if __name__ == "__main__":
    main()
