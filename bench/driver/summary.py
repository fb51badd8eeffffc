"""Summary: how a run of a suite ended, and how many seconds each of its phases took."""

from __future__ import annotations

import time
from dataclasses import dataclass

from analysis.subject import AnySubject
from bench.cluster.schedule import Progress


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended."""

    num_trials: int
    num_found: int  # finished before this run
    progress: Progress | None  # None if nothing was missing
    num_waiting: int  # packs in the outbox that the store did not take
    is_disk_full: bool  # why it did not
    was_interrupted: bool
    subject: AnySubject | None  # None if there is no result, or the store could not be read
    phases: dict[str, float]  # seconds by phase


class Phases:
    """Seconds by phase, in the order in which they ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, name: str) -> None:
        """The phase that began when the last one ended."""
        now = time.monotonic()
        self.seconds[name], self._since = now - self._since, now
