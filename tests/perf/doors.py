"""CPU seconds of commands that read, beside those of Python and of libraries alone: `python -m tests.perf.doors`.

The least of several runs, user and system, of each command in a process of its own, after one that is not counted. The
store (--store) holds the results of the quickstart.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NUM_RUNS = 5


def cpu_seconds(command: list[str]) -> float:
    """What one process takes; raises CalledProcessError where it fails."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path(".bench"))
    parser.add_argument("--runs", type=int, default=NUM_RUNS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = ["quickstart", "--store", str(options.store)]
        alone = {f"python -c '{text}'": ["-c", text] for text in ("pass", "import mlflow", "import torch")}
        commands = [["--help"], ["list"], ["validate", "quickstart"], ["leaderboard", *results], ["scores", *results]]
        commands.append(["report", *results, "--out", f"{folder}/report"])
        ours = {f"bench {words[0]}": ["-m", "bench.cli", *words] for words in commands}
        for name, words in (alone | ours).items():
            _, *counted = [cpu_seconds([sys.executable, *words]) for _ in range(options.runs + 1)]
            print(f"{name:28} {min(counted):6.2f} s")


if __name__ == "__main__":
    main()
