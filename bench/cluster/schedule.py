"""Run packs on Ray Tune: with worker.py and failures.py the only file that knows it. Ray Tune's "trial" is our pack.

Packs are handed to Tune one by one as slots get free, so that a stop request takes effect at once. The callback on the
driver takes results out before Tune keeps or writes anything of them. Retries and checkpoints are ours: Tune's know
neither a pack that must be split nor a folder that some nodes do not share.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cluster.connect import Resources, num_slots  # first: it sets what Ray reads when it is imported

# isort: split

from ray import tune
from ray.tune.error import TuneError
from ray.tune.search import Searcher

from bench.cluster.failures import failure_of
from bench.cluster.retries import Part, Retries
from bench.cluster.standings import Standings
from bench.cluster.worker import Finished, PackTrainable
from bench.cluster.worker_options import WorkerOptions
from bench.errors import BenchError
from bench.outcome import Outcome, Result
from bench.training.inductor import Uncompiled
from bench.training.pack import Pack


@dataclass(kw_only=True)
class Progress:
    """Counts of trials, and lane steps for the time left."""

    total: int
    completed: int = 0
    diverged: int = 0
    failed: int = 0
    aborted: int = 0
    pruned: int = 0
    running: int = 0
    parts: tuple[Part, ...] = ()  # in training
    failures: Counter[str] = field(default_factory=Counter)  # why trials failed, in words
    total_steps: int = 0
    steps: dict[Part, int] = field(default_factory=dict)  # in lane steps
    retries: int = 0  # attempts that failed
    warning: str = ""  # of a worker, about its checkpoints
    uncompiled: dict[Uncompiled, None] = field(default_factory=dict)  # what workers failed to compile, in order
    standings: Standings = field(default_factory=Standings)
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        return self.completed + self.diverged + self.failed + self.aborted + self.pruned

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def seconds_left(self) -> float | None:
        """None before the first step is known."""
        steps = sum(self.steps.values())
        return self.seconds * (self.total_steps / steps - 1) if steps else None


class PackSearcher(Searcher):
    """Hands out packs in order; none any more once `stop` is set."""

    def __init__(self, retries: Retries, stop: threading.Event) -> None:
        super().__init__()
        self._retries = retries
        self._stop = stop

    def suggest(self, trial_id: str) -> Any:  # a configuration, None for "not now", or Searcher.FINISHED
        if self._stop.is_set():
            return Searcher.FINISHED
        part = self._retries.next()
        if part is None:
            return None if self._retries.running else Searcher.FINISHED
        return {"pack": part.pack_id, "start": part.start, "stop": part.stop}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing to learn from a result."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: what is missing is found anew at the next start, by tracking."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for Tuner.restore, which is not used


class DriverCallback(tune.Callback):
    """Takes results off Tune's hands on the driver, decides about failures, and counts."""

    def __init__(
        self,
        packs: dict[str, Pack],
        retries: Retries,
        progress: Progress,
        options: WorkerOptions,
        *,
        on_finished: Callable[[list[Result], dict[str, Any]], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._packs, self._retries, self._progress = packs, retries, progress
        self._checkpoints, self._timeout_s = options.checkpoints, options.timeout_s
        self._on_finished, self._on_progress = on_finished, on_progress
        self._heard: dict[str, float] = {}  # by Tune's trial id: when it last gave a sign of life
        self.error: BenchError | None = None  # why results could not be kept: Tune makes a text of it

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._heard[trial.trial_id] = time.monotonic()

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self._heard[trial.trial_id] = time.monotonic()
        part = self._part(trial)
        self._progress.steps[part] = result["steps"]
        self._progress.warning = result["warning"] or self._progress.warning
        self._progress.uncompiled |= dict.fromkeys(result["uncompiled"])
        self._progress.standings.report(part, result.pop("standing"))
        finished: Finished | None = result.pop("finished", None)
        if finished is not None:
            failures = self._retries.finished(part)
            results = [dataclasses.replace(one, failures=failures) for one in finished.results]
            self._progress.standings.end(part, results)
            self._take(results, finished.traces)
            self._checkpoints.remove(Pack(trials=part.trials).id)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        part = self._part(trial)
        silent_s = time.monotonic() - self._heard.get(trial.trial_id, time.monotonic())
        failure = failure_of(trial, timed_out=0 < self._timeout_s <= silent_s)
        self._progress.retries += 1
        self._progress.standings.end(part, ())
        given_up = self._retries.failed(part, failure, steps=self._progress.steps.pop(part, 0))
        if given_up:
            self._progress.steps[part] = sum(result.trial.num_steps for result in given_up)
            self._take(given_up, {})

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        self._progress.parts = tuple(self._retries.running)
        self._progress.running = sum(len(part.trials) for part in self._progress.parts)
        self._on_progress(self._progress)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for Tuner.restore, which is not used

    def _part(self, trial: Any) -> Part:
        pack_id, start, stop = (trial.config[name] for name in ("pack", "start", "stop"))
        return Part(pack=self._packs[pack_id], pack_id=pack_id, start=start, stop=stop)

    def _take(self, results: list[Result], traces: dict[str, Any]) -> None:
        self._progress.completed += sum(result.outcome is Outcome.COMPLETED for result in results)
        self._progress.diverged += sum(result.outcome is Outcome.DIVERGED for result in results)
        self._progress.aborted += sum(result.outcome is Outcome.ABORTED for result in results)
        self._progress.pruned += sum(result.outcome is Outcome.PRUNED for result in results)
        failed = [one for one in results if not (one.outcome.is_result or one.outcome.is_stopped)]
        self._progress.failed += len(failed)
        self._progress.failures.update(f"{r.trial.method.label} {r.outcome}: {r.message}" for r in failed)
        try:
            self._on_finished(results, traces)
        except BenchError as error:
            self.error = error
            raise


def run_packs(
    packs: Sequence[Pack],
    *,
    resources: Resources,
    storage: Path,
    options: WorkerOptions,
    stop: threading.Event,
    on_finished: Callable[[list[Result], dict[str, Any]], None],
    on_progress: Callable[[Progress], None],
) -> Progress:
    """Train packs on the connected Ray cluster until all are done or `stop` is set; then those in training finish.

    `on_finished` gets each pack's results and traces on the driver, in the order in which packs end. A pack that fails
    is tried again from its last checkpoint, then split, then given up (bench.cluster.retries). Call it inside
    `ray_cluster`. Raises what `on_finished` raises of BenchError, the packs in training unfinished.
    """
    # It logs a traceback for each failure; here a failure is an outcome.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    by_id = {pack.id: pack for pack in packs}
    retries = Retries.of(packs)
    progress = Progress(
        total=sum(len(pack.trials) for pack in packs),
        total_steps=sum(trial.num_steps for pack in packs for trial in pack.trials),
    )
    options.checkpoints.start()
    trainable = tune.with_resources(
        tune.with_parameters(PackTrainable, packs=by_id, device=resources.device, options=options),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )
    callback = DriverCallback(by_id, retries, progress, options, on_finished=on_finished, on_progress=on_progress)
    searcher = PackSearcher(retries, stop)
    tuner = _tuner(trainable, searcher, callback, storage=storage, num_at_once=num_slots(resources))
    try:
        tuner.fit()
    except TuneError:
        if callback.error is not None:
            raise callback.error from None
        raise
    return progress


def _tuner(
    trainable: Any, searcher: PackSearcher, callback: DriverCallback, *, storage: Path, num_at_once: int
) -> tune.Tuner:
    """Tune without retries, checkpoints and output of its own."""
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=num_at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="packs",
            storage_path=str(storage.resolve()),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[callback],
            verbose=0,
        ),
    )
