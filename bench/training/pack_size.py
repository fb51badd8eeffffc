"""How many trials to train as one pack: found by a short probe on the device.

The probe counts the operations, bytes and arithmetic of one step, so that it finds the same at every start, on a busy
laptop too. On a GPU it then takes steps to see how many lanes fit. Where the fused program computes the steps on a GPU
nothing is tried: its lanes have no operations in common, and what they hold is small and known.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.entry import build
from bench.errors import ENTRY_ERRORS
from bench.lazy import torch
from bench.training.compile import CPU_CORE, H100, Cost, Speed
from bench.training.fused.program import trains
from bench.training.history import History, observations
from bench.training.interventions import kinds_of
from bench.training.lane import LaneProgram
from bench.training.pack import Pack, pack_key
from bench.training.train import PackRun
from bench.trial import Choice, Trial
from bench.workloads import WORKLOADS

# A pack's time a lane falls until the device is full: measured at batch 16 on two CPU cores, and on an H100.
MAX_LANES = {"cpu": 48, "cuda": 128}
MAX_OVERHEAD = 0.1  # of a step, relative to the work of its lanes: what more lanes would still save
MAX_MEMORY_SHARE = 0.7  # of the GPU, for one pack
# Processes share a GPU by turns: some compile while another trains. On an H100 with 16 cores the seven packs of Table 1
# took 79 s all at once, 102 s four at a time.
MAX_PACKS_PER_GPU = 8
GPU_HEADROOM = 1.25  # on the measured memory of a pack
CUDA_CONTEXT_BYTES = 600 * 2**20  # of a process, measured on an H100
# What a lane of the fused program holds at most, in numbers of its attention and its traces: while it is looked into,
# and what is done with a trace at its end. On a GPU tests/conformance/test_fused_cuda.py compares it with what is used.
ATTENTION_COPIES = 32
TRACE_COPIES = 4


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the probe found for trials that can train together."""

    num_lanes: int
    num_bytes: int = 0  # of GPU memory, the process included
    total_bytes: int = 1  # of the GPU


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one pack takes."""

    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What every pack takes, the most lanes of a pack by its workload, and how many packs train at once."""

    resources: Resources
    lanes: dict[Choice, int]
    num_slots: int


def placed(fits: Mapping[Choice, Fit], *, num_cpus: float, num_gpus: float) -> Placement:
    """A CPU for each pack, and a share of a GPU by measured memory if there are any."""
    share = 0.0
    if num_gpus:
        memory = max(GPU_HEADROOM * of_workload.num_bytes / of_workload.total_bytes for of_workload in fits.values())
        share = max(memory, 1 / MAX_PACKS_PER_GPU, num_gpus / num_cpus)
        share = 1.0 if share > 0.5 else 1 / int(1 / share)
    resources = Resources(cpus=1, gpus=share)
    lanes = {workload: of_workload.num_lanes for workload, of_workload in fits.items()}
    return Placement(resources=resources, lanes=lanes, num_slots=slots(resources, num_cpus=num_cpus, num_gpus=num_gpus))


def slots(resources: Resources, *, num_cpus: float, num_gpus: float) -> int:
    """Packs that so many CPUs and GPUs can train at once."""
    by_cpu = num_cpus // resources.cpus
    return max(1, int(min(by_cpu, num_gpus // resources.gpus) if resources.gpus else by_cpu))


def widest_groups(trials: Iterable[Trial]) -> dict[Choice, list[Trial]]:
    """The largest group of trials of each workload that can train together: `fit` of it holds for the workload."""
    groups: dict[Choice, dict[str, list[Trial]]] = {}
    for trial in trials:
        groups.setdefault(trial.workload, {}).setdefault(pack_key(trial), []).append(trial)
    return {workload: max(by_key.values(), key=len) for workload, by_key in groups.items()}


def most_lanes(trials: Sequence[Trial], *, device: str, max_lanes: int | None = None) -> int:
    """What trials of one pack key may have: at most `max_lanes`, the device's MAX_LANES and the workload's."""
    workload = build(WORKLOADS, trials[0].workload)
    return min(max_lanes or MAX_LANES[device], len(trials), workload.max_lanes or len(trials))


def busy_lanes(lanes: Mapping[Choice, int], *, num_trials: int, num_slots: int) -> dict[Choice, int]:
    """The most lanes by workload that leave no slot of a cluster of CPUs idle: that costs more than fuller packs save.

    lanes: those that pay and fit. num_slots: packs that train at once.
    """
    share = max(1, -(-num_trials // num_slots))
    return {workload: min(number, share) for workload, number in lanes.items()}


def fit(trials: Sequence[Trial], *, device: str, max_lanes: int | None = None) -> Fit:
    """The number of lanes for trials of one pack key: what pays, what fits, and at most `most_lanes`."""
    limit = most_lanes(trials, device=device, max_lanes=max_lanes)
    num_lanes = max(1, min(_probed_lanes(trials[0], device), limit)) if limit > 1 else 1
    return Fit(num_lanes=num_lanes) if device == "cpu" else _fit_memory(trials, num_lanes)


def are_fused(trials: Iterable[Trial], *, is_reference: bool = False) -> bool:
    """Whether the fused program trains all trials where a device has it, so that `fused_fits` stands for `fit`.

    False where an entry fails: training it gives the outcome.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(pack_key(trial), []).append(trial)
    try:
        return all(_is_fused(Pack(trials=tuple(group)), is_reference=is_reference) for group in groups.values())
    except ENTRY_ERRORS:
        return False


def fused_fits(trials: Sequence[Trial], *, total_bytes: int, max_lanes: int | None = None) -> dict[Choice, Fit]:
    """By workload what `fit` would find on a GPU of so many bytes; nothing is tried."""
    fits = {}
    for workload, largest in widest_groups(trials).items():
        num_lanes = most_lanes(largest, device="cuda", max_lanes=max_lanes)
        while num_lanes > 1 and fused_bytes(largest[:num_lanes]) > MAX_MEMORY_SHARE * total_bytes:
            num_lanes //= 2
        num_bytes = fused_bytes(largest[:num_lanes])
        fits[workload] = Fit(num_lanes=num_lanes, num_bytes=num_bytes, total_bytes=total_bytes)
    return fits


def _is_fused(pack: Pack, *, is_reference: bool) -> bool:
    """Whether the fused program knows the pack, and nothing is observed that takes more memory than attention does."""
    first = pack.trials[0]
    are_of_attention = all(probe.is_of_attention for one in observations(first).values() for probe in one.probes)
    return are_of_attention and trains(LaneProgram.of(first, interventions=kinds_of(pack), is_reference=is_reference))


def fused_bytes(trials: Sequence[Trial]) -> int:
    """The most that a process on a GPU takes in which the fused program trains a pack of these trials."""
    workload = build(WORKLOADS, trials[0].workload)
    history = History(Pack(trials=tuple(trials)), workload, device=torch.device("meta"), dtype=torch.float32)
    traces = sum(tensor.nbytes for tensor in history.tensors.values())
    size = history.tensors["loss"].element_size()
    a_layer = workload.batch_size * workload.num_keys * (workload.num_keys + workload.model.width)
    attention = len(trials) * workload.num_layers * a_layer * size
    return CUDA_CONTEXT_BYTES + TRACE_COPIES * traces + ATTENTION_COPIES * attention


def lanes_that_pay(step: Cost, speed: Speed) -> int:
    """How many lanes hide the time of a step's operations behind their work, all but MAX_OVERHEAD of it; 0 if one does.

    A step takes a fixed time for its operations, however many lanes there are, and a time a lane; step: that of one.
    """
    return int(step.overhead_seconds(speed) / (MAX_OVERHEAD * step.work_seconds(speed)))


def _probed_lanes(trial: Trial, device: str) -> int:
    try:
        step = PackRun(Pack(trials=(trial,)), device=device).step_cost()
    except torch.OutOfMemoryError:
        return 1
    return lanes_that_pay(step, CPU_CORE if device == "cpu" else H100)


def _fit_memory(trials: Sequence[Trial], num_lanes: int) -> Fit:
    """Lanes are halved until they fit. A single lane that does not fit is left to be an outcome."""
    while True:
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.reset_peak_memory_stats()
        try:
            run = PackRun(Pack(trials=tuple(trials[:num_lanes])), device="cuda")
            run.dry_step()
            used = torch.cuda.max_memory_allocated() + CUDA_CONTEXT_BYTES
        except torch.OutOfMemoryError:
            used = total
        finally:
            run = None
            gc.collect()
            torch.cuda.empty_cache()
        if num_lanes == 1 or used <= MAX_MEMORY_SHARE * total:
            return Fit(num_lanes=num_lanes, num_bytes=used, total_bytes=total)
        num_lanes //= 2
