"""Thousands of damaged suite files: `python -m tests.faults.fuzz_suites --count 10000`.

Shipped suites with letters, words, lines and values changed, moved, doubled and lost. Each must load, or be refused
with lines that name the file; nothing else may be raised, and none may take longer than a second.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.suite import find_suite, load_suite, shipped_suites

WORDS = """
1e400 -1 0 .nan .inf -.inf 0x1F 1_000 null ~ true no [] {} [[]] {a:{b:1}} '' !!python/object:x &a *a <<: - ? | > % @ ` #
: :: 9999999999999999999999 1e-320 2026-11-22 ../../etc/passwd os:system __class__ \N{SNOWMAN} \x00 \x85 \u2028 name
methods lr {log:[1e-5,1e5],per_decade:[1,3]} [1,1] [a,a] {name:softmax,name:relu_kernel}
"""
MAX_SECONDS = 1.0
MORE = re.compile(r"and \d+ more problems")


def damaged(text: str, draw: random.Random, words: Sequence[str] = tuple(WORDS.split()), most: int = 6) -> str:
    """A text with one to `most` random changes; `words` are put in."""
    for _ in range(draw.randint(1, most)):
        place, end = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        lines = text.splitlines(keepends=True)
        match draw.randrange(8):
            case 0:
                text = text[:place] + draw.choice(words) + text[place:]
            case 1:
                text = text[:place] + text[min(end, place + 9) :]
            case 2:
                text = (
                    text[:place]
                    + chr(draw.choice([draw.randrange(1, 256), draw.randrange(0xD7FF)]))
                    + text[place + 1 :]
                )
            case 3 if lines:
                draw.shuffle(lines)
                text = "".join(lines)
            case 4 if lines:
                line = draw.randrange(len(lines))
                text = "".join([*lines[:line], lines[line], *lines[line:]])
            case 5 if lines:
                del lines[draw.randrange(len(lines))]
                text = "".join(lines)
            case 6 if lines:
                line = draw.randrange(len(lines))
                key = lines[line].partition(":")[0]
                lines[line] = f"{key}: {draw.choice(words)}\n"
                text = "".join(lines)
            case _:
                text = (
                    text[:place] + text[end:place:-1] + text[end:]
                    if draw.random() < 0.1
                    else text.replace("  ", " ", 1)
                )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    for name in shipped_suites():  # what they import is not the time of a damaged file
        with contextlib.suppress(UsageError):  # of one whose data must be prepared first
            load_suite(find_suite(name))
    texts = [find_suite(name).read_text(encoding="utf-8") for name in shipped_suites()]
    refused, worst, worst_text = 0, 0.0, ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "suite.yaml")
        for _ in range(arguments.count):
            text = damaged(draw.choice(texts), draw)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            started = time.monotonic()
            try:
                load_suite(path)
            except UsageError as error:
                refused += 1
                lines = str(error).splitlines()
            except BaseException:
                print(f"--- raised by:\n{text}")
                raise
            else:
                lines = []
            seconds = time.monotonic() - started
            assert all("suite.yaml" in line or MORE.fullmatch(line) for line in lines), lines
            if seconds > worst:
                worst, worst_text = seconds, text
    loaded = arguments.count - refused
    print(f"{arguments.count} damaged suites: {refused} refused, {loaded} loaded, longest {worst:.3f} s")
    assert worst < MAX_SECONDS, worst_text


if __name__ == "__main__":
    main()
