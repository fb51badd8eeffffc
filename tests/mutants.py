"""A drawn sample of one-place changes of the core modules, and the share that tests notice: `make mutants`.

mutmut makes the changes and runs the tests that reach each; which modules and tests is in pyproject.toml. It works in
mutants/, so that nothing of the project is changed, and what it learned there of tests makes the next sample quicker.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("mutants")
FIRST = "analysis.scores.robustness.x_best_lr__mutmut_1"  # mutmut makes all changes before it tries the first
NOTICED = ("killed", "timeout")


def mutmut(*words: str) -> str:
    """What a command of mutmut prints."""
    program = str(Path(sys.executable).with_name("mutmut"))
    return subprocess.run([program, *words], check=True, text=True, stdout=subprocess.PIPE).stdout


def names() -> list[str]:
    """All changes, in one order."""
    return sorted(name for path in FOLDER.rglob("*.meta") for name in json.loads(path.read_text())["exit_code_by_key"])


def statuses(chosen: list[str]) -> dict[str, str]:
    """What became of each of the chosen changes: killed, survived, timeout, no tests ..."""
    lines = (line.strip().partition(": ") for line in mutmut("results", "--all", "true").splitlines())
    return {name: status for name, _, status in lines if name in chosen}


def main() -> None:
    """Prints every change of the sample that no test noticed, the share that was, and how long it took.

    Exit code 1 where less than `--least` of them were noticed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--least", type=float, default=0.9)
    arguments = parser.parse_args()
    start = time.monotonic()
    processes = ("--max-children", str(arguments.processes))
    mutmut("run", *processes, FIRST)
    chosen = random.Random(arguments.seed).sample(names(), arguments.number)
    mutmut("run", *processes, *chosen)
    found = statuses(chosen)
    unnoticed = sorted(name for name, status in found.items() if status not in NOTICED)
    for name in unnoticed:
        print(found[name], mutmut("show", name), sep="\n")
    share, num_hung = 1 - len(unnoticed) / len(found), list(found.values()).count("timeout")
    minutes = (time.monotonic() - start) / 60
    print(f"{share:.0%} of {len(found)} changes noticed, {num_hung} because tests hung (seed {arguments.seed})")
    print(f"{minutes:.0f} minutes, of which making the changes and learning which tests reach them is the same always")
    sys.exit(share < arguments.least)


if __name__ == "__main__":
    main()
