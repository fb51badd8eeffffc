"""What a trial costs beside its training, Ray to leaderboard on sqlite: `python -m tests.perf.bookkeeping --help`.

Trials that do next to nothing go through the whole of `run_suite` with real Ray, in the packs that the product makes.
Bookkeeping is the time from the first pack's start to the published leaderboard without training, which is the
seconds of all trials over the slots that train at once. Memory is the driver's, from a tenth of the trials on, when
everything is imported.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import psutil

from analysis.subject import Subject
from bench.cluster.schedule import Progress
from bench.driver.options import Options
from bench.driver.run import run_suite
from bench.store import Store
from bench.suite import Context, Suite
from bench.training.pack_size import Resources

SAMPLE_S = 0.2
TINY = {"num_steps": 2, "final_loss_steps": 1, "batch_size": 1, "depth": 1, "num_pairs": 3}


def make_suite(num_trials: int, num_lrs: int) -> Suite:
    """num_lrs learning rates, as many seeds as it takes."""
    plain = {
        "name": "bookkeeping",
        "workloads": [{"name": "in_context_regression", **TINY}],
        "methods": ["softmax"],
        "optimizers": ["sgd"],
        "knobs": {"lr": [10.0 ** (-4 + 3 * number / num_lrs) for number in range(num_lrs)]},
        "seeds": num_trials // num_lrs,
        "probe_every": 1,
    }
    return Suite.model_validate(plain, context=Context(allow_code=False))


class Memory:
    """Resident bytes of this process beside the trials that are done, sampled in the background."""

    def __init__(self) -> None:
        self.done = 0
        self.samples: list[tuple[float, int, int]] = []
        self._process = psutil.Process()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            self.samples.append((time.monotonic(), self.done, self._process.memory_info().rss))
            time.sleep(SAMPLE_S)

    def growth(self, until: float) -> float:
        """Bytes a trial, from a tenth of the trials on, before `until`."""
        total = max(done for _, done, _ in self.samples)
        seen = [(done, rss) for now, done, rss in self.samples if done >= total / 10 and now <= until]
        (first, low), (last, high) = seen[0], seen[-1]
        return (high - low) / max(last - first, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--lrs", type=int, default=20)
    parser.add_argument("--max-lanes", type=int, default=None, help="of a pack; else as the product makes them")
    parser.add_argument("--tracking-uri", default=None, help="else sqlite in a folder of its own")
    args = parser.parse_args()
    measure(args.trials, args.lrs, max_lanes=args.max_lanes, tracking_uri=args.tracking_uri)


def measure(num_trials: int, num_lrs: int, *, max_lanes: int | None = None, tracking_uri: str | None = None) -> float:
    """Milliseconds of bookkeeping a trial; prints where they went."""
    suite = make_suite(num_trials, num_lrs)
    memory = Memory()
    packs: list[int] = []
    cpu_before: list[float] = []  # of the driver, when a round's packs start

    def on_start(num_trials: int, num_packs: int, resources: Resources) -> None:
        packs.append(num_packs)
        cpu_before.append(time.process_time())

    def on_progress(progress: Progress) -> None:
        memory.done = progress.done

    with tempfile.TemporaryDirectory() as folder:
        started, cpu_started = time.monotonic(), time.process_time()
        store = Store(Path(folder), tracking_uri, warn=print)
        summary = run_suite(
            suite,
            store,
            Options(max_lanes=max_lanes),
            on_wait=lambda what: None,
            on_start=on_start,
            on_progress=on_progress,
        )
        total_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
        database = Path(folder, "mlflow.db")
        megabytes = database.stat().st_size / 1e6 if database.exists() else 0.0
    assert isinstance(summary.subject, Subject)
    assert summary.num_waiting == 0
    results = summary.subject.results
    num = results.height
    assert num == num_trials
    slots = psutil.cpu_count() or 1
    training_s = sum(results["wall_s"].to_list()) / slots
    phases = summary.phases
    kept_s = total_s - phases["start"] - training_s
    print(f"{num} trials in {packs[0]} packs, {slots} at once, {megabytes:.0f} MB database")
    print(f"in all {1000 * total_s / num:.1f} ms a trial ({total_s:.1f} s)")
    for name, seconds in phases.items():
        print(f"  {name}: {1000 * seconds / num:.1f} ms a trial ({seconds:.1f} s)")
    print(f"  of which training, on {slots} slots: {1000 * training_s / num:.1f} ms a trial")
    kept_cpu_s = cpu_s - (cpu_before[0] - cpu_started)
    print(f"processor time of the driver, all phases: {1000 * cpu_s / num:.1f} ms a trial")
    print(f"  of which after the start: {1000 * kept_cpu_s / num:.1f} ms a trial")
    print(f"bookkeeping, without start and training: {1000 * kept_s / num:.1f} ms a trial")
    print(f"memory of the driver: {memory.growth(started + total_s - phases['leaderboard']) / 1000:.1f} kB a trial "
          f"before the leaderboard, {memory.growth(started + total_s) / 1000:.1f} kB with it")  # fmt: skip
    return 1000 * kept_s / num


if __name__ == "__main__":
    main()
