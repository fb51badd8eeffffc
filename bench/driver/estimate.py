"""What a suite would take, from a short timed probe: trials, packs, seconds, bytes on disk."""

from __future__ import annotations

import dataclasses
import os
import time

from bench.lazy import torch
from bench.probes.base import quantities_of
from bench.suite import Suite
from bench.trace import TRAINING_QUANTITIES
from bench.training.history import observations
from bench.training.pack import Pack, make_packs, pack_key
from bench.training.pack_size import fit
from bench.training.train import PackRun
from bench.trial import Choice, Trial

PROBE_SECONDS = 3.0  # of training, for each workload
BYTES_PER_TRACE_VALUE = 4.5  # in a Parquet artifact, measured
BYTES_PER_TRIAL = 40_000  # of runs, metrics and tags in the embedded store, measured


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """seconds are of the whole suite on this machine, all slots busy; start-up and delivery come on top."""

    num_trials: int
    num_packs: int
    seconds: float
    num_bytes: int
    device: str


def estimate(suite: Suite, *, max_lanes: int | None) -> Estimate:
    """Time one pack of every workload for a few seconds on this machine and scale it up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    slots = torch.cuda.device_count() if device == "cuda" else os.cpu_count() or 1
    groups: dict[Choice, list[Trial]] = {}
    for trial in suite.expand():
        groups.setdefault(trial.workload, []).append(trial)
    lanes = {own: fit(_alike(group), device=device, max_lanes=max_lanes).num_lanes for own, group in groups.items()}
    packs = make_packs(suite.expand(), max_lanes=lambda trial: lanes[trial.workload])
    by_workload: dict[Choice, list[Pack]] = {}
    for pack in packs:
        by_workload.setdefault(pack.trials[0].workload, []).append(pack)
    seconds = 0.0
    num_values = 0
    for group in by_workload.values():
        run = PackRun(group[0], device=device)
        run.advance(max_steps=1)  # compiles
        started, first = time.monotonic(), run.step
        while not run.done and time.monotonic() - started < PROBE_SECONDS:
            run.advance(max_steps=16, max_seconds=PROBE_SECONDS)
        per_lane_step = (time.monotonic() - started) / ((run.step - first) * len(group[0].trials) or 1)
        seconds += per_lane_step * sum(trial.num_steps for pack in group for trial in pack.trials)
        layers = run.program.workload.num_layers
        num_values += sum(_num_traced(trial, num_layers=layers) for pack in group for trial in pack.trials)
    num_bytes = int(num_values * BYTES_PER_TRACE_VALUE + suite.num_trials * BYTES_PER_TRIAL)
    return Estimate(
        num_trials=suite.num_trials,
        num_packs=len(packs),
        seconds=seconds / min(slots, len(packs)),
        num_bytes=num_bytes,
        device=device,
    )


def _num_traced(trial: Trial, *, num_layers: int) -> int:
    """Values in a trial's trace; those of held-out data as if they were taken with the losses."""
    num_values = len(TRAINING_QUANTITIES) * (trial.num_steps // trial.probe_every + 1)
    for each in observations(trial).values():
        quantities = quantities_of(each.probes).values()
        num_values += sum(num_layers if one.per_layer else 1 for one in quantities) * len(each.steps)
    return num_values


def _alike(trials: list[Trial]) -> list[Trial]:
    """Those that can train together with the first."""
    return [trial for trial in trials if pack_key(trial) == pack_key(trials[0])]
