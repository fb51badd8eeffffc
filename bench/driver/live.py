"""What MLflow shows of a suite while it trains: metrics of the suite run, by method, at a cadence of seconds."""

from __future__ import annotations

import time

from bench.cluster.schedule import Progress

LIVE_SECONDS = 10.0  # between two points of each


class LiveNumbers:
    """Takes the numbers of a run's progress now and then: they are of all its trials, and progress is told often."""

    def __init__(self) -> None:
        self._next = 0.0

    def numbers(self, progress: Progress) -> dict[str, float]:
        """Metrics by name, `median_loss/softmax`; none before LIVE_SECONDS passed, unless all trials are done."""
        now = time.monotonic()
        if now < self._next and progress.done < progress.total:
            return {}
        self._next = now + LIVE_SECONDS
        named = {
            f"{name}/{method}": value
            for method, numbers in progress.standings.by_method().items()
            for name, value in numbers.items()
        }
        if not named:
            return {}
        rate = progress.done / max(progress.seconds, 1e-9)
        return named | {"progress/trials_done": progress.done, "progress/trials_per_second": rate}
