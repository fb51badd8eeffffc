"""What a Ray cluster is made of, node by node: the program that `bench doctor --cluster` runs there as a job."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from ray.exceptions import RayError

from bench.cluster.checkpoints import Checkpoints
from bench.cluster.connect import ray, ray_cluster, wanted_gpus
from bench.cluster.doctor import MARK
from bench.errors import StoreError
from bench.store import Store
from bench.store.reach import endpoint, is_listening, reach

PACKAGES = {"ray": "ray", "torch": "torch", "bench": "attention-robustness-bench"}
NODE_SECONDS = 120.0
DEVICES = "import torch; print(*(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())), sep='\\n')"


def gather(*, store: str, checkpoints: str | None, tracking_uri: str | None, num_gpus: int | None) -> dict[str, Any]:
    """Facts of every node of the connected cluster, of the checkpoints that they share, and of the store of results.

    Keys: nodes (a list, the head's first; of one that failed only `node` and `error`), clock_s (between which two
    times, by the head, all nodes said theirs), checkpoints, checkpoints_error, store, store_error ("" for none), head.
    """
    home = Path(store).expanduser()
    place = Checkpoints(
        uri=f"{checkpoints or home / 'checkpoints'}/doctor-{secrets.token_hex(4)}",
        token=secrets.token_hex(16),
        variant="doctor",
    )
    gathered: dict[str, Any] = {"checkpoints": place.uri.rpartition("/")[0], "checkpoints_error": "", "store_error": ""}
    results = Store(home, tracking_uri, warn=lambda text: None)
    try:
        gathered["store"] = reach(results)
    except StoreError as error:
        gathered |= {"store": results.shown_uri, "store_error": str(error)}
    try:
        place.start()
    except StoreError as error:
        gathered["checkpoints_error"] = str(error)
    before = time.time()
    try:
        with wanted_gpus(num_gpus, lambda text: None):
            gathered["nodes"] = _ask_nodes(place, endpoint(results))
        gathered["head"] = ray.get_runtime_context().get_node_id()
        for node in gathered["nodes"]:
            node["wrote"] = place.load(node["id"]) is not None
    finally:
        if not gathered["checkpoints_error"]:
            place.clear()
    return gathered | {"clock_s": [before, time.time()]}


def _ask_nodes(place: Checkpoints, server: tuple[str, int] | None) -> list[dict[str, Any]]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked: Any = ray.remote(num_cpus=0, max_retries=0)(facts)  # pyright: ignore
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    answers: dict[str, Any] = {
        node_id: asked.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(
            node_id, place, server, num_gpus=int(node["Resources"].get("GPU", 0))
        )
        for node_id, node in nodes.items()
    }
    of_nodes = []
    for node_id, answer in answers.items():
        one: dict[str, Any] = {"id": node_id, "node": nodes[node_id]["NodeManagerAddress"]}
        try:
            of_node: Any = ray.get(answer, timeout=NODE_SECONDS)
            of_nodes.append(one | of_node)
        except (RayError, TimeoutError) as error:
            of_nodes.append(one | {"error": " ".join(str(error).split())[-300:] or type(error).__name__})
    return of_nodes


def facts(node_id: str, place: Checkpoints, server: tuple[str, int] | None, *, num_gpus: int) -> dict[str, Any]:
    """What the node that this runs on is made of and what it reaches.

    num_gpus: those that Ray counts there. gpus: the names of those that torch sees; clock_s: its time.
    """
    is_shared = place.is_shared()
    if is_shared:
        with contextlib.suppress(OSError):  # seen and not writable: `wrote` of the caller says so
            place.save(node_id, {})
    return {
        "python": platform.python_version(),
        **{name: _version(package) for name, package in PACKAGES.items()},
        "num_gpus": num_gpus,
        "gpus": _devices() if num_gpus else [],
        "sees_checkpoints": is_shared,
        "reaches_store": server is None or is_listening(*server),
        "clock_s": time.time(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _devices() -> list[str]:
    """Names of the GPUs that torch sees, in a process from which Ray hides none."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([sys.executable, "-c", DEVICES], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def main() -> None:
    """Print the facts of the cluster that this job runs on as one line of JSON; its one argument is JSON, too."""
    with ray_cluster("auto"):
        gathered = gather(**json.loads(sys.argv[1]))
    sys.stdout.write(f"\n{MARK}{json.dumps(gathered)}\n")


if __name__ == "__main__":
    main()
