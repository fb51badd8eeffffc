"""run_suite(): the straight line from a suite to finished trials in the store; runs only what is missing."""

from __future__ import annotations

import contextlib
import importlib
import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.subject import AnySubject
from bench.cluster.connect import device_name, has_gpu, place, ray_cluster, wanted_gpus
from bench.cluster.interrupts import stop_on_interrupt
from bench.cluster.metrics import DriverMetrics
from bench.cluster.schedule import Progress, run_packs
from bench.driver.live import LiveNumbers
from bench.driver.manifest import manifest
from bench.driver.options import Options
from bench.driver.plan import plan
from bench.driver.queues import GridQueue, Queue, SearchQueue
from bench.driver.summary import Phases, Summary
from bench.errors import StoreError
from bench.lazy import polars
from bench.outcome import Outcome, Result
from bench.results.publish import check_renderer, publish
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.store import Store, Tracker, read_results, read_searched
from bench.suite import Suite
from bench.training.pack_size import Placement, Resources
from bench.trial import Trial

NOTED = ("total", "completed", "diverged", "failed", "running", "retries")  # of the progress, on the suite run


def _silent(*what: object) -> None:
    """Says nothing of what is done."""


def run_suite(
    suite: Suite,
    store: Store,
    options: Options,
    *,
    on_start: Callable[[int, int, Resources], object] = _silent,
    on_progress: Callable[[Progress], object] = _silent,
    on_wait: Callable[[str], object] = _silent,
) -> Summary:
    """Train what the store does not hold yet, deliver it, compute and publish the leaderboard.

    A suite with a search is trained round by round, until every search is done.

    on_start gets the number of missing trials, of packs, and what each pack takes; on_wait what is done before and
    after training, in words, as it begins. The first Ctrl-C lets packs in training finish; the second, or a SIGTERM,
    raises KeyboardInterrupt, and what was finished is kept.

    Raises UsageError if the suite is being run already, if an entry of the user's own lacks a property that a sample of
    bench.testing tries, or figures are wanted and what draws them is not installed; StoreError if store or cluster
    can't be reached.
    """
    phases = Phases()
    _check_first(suite, options)
    on_wait("opening the store")
    store.create()
    training = Training(
        suite=suite,
        store=store,
        tracker=Tracker(store, suite.name, curve_points=options.curve_points),
        options=options,
        stop=threading.Event(),
        on_start=on_start,
        on_progress=on_progress,
        on_wait=on_wait,
    )
    tracker, stop = training.tracker, training.stop
    tracker.keep_suite(suite.text)
    progress: list[Progress] = []
    try:
        queue = _queue(suite, store, tracker, options)
        if trials := queue.next():
            progress = training.run(queue, trials, phases)
        subject = training.publish(queue, phases)
    except KeyboardInterrupt:
        with contextlib.suppress(StoreError):
            tracker.finish("KILLED")
        raise
    finally:
        num_waiting = tracker.close()
    return Summary(
        num_trials=queue.num_trials,
        num_found=queue.num_found,
        progress=_sum(progress),
        num_waiting=num_waiting,
        is_disk_full=tracker.is_disk_full,
        was_interrupted=stop.is_set(),
        subject=subject,
        phases=phases.seconds,
    )


def _check_first(suite: Suite, options: Options) -> None:
    """Raises UsageError for what would end a run after it has trained, or make its results worthless."""
    if options.has_figures:
        check_renderer()
    if suite.own_entries:
        from bench.testing import refuse_broken  # which loads torch

        refuse_broken(suite)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One run of a suite: from trials to results in the outbox, on a Ray cluster, and from there to the board."""

    suite: Suite
    store: Store
    tracker: Tracker
    options: Options
    stop: threading.Event
    on_start: Callable[[int, int, Resources], object]
    on_progress: Callable[[Progress], object]
    on_wait: Callable[[str], object]
    said: set[str] = field(default_factory=set)  # why something was not compiled
    metrics: DriverMetrics = field(default_factory=DriverMetrics)
    live: LiveNumbers = field(default_factory=LiveNumbers)

    def run(self, queue: Queue, trials: Sequence[Trial], phases: Phases) -> list[Progress]:
        """Train `trials` and then what else the queue asks for; the progress of every round."""
        options, rounds = self.options, []
        # It takes seconds to import, as Ray does to start.
        threading.Thread(target=importlib.import_module, args=("torch",)).start()
        self.on_wait("connecting to Ray" if options.address else "starting Ray")
        with (
            ray_cluster(options.address, is_insecure=options.is_insecure),
            stop_on_interrupt(self.stop, self.store.warn),
            wanted_gpus(options.num_gpus, self.store.warn),
        ):
            plain = manifest(
                self.suite,
                device=device_name(),
                has_gpu=has_gpu(),
                is_reference=options.is_reference,
                compiling=options.compiling,
            ) | ({} if options.abort is None else {"abort_on_warning": options.abort.to_dict()})
            self.tracker.start(json.dumps(plain, indent=2))
            self.on_wait("finding how many trials fit into a pack")
            placement = place(
                self.suite.expand(),
                max_lanes=options.max_lanes,
                is_reference=options.is_reference,
                compiling=options.compiling,
            )
            phases.end("start")
            while trials and not self.stop.is_set():
                rounds.append(self._train(trials, placement, queue))
                trials = queue.next()
            if uncompiled := list(dict.fromkeys(str(what) for one in rounds for what in one.uncompiled)):
                self.tracker.amend(json.dumps(plain | {"uncompiled": uncompiled}, indent=2))
            phases.end("training")
        return rounds

    def publish(self, queue: Queue, phases: Phases) -> AnySubject | None:
        """Deliver what was finished and publish the board; None if the store can't be reached or has no result."""
        subject = None
        self.on_wait("delivering results")
        if self.tracker.deliver() == 0:
            phases.end("delivery")
            if not self.tracker.finished().isdisjoint(queue.trial_ids()):
                self.on_wait("computing the leaderboard")
                subject = read_subject(Stored.of(self.suite), self.store)
                publish(subject, self.store, self.tracker, has_figures=self.options.has_figures)
            self.tracker.finish("KILLED" if self.stop.is_set() else "FINISHED")
            phases.end("leaderboard")
        return subject

    def _train(self, trials: Sequence[Trial], placement: Placement, queue: Queue) -> Progress:
        packs = plan(self.suite, trials, placement)
        self.on_start(len(trials), len(packs), placement.resources)

        def keep(results: Sequence[Result], traces: Mapping[str, polars.DataFrame]) -> None:
            self.tracker.put(results, traces)
            queue.tell(results)

        folder = self.options.checkpoints or str(self.store.home / "checkpoints")
        options = self.options.of_workers(
            placement.resources.device,
            checkpoints=f"{folder.rstrip('/')}/{self.tracker.outbox.folder.name}",
            pruning=queue.pruning(),
        )
        with tempfile.TemporaryDirectory(prefix="bench-tune-", ignore_cleanup_errors=True) as storage:
            progress = run_packs(
                packs,
                resources=placement.resources,
                storage=Path(storage),
                options=options,
                stop=self.stop,
                on_finished=keep,
                on_progress=self._tell,
            )
        if progress.warning:
            self.store.warn(progress.warning)
        if not self.stop.is_set():
            options.checkpoints.clear()
        return progress

    def _tell(self, progress: Progress) -> None:
        self.tracker.note({name: getattr(progress, name) for name in NOTED}, self.live.numbers(progress))
        self.metrics.tell(self.suite.name, progress, num_waiting=len(self.tracker.outbox.entries()))
        for what in progress.uncompiled:
            if what.cause not in self.said:  # what else fails for the same cause is in the manifest
                self.said.add(what.cause)
                self.store.warn(str(what))
        self.on_progress(progress)


def _queue(suite: Suite, store: Store, tracker: Tracker, options: Options) -> Queue:
    finished = tracker.finished()
    if suite.search is None:
        if options.abort is not None:
            aborted = read_results(store, suite.name).filter(outcome=Outcome.ABORTED.value)
            finished |= set(aborted["trial_id"])
        return GridQueue(suite, finished)
    rows = read_searched(store, suite.name)
    if options.abort is None:
        rows = {trial_id: row for trial_id, row in rows.items() if row["outcome"] != Outcome.ABORTED.value}
    return SearchQueue(suite, rows)


def _sum(rounds: list[Progress]) -> Progress | None:
    """Counts of all rounds; None if nothing was trained."""
    if not rounds:
        return None
    total = Progress(total=sum(one.total for one in rounds))
    for one in rounds:
        total.completed += one.completed
        total.diverged += one.diverged
        total.failed += one.failed
        total.aborted += one.aborted
        total.pruned += one.pruned
        total.failures.update(one.failures)
    return total
