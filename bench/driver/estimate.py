"""What a suite would take: the packs that a run would make, some of them timed for some seconds on this machine."""

from __future__ import annotations

import heapq
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.driver.disk import bytes_on_disk
from bench.driver.manifest import ENTRY_ERRORS
from bench.driver.plan import plan
from bench.driver.queues import SearchQueue
from bench.entry import build
from bench.lazy import torch
from bench.methods import METHODS
from bench.outcome import Outcome, Result
from bench.suite import Suite
from bench.training.compile import pays
from bench.training.fused import cuda
from bench.training.history import History
from bench.training.inductor import Compiling
from bench.training.inspection import one_thread
from bench.training.pack import Pack, pack_key
from bench.training.pack_size import Fit, Placement, are_fused, fit, fused_fits, most_lanes, placed, widest_groups
from bench.training.step_cost import num_parameters
from bench.training.train import PackRun
from bench.trial import Trial
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload

PROBE_SECONDS = 3.0  # of probing and timing, for the whole suite
STEP_SECONDS = 0.4  # of steps, for each program that is timed
# Of a command on two quiet cores, beside training: MLflow's store, Ray and the manifest; processes that load PyTorch,
# in every round of a search anew; delivery, leaderboard and the page in MLflow.
START_SECONDS, ROUND_SECONDS, END_SECONDS = 8.0, 5.0, 4.0
BOOKKEEPING_SECONDS = 0.04  # a trial
# In steps of training: a forward pass, as the loss at init and held-out data take, and an observation.
FORWARD = OBSERVATION = 0.35
FUSED_OBSERVATION = 2.5  # is not fused: the quickstart's, on two cores
TRACES = 2.0  # of a pack, in those of its step
# Inductor takes so long an operation, and leaves so much of a step's time (bench.training.compile).
COMPILE_SECONDS, COMPILED = 0.02, 0.55
# Operations of a step beyond which it is not tried: it takes seconds, and one lane fills the device.
MAX_FLOPS = {"cpu": 5e9, "cuda": 1e14}
FLOPS_SHARE = {"cpu": 0.5, "cuda": 0.4}  # of the rate of large products, which training reaches
LOW, HIGH = 0.75, 1.5  # what the estimate may be off by


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """seconds: from the command to the leaderboard on this machine; low, high: where they should lie.

    num_trials, num_packs: of a suite with a search what it is likely to ask for, most_trials at most.
    """

    num_trials: int
    most_trials: int
    num_packs: int
    num_slots: int
    seconds: float
    low: float
    high: float
    num_bytes: int
    device: str


@dataclass(frozen=True, kw_only=True)
class PackTime:
    """Of packs of one program: seconds until a step can be repeated, and of a step of one lane.

    observation: how many steps of the same lanes it takes.
    """

    ready_s: float
    lane_step_s: float
    observation: float = OBSERVATION


def estimate(suite: Suite, *, max_lanes: int | None, compiling: Compiling) -> Estimate:
    """Plan the suite as `run` does and time its largest programs, as many as a few seconds allow."""
    deadline = time.monotonic() + PROBE_SECONDS
    wall, cpu = time.monotonic(), time.process_time()
    with one_thread():  # as workers have
        placement = place_here(suite.expand(), max_lanes=max_lanes, compiling=compiling, deadline=deadline)
        rounds = [plan(suite, trials, placement) for trials in rounds_of(suite)]
        packs = [pack for packs in rounds for pack in packs]
        times = timed(packs, placement, compiling, deadline=deadline)
    device = placement.resources.device
    # Other processes leave less than a core to each of ours. A GPU's steps are not the processor's.
    busy = max(1.0, (time.monotonic() - wall) / max(time.process_time() - cpu, 1e-3)) if device == "cpu" else 1.0
    num_trials = sum(len(pack.trials) for pack in packs)
    fixed = busy * (START_SECONDS + END_SECONDS + BOOKKEEPING_SECONDS * num_trials)
    training = busy * sum(ROUND_SECONDS + _round_seconds(packs, times, placement) for packs in rounds)
    seconds = fixed + training
    return Estimate(
        num_trials=num_trials,
        most_trials=suite.most_trials,
        num_packs=len(packs),
        num_slots=placement.num_slots,
        seconds=seconds,
        low=LOW * seconds,
        high=HIGH * (fixed + training * suite.most_trials / num_trials),
        num_bytes=bytes_on_disk(packs),
        device=device,
    )


def place_here(trials: Sequence[Trial], *, max_lanes: int | None, compiling: Compiling, deadline: float) -> Placement:
    """What `bench.cluster.connect.place` finds on a cluster of this machine alone.

    Workloads that are not reached before the deadline, by the monotonic clock, get what the last one of their name got.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fits: dict = {}
    by_name: dict[str, Fit] = {}
    if device == "cuda" and compiling != "always" and cuda.is_installed() and are_fused(trials):
        fits = fused_fits(trials, total_bytes=torch.cuda.mem_get_info()[1], max_lanes=max_lanes)
    for workload, group in widest_groups(trials).items():
        if workload in fits:
            continue
        if _step_flops(group[0]) > MAX_FLOPS[device]:
            fits[workload] = Fit(num_lanes=1)
        elif workload.name in by_name and time.monotonic() > deadline:
            fits[workload] = by_name[workload.name]
        else:
            try:
                of_group = fit(group, device=device, max_lanes=max_lanes)
            except ENTRY_ERRORS:  # training gives the outcome
                of_group = Fit(num_lanes=most_lanes(group, device=device, max_lanes=max_lanes))
            fits[workload] = by_name[workload.name] = of_group
    num_gpus = torch.cuda.device_count() if device == "cuda" else 0
    return placed(fits, num_cpus=os.cpu_count() or 1, num_gpus=num_gpus)


def rounds_of(suite: Suite) -> Iterator[Sequence[Trial]]:
    """The trials of a run, all at once, or round by round of a search among results such as there often are."""
    if suite.search is None:
        yield suite.expand()
        return
    queue, (knob, low, high) = SearchQueue(suite, {}), _searched_range(suite, suite.search.knob)
    while trials := queue.next():
        yield trials
        queue.tell([_likely(trial, getattr(trial.knobs, knob), low, high) for trial in trials])


def _searched_range(suite: Suite, knob: str) -> tuple[str, float, float]:
    """The knob that results follow from, and its ends: of a box the learning rate, whose range is a point if fixed."""
    if suite.box is None or "lr" not in suite.box.root:
        values = getattr(suite.knobs, knob)
        return knob, min(values), max(values)
    return "lr", min(suite.box.root["lr"].ends), max(suite.box.root["lr"].ends)


def _likely(trial: Trial, value: float, low: float, high: float) -> Result:
    """Training improves over the first half of a knob's range and diverges in the last third of it."""
    share = math.log(value / low) / math.log(high / low) if 0 < low < high else (value - low) / max(high - low, 1e-9)
    diverges = share > 2 / 3
    return Result(
        trial=trial,
        outcome=Outcome.DIVERGED if diverges else Outcome.COMPLETED,
        initial_loss=1.0,
        final_loss=math.inf if diverges else 0.2 + 2 * (share - 0.5) ** 2,
        diverged_step=trial.num_steps // 2 if diverges else None,
        wall_s=0.0,
    )


def timed(packs: Sequence[Pack], placement: Placement, compiling: Compiling, *, deadline: float) -> dict[str, PackTime]:
    """By pack key. One program of every workload is timed, further ones until the deadline by their share of the work;
    of the others the mean of their workload's, or else of all, stands for what was not timed."""
    device = placement.resources.device
    work: dict[str, float] = {}
    first: dict[str, Pack] = {}
    for pack in packs:
        key = pack_key(pack.trials[0])
        first.setdefault(key, pack)
        work[key] = work.get(key, 0.0) + len(pack.trials) * pack.trials[0].num_steps
    times: dict[str, PackTime] = {}
    seen: dict[str, list[PackTime]] = {}
    keys = sorted(work, key=lambda key: -work[key])
    for key in sorted(keys, key=lambda key: first[key] is not _widest(first, keys, key)):
        workload = first[key].trials[0].workload.label
        if workload not in seen or time.monotonic() < deadline:
            try:
                times[key] = _time(first[key], device, compiling)
            except ENTRY_ERRORS:  # training gives the outcome
                continue
            seen.setdefault(workload, []).append(times[key])
    every = list(times.values()) or [PackTime(ready_s=0.0, lane_step_s=0.0)]  # nothing can be trained
    for key in keys:
        times.setdefault(key, _mean(seen.get(first[key].trials[0].workload.label, every)))
    return times


def _widest(first: dict[str, Pack], keys: Sequence[str], key: str) -> Pack:
    """The pack of the program with the most work of the same workload."""
    own = first[key].trials[0].workload
    return next(first[other] for other in keys if first[other].trials[0].workload == own)


def _mean(times: Sequence[PackTime]) -> PackTime:
    def mean(name: str) -> float:
        return sum(getattr(one, name) for one in times) / len(times)

    return PackTime(ready_s=mean("ready_s"), lane_step_s=mean("lane_step_s"), observation=mean("observation"))


def _time(pack: Pack, device: str, compiling: Compiling) -> PackTime:
    trial, num_lanes = pack.trials[0], len(pack.trials)
    flops = _step_flops(trial)
    if flops > MAX_FLOPS[device]:
        return PackTime(ready_s=3 * flops / _rate(device), lane_step_s=flops / _rate(device))
    run = PackRun(pack, device=device, compiling="never", may_be_fused=compiling != "always")
    ready_s, step_s = run.time_step(max_seconds=STEP_SECONDS)
    if run.is_fused:
        return PackTime(ready_s=ready_s, lane_step_s=step_s / num_lanes, observation=FUSED_OBSERVATION)
    if device == "cuda" and compiling != "never":
        step = run.step_cost()
        if compiling == "always" or pays(step, num_calls=trial.num_steps):
            ready_s, step_s = ready_s + COMPILE_SECONDS * step.num_operations, COMPILED * step_s
    return PackTime(ready_s=ready_s, lane_step_s=step_s / num_lanes)


def _round_seconds(packs: Sequence[Pack], times: dict[str, PackTime], placement: Placement) -> float:
    """Of packs that are trained in their order, as many at once as there are slots; those on a GPU step by turns."""
    ready, steps = [], []
    passes: dict[str, float] = {}
    for pack in packs:
        key = pack_key(pack.trials[0])
        if key not in passes:
            passes[key] = _num_passes(pack, times[key].observation)
        ready.append(TRACES * times[key].ready_s)
        steps.append(times[key].lane_step_s * len(pack.trials) * passes[key])
    if placement.resources.device == "cuda":
        return _makespan(ready, placement.num_slots) + sum(steps) / torch.cuda.device_count()
    return _makespan([a + b for a, b in zip(ready, steps, strict=True)], placement.num_slots)


def _makespan(seconds: Sequence[float], num_slots: int) -> float:
    """When the last ends, if each starts as soon as a slot is free."""
    free = [0.0] * num_slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _num_passes(pack: Pack, observation: float) -> float:
    """All that a pack computes, in steps of training; observation: one of all its lanes, in these."""
    trial = pack.trials[0]
    workload: Workload = build(WORKLOADS, trial.workload)
    history = History(pack, workload, device=torch.device("meta"), dtype=torch.float32)
    observed = sum(len(each.steps) for each in history.observations.values())
    evaluated = len(history.eval_rows) * _held_out_batches(workload) if history.eval_rows else 0.0
    return trial.num_steps + FORWARD * (history.loss_window + evaluated) + observation * observed


def _held_out_batches(workload: Workload) -> float:
    """Held-out data, in batches of training."""
    held_out = next(iter(workload.held_out(torch.device("cpu")).values()))
    return held_out.shape[0] * held_out.shape[1] / _batch_size(workload)


def _batch_size(workload: Workload) -> int:
    zero = torch.zeros(1, dtype=torch.int64)
    return next(iter(workload.batches(zero, zero).values())).shape[2]


def _step_flops(trial: Trial) -> float:
    """About 6 for each parameter and token."""
    workload: Workload = build(WORKLOADS, trial.workload)
    return 6.0 * num_parameters(workload, build(METHODS, trial.method)) * workload.num_keys * _batch_size(workload)


def _rate(device: str, *, size: int = 1024) -> float:
    """Operations a second that training reaches, from those of a large product."""
    a, clock = torch.ones(size, size, device=device), time.process_time if device == "cpu" else time.monotonic
    seconds = []
    for _ in range(3):
        started = clock()
        (a @ a).sum().item()
        seconds.append(clock() - started)
    return FLOPS_SHARE[device] * 2 * size**3 / min(seconds)
