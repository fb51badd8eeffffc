"""`bench doctor`: can this machine, or a Ray cluster, run suites?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench.cli.options import AsJson, CheckpointsOption, ClusterStoreOption, GpusOption, StoreOption, UriOption
from bench.cli.shared import DEFAULT_STORE

EXIT_UNFIT = 3  # of a cluster; 4 for one that can't be reached


def add_doctor_command(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    store: StoreOption = DEFAULT_STORE,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="a Ray cluster's dashboard, such as http://head:8265")
    ] = None,
    cluster_store: ClusterStoreOption = "~/.bench",
    checkpoints: CheckpointsOption = None,
    tracking_uri: UriOption = None,
    gpus: GpusOption = None,
    as_json: AsJson = False,
) -> None:
    """Check that this machine can run suites, or that a Ray cluster can: one line for each check, BAD what to mend."""
    if cluster is None:
        from bench.driver.doctor import examine

        findings, code = examine(store), 1
    else:
        from bench.cluster.doctor import examine_cluster

        findings = examine_cluster(
            cluster, store=cluster_store, checkpoints=checkpoints, tracking_uri=tracking_uri, num_gpus=gpus
        )
        code = EXIT_UNFIT
    if as_json:
        print(json.dumps(findings, indent=2))
    else:
        for name, finding in findings.items():
            print(f"{'ok ' if finding['ok'] else 'BAD'}  {name}: {finding['text']}")
    if not all(finding["ok"] for finding in findings.values()):
        raise typer.Exit(code)
