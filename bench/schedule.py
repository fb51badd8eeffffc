"""Run packs on Ray Tune: the only file that knows it. Ray Tune's "trial" is our pack.

Packs are handed to Tune one by one as slots get free, so that a stop request takes effect at once. A worker trains in
short slices, checkpoints through Tune on a time cadence and returns what it measured with its last result; the callback
on the driver takes that out before Tune keeps or writes anything of it.
"""

from __future__ import annotations

import gc
import logging
import re
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cluster import Resources, num_slots  # first: it sets what Ray reads when it is imported

# isort: split

import torch
from ray import tune
from ray.tune.search import Searcher

from bench.pack import Pack
from bench.train import PackRun
from bench.trial import Outcome, Result

SLICE_SECONDS = 2.0  # of training between two reports to the driver
CHECKPOINT_SECONDS = 60.0
OUT_OF_MEMORY_ADVICE = (
    "one trial alone does not fit the device; a smaller batch_size, more num_micro_batches, checkpointing, or bfloat16 "
    "take less memory"
)
MAX_FAILURES = 2  # of a pack: lost workers and crashes, each retried from the last checkpoint


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a worker returns for a pack: opaque to Tune."""

    results: list[Result]
    traces: dict[str, Any]  # trial id -> frame of TRACE_COLUMNS


@dataclass(kw_only=True)
class Progress:
    """Counts of trials, and lane steps for the time left."""

    total: int
    completed: int = 0
    diverged: int = 0
    failed: int = 0
    running: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # why trials failed, in words
    total_steps: int = 0
    steps: dict[str, int] = field(default_factory=dict)  # by pack id, in lane steps
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        return self.completed + self.diverged + self.failed

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def seconds_left(self) -> float | None:
        """None before the first step is known."""
        steps = sum(self.steps.values())
        return self.seconds * (self.total_steps / steps - 1) if steps else None


class PackTrainable(tune.Trainable):
    """A worker that trains one pack after another (Tune reuses it)."""

    def setup(  # pyright: ignore
        self, config: dict[str, Any], *, packs: dict[str, Pack], device: str, is_reference: bool
    ) -> None:
        self._packs, self._device, self._is_reference = packs, device, is_reference
        self._begin(packs[config["pack"]])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(self._packs[new_config["pack"]])
        return True

    def step(self) -> dict[str, Any]:
        out_of_memory = ""
        try:
            if self._run is None:
                self._run = self._start_run()
            self._run.advance(max_seconds=SLICE_SECONDS)
            if self._run.done:
                self._results += self._run.results()
                self._traces |= self._run.traces()
                self._queue.pop(0)
                self._run = None
        except torch.OutOfMemoryError as error:
            out_of_memory = str(error)
        if out_of_memory:  # outside `except`, whose traceback holds tensors
            self._split(out_of_memory)
        report = {"steps": self._lane_steps(), "done": not self._queue}
        if not self._queue:
            report["finished"] = Finished(results=self._results, traces=self._traces)
        return report

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        state = self._run.state() if self._run and len(self._queue) == 1 and not self._results else {}
        torch.save(state, Path(checkpoint_dir) / "pack.pt")

    def load_checkpoint(self, checkpoint: Any) -> None:
        state = torch.load(Path(checkpoint) / "pack.pt", weights_only=True)
        if state:
            self._run = self._start_run()
            self._run.load(state)

    def _start_run(self) -> PackRun:
        return PackRun(self._queue[0], device=self._device, is_reference=self._is_reference)

    def _begin(self, pack: Pack) -> None:
        self._queue = [pack]  # more than one only after a pack did not fit and was halved
        self._run: PackRun | None = None
        self._results: list[Result] = []
        self._traces: dict[str, Any] = {}

    def _split(self, message: str) -> None:
        """Halve the pack that did not fit; a single lane that does not fit is an outcome."""
        self._run = None
        gc.collect()  # an interrupted trace leaves tensors in cycles
        torch.cuda.empty_cache()
        trials = self._queue.pop(0).trials
        if len(trials) == 1:
            reason = f"{OUT_OF_MEMORY_ADVICE} ({message.splitlines()[0][:200]})"
            self._results.append(lost(trials[0], Outcome.OUT_OF_MEMORY, reason))
        else:
            middle = len(trials) // 2
            self._queue[:0] = [Pack(trials=trials[:middle]), Pack(trials=trials[middle:])]

    def _lane_steps(self) -> int:
        finished = sum(result.trial.num_steps for result in self._results)
        return finished + (self._run.step * len(self._run.pack.trials) if self._run else 0)


class PackSearcher(Searcher):
    """Hands out packs in order; none any more once `stop` is set."""

    def __init__(self, pack_ids: Sequence[str], stop: threading.Event) -> None:
        super().__init__()
        self._left = list(pack_ids)
        self._stop = stop

    def suggest(self, trial_id: str) -> Any:  # a configuration, or Searcher.FINISHED, which is a string
        if self._stop.is_set() or not self._left:
            return Searcher.FINISHED
        return {"pack": self._left.pop(0)}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing to learn from a result."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: what is missing is found anew at the next start, by tracking."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for Tuner.restore, which is not used


class DriverCallback(tune.Callback):
    """Takes results off Tune's hands on the driver and counts."""

    def __init__(
        self,
        packs: dict[str, Pack],
        progress: Progress,
        on_finished: Callable[[list[Result], dict[str, Any]], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._packs, self._progress = packs, progress
        self._on_finished, self._on_progress = on_finished, on_progress
        self._running: dict[str, int] = {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._running[trial.config["pack"]] = len(self._packs[trial.config["pack"]].trials)

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        pack_id = trial.config["pack"]
        self._progress.steps[pack_id] = result["steps"]
        finished: Finished | None = result.pop("finished", None)
        if finished is not None:
            self._take(pack_id, finished.results, finished.traces)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        pack = self._packs[trial.config["pack"]]
        message = _reason(trial.get_pickled_error())
        self._take(pack.id, [lost(one, Outcome.CRASHED, message) for one in pack.trials], {})

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        self._progress.running = sum(self._running.values())
        self._on_progress(self._progress)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for Tuner.restore, which is not used

    def _take(self, pack_id: str, results: list[Result], traces: dict[str, Any]) -> None:
        self._running.pop(pack_id, None)
        self._progress.completed += sum(result.outcome is Outcome.COMPLETED for result in results)
        self._progress.diverged += sum(result.outcome is Outcome.DIVERGED for result in results)
        failed = [result for result in results if not result.outcome.is_result]
        self._progress.failed += len(failed)
        self._progress.failures.update(f"{r.trial.method.label} {r.outcome}: {r.message}" for r in failed)
        self._progress.steps[pack_id] = sum(result.trial.num_steps for result in results)
        self._on_finished(results, traces)


def run_packs(
    packs: Sequence[Pack],
    *,
    resources: Resources,
    storage: Path,
    stop: threading.Event,
    on_finished: Callable[[list[Result], dict[str, Any]], None],
    on_progress: Callable[[Progress], None],
    is_reference: bool = False,
) -> Progress:
    """Train packs on the connected Ray cluster until all are done or `stop` is set; then those in training finish.

    `on_finished` gets each pack's results and traces on the driver, in the order in which packs end. A pack that
    crashed more than MAX_FAILURES times is handed over as CRASHED trials. Call it inside `ray_cluster`.
    """
    # It logs a traceback for each failure; here a failure is an outcome.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    by_id = {pack.id: pack for pack in packs}
    progress = Progress(
        total=sum(len(pack.trials) for pack in packs),
        total_steps=sum(trial.num_steps for pack in packs for trial in pack.trials),
    )
    trainable = tune.with_resources(
        tune.with_parameters(PackTrainable, packs=by_id, device=resources.device, is_reference=is_reference),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=PackSearcher(list(by_id), stop),
            num_samples=len(by_id),
            max_concurrent_trials=num_slots(resources),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="packs",
            storage_path=str(storage.resolve()),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1, checkpoint_frequency=int(CHECKPOINT_SECONDS / SLICE_SECONDS), checkpoint_at_end=False
            ),
            callbacks=[DriverCallback(by_id, progress, on_finished, on_progress)],
            verbose=0,
        ),
    )
    tuner.fit()
    return progress


@contextmanager
def stop_on_interrupt(stop: threading.Event, warn: Callable[[str], None]) -> Iterator[None]:
    """Inside the block the first Ctrl-C sets `stop`, the second raises KeyboardInterrupt."""

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        warn("stopping: packs in training finish, no new one starts; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def lost(trial: Any, outcome: Outcome, message: str) -> Result:
    """The result of a trial that gave none."""
    return Result(trial=trial, outcome=outcome, initial_loss=None, final_loss=None, wall_s=0.0, message=message)


def _reason(error: BaseException | None) -> str:
    """What went wrong in a worker and where, in one line: the end of the traceback that Ray sends along."""
    text = "".join(traceback.format_exception_only(error)).strip() if error else "unknown error"
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', text)
    place = " ({}:{} in {})".format(Path(frames[-1][0]).name, *frames[-1][1:]) if frames else ""
    return text.splitlines()[-1][:500] + place
