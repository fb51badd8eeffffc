"""Send a suite to a Ray cluster as a job, and look after it: the only file that knows Ray Jobs.

Secrets never travel: a job shows its environment to whoever may look, so that passwords belong into the environment of
the cluster.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cluster.staging import stage
from bench.errors import StoreError, UsageError
from bench.files import private_folder
from bench.secrecy import holds_secret
from bench.store.failures import one_line
from bench.store.outbox import write_durably

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from bench.suite import Suite

HTTP_SECONDS = 10.0
AGENT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What this machine remembers of a submitted suite, so that a dead head is no riddle."""

    job: str
    address: str
    suite: str  # its name
    store: str  # folder on the cluster
    tracking_uri: str | None  # None: the environment's on the cluster, or else the embedded store there
    bench: str
    submitted: str


def submit(
    suite: Suite,
    path: Path,
    *,
    address: str,
    home: Path,
    store: str,
    tracking_uri: str | None,
    options: Sequence[str],
    beside: Sequence[Path] = (),
    allow_code: bool,
    is_insecure: bool,
) -> Job:
    """Submit a suite file; the job trains what its store does not hold yet, so that submitting again resumes.

    home: folder here that remembers jobs. store: folder on the cluster, on a disk that outlives the head. options:
    further words of `bench run`. beside: files that travel along, into the job's folder.

    Raises UsageError for a cluster that lets anybody in (unless `is_insecure`) or a secret in what a job shows,
    StoreError for one that can't be reached or runs another version of Ray.
    """
    for what, text in (("tracking URI", tracking_uri), ("place of the store", store), ("command", shlex.join(options))):
        if text is not None and holds_secret(text):
            raise UsageError(
                f"the {what} holds a password, token or key, which a job would show; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD (or PGPASSWORD, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) in the "
                "cluster's environment instead"
            )
    address = dashboard_url(address)
    if not is_insecure and not asks_for_token(address):  # whatever its address: a tunnel makes every cluster loopback
        raise UsageError(
            f"Ray cluster {address} asks for no token, so whoever reaches it runs code on it; start it with "
            "RAY_AUTH_MODE=token, or pass --insecure"
        )
    words = ["python", "-m", "bench.cli", "run", path.name, "--address", "auto", "--store", store, *options]
    words += ["--tracking-uri", tracking_uri] if tracking_uri is not None else []
    words += ["--allow-code"] if allow_code else []
    words += ["--insecure"] if is_insecure else []
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", suite.name)[:40]
    job = Job(
        job=f"bench-{name}-{secrets.token_hex(4)}",
        address=address,
        suite=suite.name,
        store=store,
        tracking_uri=tracking_uri,
        bench=bench.__version__,
        submitted=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    with connected(address) as client, tempfile.TemporaryDirectory() as folder:
        stage(suite, path, Path(folder), allow_code=allow_code, beside=beside)
        hand_over(client, job, shlex.join(words), folder)
    _remember(job, home)
    return job


def hand_over(client: JobSubmissionClient, job: Job, entrypoint: str, folder: str) -> None:
    """Hand a job over; a head that has just started has no agent for jobs yet."""
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            client.submit_job(
                entrypoint=entrypoint,
                submission_id=job.job,
                runtime_env={"working_dir": folder},
                metadata={name: value or "" for name, value in asdict(job).items()},
            )
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(2.0)
        else:
            return


def recall(job_id: str, home: Path) -> Job:
    """What is remembered of a job. Raises UsageError for an unknown one, naming the known."""
    path = home / "jobs" / f"{job_id}.json"
    known = sorted((home / "jobs").glob("*.json"), key=lambda one: one.stat().st_mtime, reverse=True)
    if "/" in job_id or not path.is_file():
        listed = ", ".join(one.stem for one in known[:5]) or "none"
        raise UsageError(f"no job {job_id!r} was submitted from here with this --store; the last ones: {listed}")
    return Job(**json.loads(path.read_text(encoding="utf-8")))


def follow(job: Job, write: Callable[[str], None]) -> int | None:
    """Pass on what a job prints until it ends; its exit code, None if it did not get so far."""
    with connected(job.address) as client:

        async def tail() -> None:
            async for text in client.tail_job_logs(job.job):
                write(text)

        asyncio.run(tail())
        return client.get_job_info(job.job).driver_exit_code


def logs(job: Job) -> str:
    """All that a job printed so far."""
    with connected(job.address) as client:
        return client.get_job_logs(job.job)


def stop(job: Job) -> bool:
    """End a job; what it finished is kept. False if it had ended already."""
    with connected(job.address) as client:
        return client.stop_job(job.job)


@contextmanager
def connected(address: str) -> Iterator[JobSubmissionClient]:
    """A client of the job server at `address`; its failures inside the block become StoreErrors of one line."""
    try:
        import ray
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UsageError(f"needs ray[default]: pip install 'attention-robustness-bench[cluster]' ({error})") from error
    import requests

    try:
        response = requests.get(f"{address}/api/version", headers=_token(), timeout=HTTP_SECONDS)
        if response.status_code in (401, 403):
            raise StoreError(
                f"Ray cluster {address}: refuses this token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
                "RAY_AUTH_TOKEN_PATH) to the cluster's"
            )
        version = response.json()["ray_version"] if response.ok else None
        if version is None:
            raise StoreError(f"{address}: no Ray dashboard (HTTP {response.status_code} for /api/version)")
        if version.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise StoreError(f"Ray cluster {address}: runs Ray {version}, here is {ray.__version__}; they must agree")
        client = JobSubmissionClient(address)  # which sets up Ray's loggers
        for name in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
            logging.getLogger(f"ray.{name}").setLevel(logging.ERROR)
        yield client
    except (
        AuthenticationError,
        ConnectionError,
        RuntimeError,
        ValueError,
        KeyError,
        requests.RequestException,
    ) as error:
        raise StoreError(f"Ray cluster {address}: {one_line(error)}") from error


def dashboard_url(address: str) -> str:
    """http://host:port of a dashboard. Raises UsageError for anything else."""
    url = (address if "://" in address else f"http://{address}").rstrip("/")
    if not re.fullmatch(r"https?://(\[[0-9a-fA-F:]+\]|[^/:@\s]+)(:\d+)?(/[^\s@]*)?", url):
        raise UsageError(f"--address {address!r}: required the dashboard of a Ray cluster, such as http://head:8265")
    return url


def asks_for_token(address: str) -> bool:
    """Whether a cluster turns away who shows no token. Raises StoreError where it can't be reached."""
    import requests

    try:
        response = requests.get(f"{address}/api/version", timeout=HTTP_SECONDS)
    except requests.RequestException as error:
        raise StoreError(f"Ray cluster {address}: {one_line(error)}") from error
    return response.status_code in (401, 403)


def _token() -> dict[str, str]:
    from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled

    return get_auth_headers_if_auth_enabled({})


def _remember(job: Job, home: Path) -> None:
    folder = home / "jobs"
    private_folder(folder)
    temporary = folder / f".{job.job}.{os.getpid()}"
    write_durably(temporary, json.dumps(asdict(job), indent=2).encode())
    temporary.rename(folder / f"{job.job}.json")
