"""run_suite(): the straight line from a suite to finished trials in the store; runs only what is missing."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cluster import Placement, Resources, device_name, num_slots, place, ray_cluster
from bench.lazy import polars
from bench.manifest import manifest
from bench.pack import Pack, make_packs
from bench.publish import Board, publish
from bench.publish_search import SearchBoard, publish_search
from bench.queues import GridQueue, Queue, SearchQueue
from bench.schedule import Progress, run_packs, stop_on_interrupt
from bench.suite import Suite
from bench.tracking import Store, Tracker, read_results
from bench.trial import Result, Trial


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended."""

    num_trials: int
    num_found: int  # finished before this run
    progress: Progress | None  # None if nothing was missing
    num_waiting: int  # packs in the outbox that the store did not take
    was_interrupted: bool
    board: Board | SearchBoard | None  # None if there is no result, or the store could not be read
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

    A suite with a search is trained round by round, until every search is done.

    is_reference: attention by the dense reference alone, no fast path.
    on_start gets the number of missing trials, of packs, and what each pack takes. The first Ctrl-C lets packs in
    training finish; the second raises KeyboardInterrupt, and what was finished is kept.

    Raises UsageError if the suite is being run already, StoreError if store or cluster can't be reached.
    """
    phases = Phases()
    store.create()
    tracker = Tracker(store, suite.name)
    stop = threading.Event()
    progress: list[Progress] = []
    board = None
    try:
        queue = _queue(suite, store, tracker)
        if trials := queue.next():
            with ray_cluster(address), stop_on_interrupt(stop, store.warn):
                tracker.start(json.dumps(manifest(suite, device=device_name(), is_reference=is_reference), indent=2))
                placement = place(suite.expand(), max_lanes=max_lanes)
                phases.end("start")
                while trials and not stop.is_set():
                    packs = plan(suite, trials, placement)
                    on_start(len(trials), len(packs), placement.resources)

                    def keep(results: Sequence[Result], traces: Mapping[str, polars.DataFrame]) -> None:
                        tracker.put(results, traces)
                        queue.tell(results)

                    progress.append(
                        _train(packs, placement.resources, store, tracker, stop, keep, on_progress, is_reference)
                    )
                    trials = queue.next()
                phases.end("training")
        if tracker.deliver() == 0:
            phases.end("delivery")
            if not tracker.finished().isdisjoint(queue.trial_ids()):
                board = (
                    publish(suite, store, tracker) if suite.search is None else publish_search(suite, store, tracker)
                )
            tracker.finish("KILLED" if stop.is_set() else "FINISHED")
            phases.end("leaderboard")
    finally:
        num_waiting = tracker.close()
    return Summary(
        num_trials=queue.num_trials,
        num_found=queue.num_found,
        progress=_sum(progress),
        num_waiting=num_waiting,
        was_interrupted=stop.is_set(),
        board=board,
        phases=phases.seconds,
    )


def _queue(suite: Suite, store: Store, tracker: Tracker) -> Queue:
    finished = tracker.finished()
    if suite.search is None:
        return GridQueue(suite, finished)
    rows = read_results(store, suite.name).iter_rows(named=True) if finished else ()
    return SearchQueue(suite, {row["trial_id"]: row for row in rows})


def _sum(rounds: list[Progress]) -> Progress | None:
    """Counts of all rounds; None if nothing was trained."""
    if not rounds:
        return None
    total = Progress(total=sum(one.total for one in rounds))
    for one in rounds:
        total.completed += one.completed
        total.diverged += one.diverged
        total.failed += one.failed
        total.failures.update(one.failures)
    return total


def _train(
    packs: list[Pack],
    resources: Resources,
    store: Store,
    tracker: Tracker,
    stop: threading.Event,
    keep: Callable[[Sequence[Result], Mapping[str, polars.DataFrame]], None],
    on_progress: Callable[[Progress], None],
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
        on_finished=keep,
        on_progress=on_progress,
        is_reference=is_reference,
    )
    shutil.rmtree(storage, ignore_errors=True)
    return progress


def plan(suite: Suite, missing: Sequence[Trial], placement: Placement) -> list[Pack]:
    """Packs of the trials to train.

    Those of a grid are made of all its trials and then lose the finished ones: a resume trains what is left in the same
    packs.
    """
    trials = suite.expand() if suite.search is None else missing
    lanes = dict(placement.lanes)
    if placement.resources.device == "cpu":  # a CPU left idle costs more than fuller packs save
        share = max(1, -(-len(trials) // num_slots(placement.resources)))
        lanes = {workload: min(number, share) for workload, number in lanes.items()}
    wanted = {trial.id for trial in missing}
    packs = []
    for pack in make_packs(trials, max_lanes=lambda trial: lanes[trial.workload]):
        left = tuple(trial for trial in pack.trials if trial.id in wanted)
        if left:
            packs.append(Pack(trials=left))
    return packs
