"""Examine a Ray cluster before a suite goes there: what its nodes are made of, share and reach."""

from __future__ import annotations

import json
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import bench
from bench.cluster.jobs import Job, asks_for_token, connected, dashboard_url, follow, hand_over
from bench.cluster.staging import stage_packages
from bench.errors import StoreError, UsageError
from bench.secrecy import holds_secret

MARK = "facts of the cluster: "
MAX_CLOCK_SECONDS = 30.0  # S3 refuses requests that are a quarter of an hour off
Finding = tuple[bool, str]


def examine_cluster(
    address: str, *, store: str, checkpoints: str | None, tracking_uri: str | None, num_gpus: int | None
) -> dict[str, dict[str, Any]]:
    """Finding by name: {"ok": whether a suite can go there, "text": what was found, on one line}.

    address: of the dashboard. store: folder on the head for results on their way. num_gpus: those that an autoscaling
    cluster is asked for first. Raises UsageError for a secret in an address, StoreError for a cluster that can't be
    reached, refuses the token or runs another version of Ray.
    """
    if any(holds_secret(text) for text in (checkpoints, tracking_uri) if text is not None):
        raise UsageError("an address with a password, token or key, which a job would show; see `bench submit`")
    address = dashboard_url(address)
    is_closed = asks_for_token(address)
    before = time.time()
    places = {"store": store, "checkpoints": checkpoints, "tracking_uri": tracking_uri, "num_gpus": num_gpus}
    facts = _facts(address, places)
    return judge(facts, is_closed=is_closed, asked_s=(before, time.time()))


def _facts(address: str, places: Mapping[str, Any]) -> dict[str, Any]:
    """What the job `bench.cluster.facts` prints."""
    job = Job(
        job=f"bench-doctor-{secrets.token_hex(4)}",
        address=address,
        suite="",
        store=str(places["store"]),
        tracking_uri=places["tracking_uri"],
        bench=bench.__version__,
        submitted=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    printed: list[str] = []
    with connected(address) as client, tempfile.TemporaryDirectory() as folder:
        stage_packages(Path(folder))
        hand_over(client, job, shlex.join(["python", "-m", "bench.cluster.facts", json.dumps(places)]), folder)
        code = follow(job, printed.append)
        client.delete_job(job.job)
    lines = "".join(printed).splitlines()
    answer = next((line.removeprefix(MARK) for line in lines if line.startswith(MARK)), None)
    if answer is None:
        said = next((line for line in reversed(lines) if line.strip()), "nothing")
        raise StoreError(f"Ray cluster {address}: the job that examines it ended with {code} and said: {said[:300]}")
    return json.loads(answer)


def judge(facts: Mapping[str, Any], *, is_closed: bool, asked_s: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Findings from facts of a cluster (see `bench.cluster.facts.gather`), by name, in the order in which to mend.

    is_closed: whether it asks for a token. asked_s: between which two times, by this machine, it was asked.
    """
    nodes = [node for node in facts["nodes"] if "error" not in node]
    checks: dict[str, Callable[[], Finding]] = {
        "token": lambda: (
            is_closed,
            "asked for" if is_closed else "not asked for: whoever reaches the cluster runs code on it",
        ),
        "nodes": lambda: _answered(facts["nodes"]),
        "python": lambda: _same("python", nodes, here=None),
        "ray": lambda: _same("ray", nodes, here=metadata.version("ray")),
        "torch": lambda: _same("torch", nodes, here=None),
        "bench": lambda: _same("bench", nodes, here=metadata.version("attention-robustness-bench")),
        "gpus": lambda: _gpus(nodes),
        "checkpoints": lambda: _checkpoints(facts, nodes),
        "mlflow": lambda: _store(facts, nodes),
        "clock": lambda: _clocks(facts, nodes, asked_s),
    }
    return {name: dict(zip(("ok", "text"), check(), strict=True)) for name, check in checks.items()}


def _answered(nodes: Sequence[Mapping[str, Any]]) -> Finding:
    silent = [f"{node['node']}: {node['error']}" for node in nodes if "error" in node]
    said = f"{len(nodes) - len(silent)} of {len(nodes)} answered"
    return not silent, "; ".join([said, *silent])


def _same(name: str, nodes: Sequence[Mapping[str, Any]], *, here: str | None) -> Finding:
    """Whether a version is one on all nodes, and that of this machine where it is given."""
    by_version: dict[str, list[str]] = {}
    for node in nodes:
        by_version.setdefault(node[name], []).append(node["node"])
    text = "; ".join(
        f"{version} on {'every node' if len(by_version) == 1 else ', '.join(where)}"
        for version, where in by_version.items()
    )
    if here is not None and set(by_version) != {here}:
        text += f"; here {here}"
    is_one = len(by_version) == 1 and "missing" not in by_version
    return is_one and here in (None, *by_version), text


def _gpus(nodes: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether torch sees as many GPUs on each node as Ray counts there."""
    with_gpus = [node for node in nodes if node["num_gpus"]]
    if not with_gpus:
        return True, "none on any node: small suites only, or a cluster that has to be asked (--gpus)"
    texts = []
    for node in with_gpus:
        kinds = sorted({*node["gpus"]})
        counts = ", ".join(f"{node['gpus'].count(kind)} {kind}" for kind in kinds) or "none"
        differs = "" if len(node["gpus"]) == node["num_gpus"] else f", though Ray counts {node['num_gpus']}"
        texts.append(f"{node['node']}: {counts}{differs}")
    return all(len(node["gpus"]) == node["num_gpus"] for node in with_gpus), "; ".join(texts)


def _checkpoints(facts: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether the head and all others see one folder and write to it."""
    if facts["checkpoints_error"]:
        return False, facts["checkpoints_error"]
    blind = [node["node"] for node in nodes if not node["sees_checkpoints"]]
    mute = [node["node"] for node in nodes if node["sees_checkpoints"] and not node["wrote"]]
    texts = [f"not the head's folder on {', '.join(blind)}: packs train there without"] if blind else []
    texts += [f"can NOT be written by {', '.join(mute)}"] if mute else []
    return not texts, f"{facts['checkpoints']}: {'; '.join(texts) or 'seen and written by every node'}"


def _store(facts: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether the head reaches the store of results; of the others only how many do, as none has to."""
    workers = [node for node in nodes if node["id"] != facts["head"]]
    reached = sum(node["reaches_store"] for node in workers)
    if facts["store_error"]:
        return False, facts["store_error"]
    return True, f"{facts['store']} answers the head; {reached} of {len(workers)} other nodes reach it, and none has to"


def _clocks(facts: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], asked_s: tuple[float, float]) -> Finding:
    """Whether no clock is off by more than a bound; what is measured is the least by which each must be."""
    start, end = facts["clock_s"]
    off = {node["node"]: max(start - node["clock_s"], node["clock_s"] - end, 0.0) for node in nodes}
    off["the head and this machine"] = max(asked_s[0] - start, end - asked_s[1], 0.0)
    worst = max(off, key=lambda name: off[name])
    text = f"{worst}: off by {off[worst]:.0f} s or more" if off[worst] > 1 else "the same time everywhere"
    return off[worst] <= MAX_CLOCK_SECONDS, f"{text} ({MAX_CLOCK_SECONDS:.0f} s or less are required)"
