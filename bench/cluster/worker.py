"""The worker: trains one pack after another for Ray Tune, in short slices, with checkpoints on a time cadence."""

from __future__ import annotations

import faulthandler
import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune

from bench.cluster.retries import lost
from bench.cluster.worker_options import WorkerOptions
from bench.errors import reason
from bench.lazy import torch
from bench.outcome import Outcome, Result
from bench.training.inductor import Uncompiled
from bench.training.pack import Pack
from bench.training.train import PackRun

SLICE_SECONDS = 2.0  # of training between two reports to the driver
MAX_CHECKPOINT_SHARE = 0.05  # of the time, where a checkpoint takes long to write
GPU_FAILURES = ("CUDA error", "CUBLAS_STATUS", "cuDNN error", "NCCL error")
OUT_OF_MEMORY_ADVICE = (
    "one trial alone does not fit the device; a smaller batch_size, more num_micro_batches, checkpointing, or bfloat16 "
    "take less memory"
)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a worker returns for a pack: opaque to Tune."""

    results: list[Result]
    traces: dict[str, Any]  # trial id -> frame of TRACE_COLUMNS


class PackTrainable(tune.Trainable):
    """Trains what a configuration names: lanes `start` to `stop` of the pack `pack`."""

    def setup(  # pyright: ignore
        self, config: dict[str, Any], *, packs: Mapping[str, Pack], device: str, options: WorkerOptions
    ) -> None:
        self._packs, self._device, self._options = packs, device, options
        self._checkpoints, self._every_s, self._warning = options.checkpoints, options.checkpoints.every_s, ""
        if not options.checkpoints.is_shared():
            self._checkpoints = None
            uri = options.checkpoints.uri
            self._warning = f"a node does not see {uri}: no checkpoints there; --checkpoints names a shared one"
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for a slice. A step that hangs ends the process, which no lock of Python's can hold up."""
        if self._options.timeout_s:
            faulthandler.dump_traceback_later(self._options.timeout_s, exit=True)
        try:
            return self._train_slice()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _train_slice(self) -> dict[str, Any]:
        lost_as: tuple[Outcome, str] | None = None
        try:
            if self._run is None:
                self._run = self._start_run()
            self._run.advance(max_seconds=SLICE_SECONDS)
            self._keep_uncompiled()
            self._standing |= self._run.standing
            if self._run.done:
                self._results += self._run.results()
                self._traces |= self._run.traces()
                self._queue.pop(0)
                self._run = None
        except torch.OutOfMemoryError as error:
            lost_as = Outcome.OUT_OF_MEMORY, f"{OUT_OF_MEMORY_ADVICE} ({str(error).splitlines()[0][:200]})"
        except Exception as error:  # a method's code may raise anything
            if is_gpu_failure(error):
                raise  # nothing more can be done in this process
            lost_as = Outcome.CRASHED, reason(error)
        if lost_as is not None:  # outside `except`, whose traceback holds tensors
            self._split(*lost_as)
        self._checkpoint_if_due()
        report = {"steps": self._lane_steps(), "done": not self._queue, "warning": self._warning}
        report["uncompiled"] = self._uncompiled
        report["standing"] = self._standing
        if not self._queue:
            report["finished"] = Finished(results=self._results, traces=self._traces)
        return report

    def _begin(self, config: Mapping[str, Any]) -> None:
        pack = Pack(trials=self._packs[config["pack"]].trials[config["start"] : config["stop"]])
        self._queue = [pack]  # more than one only after a pack did not fit and was halved
        self._run: PackRun | None = None
        self._results: list[Result] = []
        self._traces: dict[str, Any] = {}
        self._uncompiled: tuple[Uncompiled, ...] = ()
        self._standing: dict[str, tuple[float, float]] = {}
        self._next_checkpoint = time.monotonic() + self._every_s

    def _start_run(self) -> PackRun:
        """A pack from its last checkpoint, if there is one that this version can continue."""
        pack = self._queue[0]
        run = PackRun(
            pack,
            device=self._device,
            is_reference=self._options.is_reference,
            compiling=self._options.compiling,
            watch=self._options.watch,
            pruning=self._options.pruning,
        )
        state = self._checkpoints.load(pack.id) if self._checkpoints else None
        if state is not None:
            try:
                run.load(state)
            except ValueError as error:
                self._warning = f"{error}: the pack begins anew"
        return run

    def _checkpoint_if_due(self) -> None:
        started = time.monotonic()
        if self._run is None or self._checkpoints is None or started < self._next_checkpoint:
            return
        try:
            self._checkpoints.save(self._run.pack.id, self._run.state())
        except OSError as error:
            self._warning = f"no checkpoint could be written to {self._checkpoints.uri}: {error.strerror or error}"
        now = time.monotonic()
        self._next_checkpoint = now + max(self._every_s, (now - started) / MAX_CHECKPOINT_SHARE)

    def _split(self, outcome: Outcome, message: str) -> None:
        """Halve a pack that did not fit, or whose code raised; a single lane that does so is an outcome."""
        self._keep_uncompiled()
        self._run = None
        gc.collect()  # an interrupted trace leaves tensors in cycles
        torch.cuda.empty_cache()
        trials = self._queue.pop(0).trials
        if len(trials) == 1:
            self._results.append(lost(trials[0], outcome, message))
        else:
            middle = len(trials) // 2
            self._queue[:0] = [Pack(trials=trials[:middle]), Pack(trials=trials[middle:])]

    def _keep_uncompiled(self) -> None:
        """What Inductor failed at outlives the run."""
        if self._run is not None:
            self._uncompiled = tuple(dict.fromkeys((*self._uncompiled, *self._run.uncompiled)))

    def _lane_steps(self) -> int:
        finished = sum(result.trial.num_steps for result in self._results)
        return finished + (self._run.step * len(self._run.pack.trials) if self._run else 0)


def is_gpu_failure(error: Exception) -> bool:
    """Whether an exception comes from a GPU whose process is of no use any more."""
    return isinstance(error, torch.AcceleratorError) or any(word in str(error) for word in GPU_FAILURES)
