"""The connected Ray cluster: start it or connect to it, what it is made of, and what one pack takes of it."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

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
from ray._common.utils import get_default_system_temp_dir  # noqa: E402
from ray._private import ray_constants  # noqa: E402
from ray.exceptions import RayError  # noqa: E402

from bench.addresses import is_loopback  # noqa: E402
from bench.errors import StoreError, UsageError, store_error  # noqa: E402
from bench.secrecy import kept_from_workers  # noqa: E402
from bench.training.fused.cuda import gpu_bytes  # noqa: E402
from bench.training.inductor import Compiling  # noqa: E402
from bench.training.pack_size import (  # noqa: E402
    Fit,
    Placement,
    Resources,
    are_fused,
    fit,
    fused_fits,
    most_lanes,
    placed,
    slots,
    widest_groups,
)
from bench.trial import Trial  # noqa: E402

CONNECT_SECONDS = 5.0
GPU_WAIT_SECONDS = 1200.0  # a cloud's machine with a GPU takes minutes to start
OBJECT_STORE_BYTES = 256 * 2**20
LONGEST_FOLDER = 24  # of the 107 letters that a socket's path may have, Ray's names take the rest


@contextmanager
def ray_cluster(address: str | None = None, *, is_insecure: bool = False) -> Iterator[None]:
    """Connect to a Ray cluster: `address`, or RAY_ADDRESS, or one started here for as long as the block lasts.

    Raises UsageError for one without token authentication, unless `is_insecure`: whoever reaches it runs code on it.
    Raises StoreError where it can't be reached.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if not is_insecure and not is_loopback(address) and os.environ.get("RAY_AUTH_MODE") != "token":
        raise UsageError(
            f"Ray cluster {address!r}: no token authentication, so whoever reaches it runs code on it; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here and there, or pass --insecure"
        )
    if address == "local" and not is_insecure and os.environ.get("RAY_AUTH_MODE") == "disabled":
        raise UsageError(
            "RAY_AUTH_MODE=disabled: whoever has an account on this machine would run code as you; unset it, or pass "
            "--insecure"
        )
    _knock(address)
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _of_this_process() if address == "local" else nullcontext({}) as local:
        with _environment({"PYTHONPATH": _import_path(), **dict.fromkeys(kept_from_workers())}):
            _connect(address, local)
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str, local: Mapping[str, Any]) -> None:
    """ray.init; one that is started here has a second try: Ray waits 30 s for its own start, too few on a busy machine.

    Raises StoreError.
    """
    is_local = address == "local"
    for is_last in (not is_local, True):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
            return
        except Exception as error:  # Ray has no kind of its own for processes of its that do not start in time
            if not is_last and "timed out during startup" in str(error):
                ray.shutdown()
                continue
            what = "Ray did not start here" if is_local else f"Ray cluster {address!r} can't be reached"
            raise store_error(f"{what}: {' '.join(str(error).split())[:300]}", error) from error


@contextmanager
def _of_this_process() -> Iterator[dict[str, Any]]:
    """A Ray that is started in the block is reached from this machine alone, and with a token that only it knows.

    Yields what `ray.init` is to be given. Ray lets everybody write into its folder, sockets and logs and all; so that
    is within one that nobody else may enter, and goes with it.

    Ray binds everything to loopback where it was told that there is no cluster, as it does on macOS and Windows. It
    keeps the first token that a process uses, and without one writes its own where every user may read it.
    """
    variables: dict[str, str | None] = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    if os.environ.get("RAY_AUTH_MODE") != "disabled":
        variables["RAY_AUTH_TOKEN"] = os.environ.get("RAY_AUTH_TOKEN") or _own_token()
    variables["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE")  # which Ray sets where it is not
    has_clusters, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        with (
            _environment(variables),
            tempfile.TemporaryDirectory(prefix="ray-", dir=_short_folder(), ignore_cleanup_errors=True) as folder,
        ):
            yield {
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": f"{folder}/r",
            }
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = has_clusters


def _short_folder() -> str:
    """Where Ray would put its folder, unless the paths of its sockets would get too long there."""
    folder = get_default_system_temp_dir()
    return folder if len(folder) <= LONGEST_FOLDER else "/tmp"


@functools.cache
def _own_token() -> str:
    return secrets.token_hex(32)


def _import_path() -> str:
    """By which workers of a cluster that is started here find what is imported here, such as methods beside a suite."""
    own = [path for path in sys.path if not path.startswith((sys.prefix, sys.base_prefix))]
    return os.pathsep.join(dict.fromkeys(filter(None, (*own, os.environ.get("PYTHONPATH")))))


@contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """In the block these variables have these values, None for none at all; after it those of before."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def has_gpu() -> bool:
    """Whether packs train on GPUs."""
    return ray.cluster_resources().get("GPU", 0) > 0


@contextmanager
def wanted_gpus(num_gpus: int | None, warn: Callable[[str], None]) -> Iterator[None]:
    """Ask an autoscaling cluster for GPUs, wait until they are there, let go of them afterwards; None: of none.

    Goes on with what came when the wait is over. Raises StoreError if none came.
    """
    if num_gpus is None:
        yield
        return
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[{"GPU": 1}] * num_gpus)
    try:
        num_there = _wait_for_gpus(num_gpus, warn)
        if not num_there:
            raise StoreError(f"no GPU joined the Ray cluster within {GPU_WAIT_SECONDS / 60:.0f} minutes")
        if num_there < num_gpus:
            warn(f"going on with {num_there:g} of {num_gpus} GPUs")
        yield
    finally:
        request_resources(bundles=[])  # the request would hold, and the machines be paid for, beyond this program


def _wait_for_gpus(num_gpus: int, warn: Callable[[str], None]) -> float:
    """GPUs of the cluster once there are enough, or after a while."""
    deadline = time.monotonic() + GPU_WAIT_SECONDS
    num_there = ray.cluster_resources().get("GPU", 0.0)
    if num_there < num_gpus:
        warn(f"waiting for {num_gpus} GPUs, {num_there:g} are there")
    while num_there < num_gpus and time.monotonic() < deadline:
        time.sleep(2.0)
        num_there = ray.cluster_resources().get("GPU", 0.0)
    return num_there


def device_name() -> str:
    """What packs train on, in words: the GPUs of the connected cluster, or its CPUs."""
    cluster = ray.cluster_resources()
    kinds = [name.removeprefix("accelerator_type:") for name in cluster if name.startswith("accelerator_type:")]
    if cluster.get("GPU"):
        return f"{cluster['GPU']:g} GPU ({', '.join(kinds) or 'kind unknown'})"
    return f"{cluster.get('CPU', 1):g} CPU"


def num_slots(resources: Resources) -> int:
    """Packs that the connected cluster can train at once."""
    num_cpus, num_gpus = _machines()
    return slots(resources, num_cpus=num_cpus, num_gpus=num_gpus)


def _machines() -> tuple[float, float]:
    """CPUs and GPUs of the connected cluster."""
    cluster = ray.cluster_resources()
    return cluster.get("CPU", 1), cluster.get("GPU", 0)


def place(
    trials: Sequence[Trial],
    *,
    max_lanes: int | None = None,
    is_reference: bool = False,
    compiling: Compiling = "auto",
) -> Placement:
    """Probe one group of trials of every workload on a worker of the connected cluster.

    A pack takes a CPU, and a share of a GPU by measured memory if the cluster has any. Where the fused program trains
    everything on GPUs, a worker is asked for the memory of one and nothing is tried.
    """
    num_cpus, num_gpus = _machines()
    resources = {"num_cpus": 1, "num_gpus": 1 if num_gpus else 0}
    is_fused = num_gpus and compiling != "always" and are_fused(trials, is_reference=is_reference)
    if is_fused and (total_bytes := _asked(gpu_bytes, resources)):
        fits = fused_fits(trials, total_bytes=total_bytes, max_lanes=max_lanes)
    else:
        fits, device = {}, "cuda" if num_gpus else "cpu"
        for workload, largest in widest_groups(trials).items():
            found = _asked(fit, resources, largest, device=device, max_lanes=max_lanes)
            fits[workload] = found or Fit(num_lanes=most_lanes(largest, device=device, max_lanes=max_lanes))
    return placed(fits, num_cpus=num_cpus, num_gpus=num_gpus)


def _asked(function: Callable[..., Any], resources: Mapping[str, float], *args: Any, **kwargs: Any) -> Any:
    """What a worker answers; None if that fails, as of a method that crashes: training it gives the outcome."""
    try:
        return ray.get(ray.remote(**resources)(function).remote(*args, **kwargs))  # pyright: ignore
    except RayError:
        return None


def _knock(address: str) -> None:
    """Raise StoreError at once where nothing listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].partition(":")
    if not port:  # "local", "auto"
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise StoreError(f"Ray cluster {address!r} can't be reached: {error}") from error
