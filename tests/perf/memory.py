"""How long a command takes, and how much memory it and all processes that it starts have at most, together and each.

`python -m tests.perf.memory bench run mt_numbers_laptop --store FOLDER`. Memory is the proportional share (PSS: what
several processes map counts once, in parts), in GiB, read every half second from Linux's /proc: a shorter peak is
missed. The last line names the largest process of those that ran, by its command.
"""

from __future__ import annotations

import signal
import sys
import time

import psutil

EVERY = 0.5


def shares(process: psutil.Process) -> dict[tuple[int, str], int]:
    """Bytes of a process and of all below it, by number and command; those that end meanwhile are left out."""
    found = {}
    for one in [process, *process.children(recursive=True)]:
        try:
            found[one.pid, one.name()] = one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return found


def measure(command: list[str]) -> int:
    """Runs the command, prints what it took to stderr, and returns its exit code. Ctrl-C ends the command alone."""
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the command's, which then ends
    begun, together, largest = time.monotonic(), 0, (0, "")
    started = psutil.Popen(command)
    while started.poll() is None:
        try:
            sizes = shares(started)
        except psutil.NoSuchProcess:
            break
        together = max(together, sum(sizes.values()))
        largest = max([largest, *((size, name) for (_, name), size in sizes.items())])
        time.sleep(EVERY)
    code = started.wait()
    print(f"{time.monotonic() - begun:.0f} s; {together / 2**30:.2f} GiB together", file=sys.stderr)
    print(f"largest process {largest[0] / 2**30:.2f} GiB: {largest[1]}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(measure(sys.argv[1:]))
