"""A file of runs takes no more memory than is stated, whatever is in it."""

import json
import subprocess
import sys

import pytest

from bench.imports.columns import MAX_MEMORY
from tests.security.bombs import BOMBS

# Of each reader those that took most before it counted: 2.1, 1.5, 3.3 and some GB.
WORST = ("a list of 10,000 in every row", "one text of 90 kB", "a header of commas", "objects without end",
         "nested", "1 GB", "a tag a step", "streams without end")  # fmt: skip

MAX_SECONDS = 60  # of a processor, busy with other work


def taken(folder, *words: str) -> list[dict]:
    """What the bombs took that have one of the words in their names; all without words."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.bombs", str(folder), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: list[dict]) -> None:
    for one in found:
        assert one["peak"] < MAX_MEMORY, one
        assert one["seconds"] < MAX_SECONDS, one
        assert one["said"] == "read" or "/runs" in one["said"] or "/tfevents.1" in one["said"], one
        assert "\n" not in one["said"] or one["name"].startswith("csv"), one


@pytest.mark.whole
def test_the_worst_files_are_refused_before_they_are_in_memory(tmp_path):
    found = taken(tmp_path, *WORST)
    assert len(found) >= len(WORST)
    check(found)


@pytest.mark.slow
def test_every_file_keeps_to_the_bound(tmp_path):
    found = taken(tmp_path)
    assert len(found) == len(BOMBS)
    check(found)
