"""The only part that knows MLflow: delivers finished packs, finds what is finished, reads results and traces."""

from bench.store import records
from bench.store.audit import examine_artifacts, read_runs
from bench.store.curves import CURVE_POINTS
from bench.store.moved import follow_artifacts
from bench.store.read import (
    imported_trials,
    own_trials,
    read_import,
    read_imports,
    read_manifest,
    read_results,
    read_searched,
    read_suite_text,
    read_traces,
    read_workloads,
    suite_names,
    trace_lots,
)
from bench.store.runs import RunRecord
from bench.store.status import read_status
from bench.store.store import Store
from bench.store.tracker import Tracker
from bench.store.ui import LOGIN_USER, login_of, suite_link, ui_command, view_link
from bench.store.views import VIEWS

__all__ = [
    "CURVE_POINTS",
    "LOGIN_USER",
    "VIEWS",
    "RunRecord",
    "Store",
    "Tracker",
    "examine_artifacts",
    "follow_artifacts",
    "imported_trials",
    "login_of",
    "own_trials",
    "read_import",
    "read_imports",
    "read_manifest",
    "read_results",
    "read_runs",
    "read_searched",
    "read_status",
    "read_suite_text",
    "read_traces",
    "read_workloads",
    "records",
    "suite_link",
    "suite_names",
    "trace_lots",
    "ui_command",
    "view_link",
]
