"""What a driver tells Prometheus: trials and packs of its run, among the metrics of the Ray node that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.util.metrics import Gauge

    from bench.cluster.schedule import Progress

# Ray puts `ray_` before each.
GAUGES = {
    "bench_trials_finished": "Trials of this run with an outcome.",
    "bench_trials_failed": "Trials of this run that crashed, ran out of memory or timed out.",
    "bench_trials_left": "Trials of this run without an outcome.",
    "bench_trials_running": "Trials in training.",
    "bench_attempts_failed": "Attempts to train a part of a pack that failed, most of them tried again.",
    "bench_packs_waiting": "Finished packs in the outbox that the store of results has not taken.",
}


class DriverMetrics:
    """Gauges by the name of the suite; they end with the driver."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    def tell(self, suite: str, progress: Progress, *, num_waiting: int) -> None:
        """Set all gauges. num_waiting: packs in the outbox."""
        if not self._gauges:
            from ray.util.metrics import Gauge  # which loads Ray

            self._gauges = {name: Gauge(name, text, ("suite",)) for name, text in GAUGES.items()}
        values = {
            "bench_trials_finished": progress.done,
            "bench_trials_failed": progress.failed,
            "bench_trials_left": progress.total - progress.done,
            "bench_trials_running": progress.running,
            "bench_attempts_failed": progress.retries,
            "bench_packs_waiting": num_waiting,
        }
        for name, value in values.items():
            self._gauges[name].set(value, {"suite": suite})
