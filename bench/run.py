"""run_suite(): the straight line from a suite to finished trials in the store; runs only what is missing."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.cluster import Resources, device_name, num_slots, place, ray_cluster
from bench.manifest import manifest
from bench.pack import Pack, make_packs
from bench.publish import Board, publish
from bench.schedule import Progress, run_packs, stop_on_interrupt
from bench.suite import Suite
from bench.tracking import Store, Tracker


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended."""

    num_trials: int
    num_found: int  # finished before this run
    progress: Progress | None  # None if nothing was missing
    num_waiting: int  # packs in the outbox that the store did not take
    was_interrupted: bool
    board: Board | None  # None if there is no result, or the store could not be read
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


def run_suite(
    suite: Suite,
    store: Store,
    *,
    address: str | None,
    max_lanes: int | None,
    is_reference: bool = False,
    on_start: Callable[[int, int, Resources], None],
    on_progress: Callable[[Progress], None],
) -> Summary:
    """Train what the store does not hold yet, deliver it, compute and publish the leaderboard.

    is_reference: attention by the dense reference alone, no fast path.
    on_start gets the number of missing trials, of packs, and what each pack takes. The first Ctrl-C lets packs in
    training finish; the second raises KeyboardInterrupt, and what was finished is kept.

    Raises UsageError if the suite is being run already, StoreError if store or cluster can't be reached.
    """
    phases = Phases()
    store.create()
    tracker = Tracker(store, suite.name)
    stop = threading.Event()
    progress = None
    board = None
    try:
        trials = suite.expand()
        finished = tracker.finished()
        num_found = sum(trial.id in finished for trial in trials)
        if num_found < len(trials):
            with ray_cluster(address), stop_on_interrupt(stop, store.warn):
                tracker.start(json.dumps(manifest(suite, device=device_name(), is_reference=is_reference), indent=2))
                resources, packs = plan(suite, finished, max_lanes)
                on_start(len(trials) - num_found, len(packs), resources)
                phases.end("start")
                progress = _train(packs, resources, store, tracker, stop, on_progress, is_reference=is_reference)
                phases.end("training")
        if tracker.deliver() == 0:
            phases.end("delivery")
            if not tracker.finished().isdisjoint(trial.id for trial in trials):
                board = publish(suite, store, tracker)
            tracker.finish("KILLED" if stop.is_set() else "FINISHED")
            phases.end("leaderboard")
    finally:
        num_waiting = tracker.close()
    return Summary(
        num_trials=len(trials),
        num_found=num_found,
        progress=progress,
        num_waiting=num_waiting,
        was_interrupted=stop.is_set(),
        board=board,
        phases=phases.seconds,
    )


def _train(
    packs: list[Pack],
    resources: Resources,
    store: Store,
    tracker: Tracker,
    stop: threading.Event,
    on_progress: Callable[[Progress], None],
    *,
    is_reference: bool,
) -> Progress:
    """Run packs with a fresh folder for Tune's checkpoints; one that a killed run left is of no use."""
    storage = store.home / "tune" / tracker.outbox.folder.name
    shutil.rmtree(storage, ignore_errors=True)
    progress = run_packs(
        packs,
        resources=resources,
        storage=storage,
        stop=stop,
        on_finished=tracker.put,
        on_progress=on_progress,
        is_reference=is_reference,
    )
    shutil.rmtree(storage, ignore_errors=True)
    return progress


def plan(suite: Suite, finished: set[str], max_lanes: int | None) -> tuple[Resources, list[Pack]]:
    """What a pack takes, and the packs of the unfinished trials, on the connected cluster.

    Packs are made of all trials and then lose the finished ones: a resume trains what is left in the same packs.
    """
    trials = suite.expand()
    placement = place(trials, max_lanes=max_lanes)
    lanes = dict(placement.lanes)
    if placement.resources.device == "cpu":  # a CPU left idle costs more than fuller packs save
        share = max(1, -(-len(trials) // num_slots(placement.resources)))
        lanes = {workload: min(number, share) for workload, number in lanes.items()}
    packs = []
    for pack in make_packs(trials, max_lanes=lambda trial: lanes[trial.workload]):
        missing = tuple(trial for trial in pack.trials if trial.id not in finished)
        if missing:
            packs.append(Pack(trials=missing))
    return placement.resources, packs
