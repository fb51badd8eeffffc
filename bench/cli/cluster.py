"""`bench submit`, `status`, `logs` and `stop`: suites on a Ray cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.aborting import AbortOption, WarningsOption, abort_words, is_file
from bench.cli.options import (
    AllowCode,
    AsJson,
    CheckpointSecondsOption,
    CheckpointsOption,
    ClusterStoreOption,
    CompileOption,
    FiguresOption,
    GpusOption,
    Insecure,
    MaxLanesOption,
    StoreOption,
    SuiteArgument,
    TimeoutOption,
    UriOption,
)
from bench.cli.shared import DEFAULT_STORE, EXIT_INTERRUPTED, fail, load, open_store, say

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="what `bench submit` printed")]
AddressOption = Annotated[str, typer.Option("--address", help="the cluster's dashboard, such as http://head:8265")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="show what the job prints until it ends")]


def add_cluster_commands(app: typer.Typer) -> None:
    for command in (submit, status, logs, stop):
        app.command()(command)


def submit(
    suite: SuiteArgument,
    address: AddressOption,
    cluster_store: ClusterStoreOption = "~/.bench",
    tracking_uri: UriOption = None,
    gpus: GpusOption = None,
    checkpoints: CheckpointsOption = None,
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    timeout: TimeoutOption = 30.0,
    max_lanes: MaxLanesOption = None,
    compiling: CompileOption = "auto",
    abort_on_warning: AbortOption = None,
    warnings_of: WarningsOption = None,
    wait: WaitOption = True,
    insecure: Insecure = False,
    figures: FiguresOption = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list what would be sent and send nothing")] = False,
    allow_code: AllowCode = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Train a suite on a Ray cluster; submitting it again trains what is left."""
    from bench.cluster.jobs import follow
    from bench.cluster.jobs import submit as send
    from bench.cluster.staging import shipped
    from bench.suite import find_suite

    loaded = load(suite, allow_code)
    options = abort_words(loaded, abort_on_warning, warnings_of)
    beside = [Path(warnings_of)] if warnings_of is not None and is_file(warnings_of) else []
    if dry_run:
        for path, num_bytes in shipped(loaded, find_suite(suite), allow_code=allow_code, beside=beside).items():
            print(f"{num_bytes:>9}  {path}")
        return
    options += ["--checkpoint-seconds", f"{checkpoint_seconds:g}", "--timeout", f"{timeout:g}"]
    options += ["--gpus", str(gpus)] if gpus else []
    options += ["--checkpoints", checkpoints] if checkpoints else []
    options += ["--max-lanes", str(max_lanes)] if max_lanes else []
    options += ["--compile", compiling] if compiling != "auto" else []
    options += [] if figures else ["--no-figures"]
    job = send(
        loaded,
        find_suite(suite),
        address=address,
        home=store,
        store=cluster_store,
        tracking_uri=tracking_uri,
        options=options,
        beside=beside,
        allow_code=allow_code,
        is_insecure=insecure,
    )
    print(job.job, flush=True)
    if not wait:
        return
    try:
        code = follow(job, _write)
    except KeyboardInterrupt:
        fail(f"the job goes on; bench status|logs|stop {job.job}", EXIT_INTERRUPTED)
    raise typer.Exit(1 if code is None else code)


def status(job: JobArgument, as_json: AsJson = False, store: StoreOption = DEFAULT_STORE) -> None:
    """Say how far a submitted suite is, by what its store of results holds."""
    from bench.cluster.jobs import recall
    from bench.store import read_status

    submitted = recall(job, store)
    plain: dict[str, Any] = {"job": submitted.job, "suite": submitted.suite, "submitted": submitted.submitted}
    plain |= read_status(open_store(Path(submitted.store), submitted.tracking_uri), submitted.suite)
    print(json.dumps(plain) if as_json else "\n".join(f"{name}: {value}" for name, value in plain.items()))


def logs(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", help="until the job ends")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print what a job printed."""
    from bench.cluster import jobs

    submitted = jobs.recall(job, store)
    if follow:
        jobs.follow(submitted, _write)
    else:
        print(jobs.logs(submitted), end="")


def stop(job: JobArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Stop a job; what it finished is kept, and submitting the suite again goes on from there."""
    from bench.cluster import jobs

    submitted = jobs.recall(job, store)
    say(f"{job} {'stopped' if jobs.stop(submitted) else 'had ended already'}")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
