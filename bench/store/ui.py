"""MLflow's user interface: the command that serves the store, and the link to the leaderboard in its runs table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from bench.errors import StoreError, UsageError
from bench.store import records
from bench.store.store import Store
from bench.trial import canonical_json

# An experiment's tag that MLflow's UI reads for `?viewStateShareKey=leaderboard`: what its "Share" button stores.
VIEW_TAG = "mlflow.sharedViewState.leaderboard"

_QUERY = {
    "searchFilter": f"tags.`{records.KIND}` = 'method'",
    "orderByKey": "metrics.`lr_sensitivity`",
    "orderByAsc": "true",
}


def ui_command(store: Store, port: int) -> tuple[list[str], dict[str, str]]:
    """Command line that serves the store's pages on 127.0.0.1, and its environment, which holds what may be secret.

    Raises UsageError if a server does already.
    """
    if store.is_remote:
        raise UsageError(f"{store.shown_uri} is a server already; open it in a browser")
    store.schema()
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    kept = ["--default-artifact-root", store.artifact_root or "", "--no-serve-artifacts"]
    words = [sys.executable, "-m", "mlflow", "server", *address, *kept]
    return words, {**os.environ, "MLFLOW_BACKEND_STORE_URI": store.uri}


def leaderboard_link(store: Store, suite_name: str, base_url: str) -> str:
    """URL of the runs table that shows the suite's method runs, the least sensitive first.

    After `log_leaderboard` its columns are the leaderboard's. Raises StoreError if the suite has no results.
    """
    experiment = store.experiment(suite_name)
    if experiment is None:
        raise StoreError(f"{store.shown_uri}: no results of suite {suite_name!r} yet")
    query = dict(records.CLASSIC)
    if VIEW_TAG in experiment.tags:
        query["viewStateShareKey"] = VIEW_TAG.rpartition(".")[2]
    else:
        query |= _QUERY
    return f"{base_url.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs?{urlencode(query, quote_via=quote)}"


def suite_link(store: Store, suite_name: str, base_url: str) -> str:
    """URL of the suite run's page: its leaderboard, and pages with charts under Artifacts.

    Raises StoreError if the suite has no results.
    """
    experiment = store.experiment(suite_name)
    found = [] if experiment is None else store.runs(experiment, "suite")
    if experiment is None or not found:
        raise StoreError(f"{store.shown_uri}: no results of suite {suite_name!r} yet")
    path = f"experiments/{experiment.experiment_id}/runs/{found[0].run_id}"
    return f"{base_url.rstrip('/')}/#/{path}?{urlencode(records.CLASSIC)}"


def leaderboard_view(metrics: Sequence[str]) -> str:
    """Value of VIEW_TAG: method runs only, with the given metrics, flags and labels as columns.

    Sorted by LR sensitivity, or where that is no metric by the first.
    """
    tags = ("flags", *records.LABELS, "bench.version", "bench.commit", "bench.date")
    columns = [f"metrics.`{name}`" for name in metrics] + [f"tags.`{name}`" for name in tags]
    order = {} if "lr_sensitivity" in metrics or not metrics else {"orderByKey": columns[0]}
    return canonical_json({**_QUERY, **order, "orderByAsc": True, "selectedColumns": columns, "columnOrder": columns})
