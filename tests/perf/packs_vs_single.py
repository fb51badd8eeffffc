"""Packs against one trial a process, the same trials in one run: `python -m tests.perf.packs_vs_single --help`.

Both go through Ray Tune with reused workers on all slots of the machine. The single trials stop after --seconds: those
in training then finish, and the rate is over all that finished. Prints trials a second and their ratio.
"""

import argparse
import dataclasses
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.cluster.checkpoints import Checkpoints
from bench.cluster.connect import Resources, device_name, num_slots, place, ray_cluster
from bench.cluster.schedule import run_packs
from bench.cluster.worker_options import WorkerOptions
from bench.suite import find_suite, load_suite
from bench.training.pack import Pack, make_packs


def rate(packs: list[Pack], resources: Resources, seconds: float) -> tuple[int, float]:
    """Trials finished, and the seconds that it took."""
    finished: list[int] = []
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(uri=f"{folder}/checkpoints", token="", variant=resources.device)
        run_packs(
            packs,
            resources=resources,
            storage=Path(folder),
            options=WorkerOptions(checkpoints=checkpoints),
            stop=stop,
            on_finished=lambda results, traces: finished.append(len(results)),
            on_progress=lambda progress: None,
        )
    timer.cancel()
    return sum(finished), time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="quickstart")
    parser.add_argument("--seconds", type=float, default=60.0, help="for the single trials")
    parser.add_argument(
        "--gpu-slots", type=int, nargs="*", default=[], help="single trials on a GPU at once, to try too"
    )
    args = parser.parse_args()
    compare(args.suite, args.seconds, args.gpu_slots)


def compare(suite: str, seconds: float, gpu_slots: Sequence[int] = ()) -> float:
    """Trials a second of packs over the most that one trial a process reached; prints what both did."""
    trials, best = load_suite(find_suite(suite)).expand(), 0.0
    with ray_cluster():
        placement = place(trials)
        packed = placement.resources
        slots = num_slots(packed)
        share = len(trials) if packed.gpus else -(-len(trials) // slots)
        packs = make_packs(trials, max_lanes=lambda trial: min(placement.lanes[trial.workload], share))
        print(f"{suite} on {device_name()}: {len(trials)} trials in {len(packs)} packs, {slots} at once", flush=True)
        num_packed, packed_s = rate(packs, packed, 3600.0)
        print(f"packs: {num_packed} trials in {packed_s:.1f} s, {num_packed / packed_s:.3f} trials/s", flush=True)
        for gpus in (packed.gpus, *(1 / n for n in gpu_slots if packed.gpus)):
            single = dataclasses.replace(packed, gpus=gpus)
            num_singles, single_s = rate(make_packs(trials, max_lanes=1), single, seconds)
            best = max(best, num_singles / single_s)
            ratio = num_packed / packed_s / (num_singles / single_s)
            print(
                f"one trial a process, {num_slots(single)} at once: {num_singles} trials in {single_s:.1f} s, "
                f"{num_singles / single_s:.3f} trials/s; packs are {ratio:.1f} times as fast",
                flush=True,
            )
    return num_packed / packed_s / best


if __name__ == "__main__":
    main()
