"""How many trials to train as one pack: found by a short probe on the device.

On a GPU the probe times steps and measures memory. It does not compile, which overstates what a launch costs: where it
finds no gain from more lanes, there is none. On a CPU it counts operations, bytes and arithmetic.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.entry import build
from bench.lazy import torch
from bench.pack import Pack
from bench.train import PackRun
from bench.trial import Trial
from bench.workloads import WORKLOADS

# A pack's time a lane falls until the device is full: measured at batch 16 on two CPU cores, and on an H100.
MAX_LANES = {"cpu": 48, "cuda": 128}
MIN_GAIN = 0.1  # more lanes must save this share of the time a lane
MAX_MEMORY_SHARE = 0.7  # of the GPU, for one pack
CUDA_CONTEXT_BYTES = 600 * 2**20  # of a process, measured on an H100
NUM_REPEATS = 3  # of which the fastest counts
# Of one core, in the middle of what laptops and servers do.
CPU_SECONDS_PER_OPERATION = 5e-6
CPU_BYTES_PER_SECOND = 1e10
CPU_FLOPS_PER_SECOND = 3e10


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the probe found for trials that can train together."""

    num_lanes: int
    num_bytes: int = 0  # of GPU memory, the process included
    total_bytes: int = 1  # of the GPU
    fills_device: bool  # more lanes, or a second pack beside it, would not be faster


def most_lanes(trials: Sequence[Trial], *, device: str, max_lanes: int | None = None) -> int:
    """What trials of one pack key may have: at most `max_lanes`, the device's MAX_LANES and the workload's."""
    workload = build(WORKLOADS, trials[0].workload)
    return min(max_lanes or MAX_LANES[device], len(trials), workload.max_lanes or len(trials))


def fit(trials: Sequence[Trial], *, device: str, max_lanes: int | None = None) -> Fit:
    """The fastest number of lanes for trials of one pack key, up to `most_lanes`."""
    limit = most_lanes(trials, device=device, max_lanes=max_lanes)
    return _fit_gpu(trials, limit) if device == "cuda" else _fit_cpu(trials, limit)


def _fit_cpu(trials: Sequence[Trial], limit: int) -> Fit:
    """A step takes a fixed cost and a cost a lane; lanes are added until the fixed share of a lane is small.

    Counted, not timed: a laptop does other things too.
    """
    step = PackRun(Pack(trials=tuple(trials[:1]))).step_cost()
    lane_s = step.num_bytes / CPU_BYTES_PER_SECOND + step.flops / CPU_FLOPS_PER_SECOND
    num_lanes = int(step.num_operations * CPU_SECONDS_PER_OPERATION / (MIN_GAIN * lane_s))
    return Fit(num_lanes=max(1, min(num_lanes, limit)), fills_device=True)


def _fit_gpu(trials: Sequence[Trial], limit: int) -> Fit:
    """Lanes are doubled while that is faster and fits. A single lane that does not fit is left to be an outcome."""
    best = Fit(num_lanes=1, num_bytes=1, fills_device=True)
    best_s = float("inf")
    num_lanes = 1
    while True:
        try:
            torch.cuda.reset_peak_memory_stats()
            run = PackRun(Pack(trials=tuple(trials[:num_lanes])), device="cuda")
            run.dry_step()
            seconds = _seconds(run) / num_lanes
        except torch.OutOfMemoryError:
            return best
        finally:
            run = None
            gc.collect()
        used = torch.cuda.max_memory_allocated() + CUDA_CONTEXT_BYTES
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.empty_cache()
        gains = seconds < best_s * (1 - MIN_GAIN)
        if num_lanes > 1 and not (gains and used <= MAX_MEMORY_SHARE * total):
            return best
        is_last = num_lanes == limit
        best = Fit(num_lanes=num_lanes, num_bytes=used, total_bytes=total, fills_device=not is_last)
        if is_last:
            return best
        best_s = seconds
        num_lanes = min(2 * num_lanes, limit)


def _seconds(run: PackRun) -> float:
    """Of a step of training, the fastest of a few after a first one."""
    seconds = []
    for _ in range(NUM_REPEATS + 1):
        started = time.monotonic()
        run.dry_step(only_training=True)
        torch.cuda.synchronize()
        seconds.append(time.monotonic() - started)
    return min(seconds[1:])
