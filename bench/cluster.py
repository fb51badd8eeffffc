"""The connected Ray cluster: start it or connect to it, what it is made of, and what one pack takes of it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})

import ray  # noqa: E402  (reads its environment when imported)
import torch  # noqa: E402

from bench.errors import StoreError  # noqa: E402
from bench.pack import Pack  # noqa: E402
from bench.train import PackRun  # noqa: E402

MAX_PACKS_PER_GPU = 4  # processes share a GPU by turns: more of them hide compilation, not more work
GPU_HEADROOM = 1.25  # on the measured memory of a pack
CUDA_CONTEXT_BYTES = 600 * 2**20  # of a process, measured on an H100
CONNECT_SECONDS = 5.0
OBJECT_STORE_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one pack takes."""

    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


@contextmanager
def ray_cluster(address: str | None = None) -> Iterator[None]:
    """Connect to a Ray cluster: `address`, or RAY_ADDRESS, or one started here for as long as the block lasts.

    Raises StoreError where the cluster can't be reached.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    logging.getLogger("ray").setLevel(logging.ERROR)
    local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StoreError(f"Ray cluster {address!r} can't be reached: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def device_name() -> str:
    """What packs train on, in words: the GPUs of the connected cluster, or its CPUs."""
    cluster = ray.cluster_resources()
    kinds = [name.removeprefix("accelerator_type:") for name in cluster if name.startswith("accelerator_type:")]
    if cluster.get("GPU"):
        return f"{cluster['GPU']:g} GPU ({', '.join(kinds) or 'kind unknown'})"
    return f"{cluster.get('CPU', 1):g} CPU"


def num_slots(resources: Resources) -> int:
    """Packs that the connected cluster can train at once."""
    cluster = ray.cluster_resources()
    by_cpu = cluster.get("CPU", 1) // resources.cpus
    return max(1, int(min(by_cpu, cluster["GPU"] // resources.gpus) if resources.gpus else by_cpu))


def choose_resources(pack: Pack) -> Resources:
    """What one pack takes on the connected cluster: a share of a GPU by measured memory if it has any, else a CPU."""
    cluster = ray.cluster_resources()
    num_gpus, num_cpus = cluster.get("GPU", 0), cluster.get("CPU", 1)
    if not num_gpus:
        return Resources(cpus=1, gpus=0)
    used, total = ray.get(ray.remote(num_cpus=1, num_gpus=1)(measure_memory).remote(pack))
    share = max(GPU_HEADROOM * used / total, 1 / MAX_PACKS_PER_GPU, num_gpus / num_cpus)
    return Resources(cpus=1, gpus=1.0 if share > 0.5 else 1 / int(1 / share))


def measure_memory(pack: Pack) -> tuple[int, int]:
    """Bytes that a pack takes on this process's GPU, and that the GPU has; extrapolated from packs of 1 and 3 lanes."""
    peaks = []
    for num_lanes in (1, 3):
        run = PackRun(Pack(trials=pack.trials[:num_lanes]), device="cuda")
        torch.cuda.reset_peak_memory_stats()
        run.dry_step()
        peaks.append(torch.cuda.max_memory_allocated())
        del run
    lanes = len(pack.trials)
    used = peaks[0] + (peaks[1] - peaks[0]) // 2 * (lanes - 1) if lanes >= 3 else peaks[-1]
    return used + CUDA_CONTEXT_BYTES, torch.cuda.mem_get_info()[1]


def _knock(address: str) -> None:
    """Raise StoreError at once where nothing listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].partition(":")
    if not port:  # "local", "auto"
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise StoreError(f"Ray cluster {address!r} can't be reached: {error}") from error
