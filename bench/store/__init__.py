"""The only part that knows MLflow: delivers finished packs, finds what is finished, reads results and traces."""

from bench.store import records
from bench.store.audit import examine_artifacts, read_runs
from bench.store.read import (
    imported_trials,
    own_trials,
    read_import,
    read_imports,
    read_manifest,
    read_results,
    read_suite_text,
    read_traces,
    suite_names,
    trace_lots,
)
from bench.store.runs import RunRecord
from bench.store.status import read_status
from bench.store.store import Store
from bench.store.tracker import Tracker
from bench.store.ui import LOGIN_USER, leaderboard_link, login_of, suite_link, ui_command

__all__ = [
    "LOGIN_USER",
    "RunRecord",
    "Store",
    "Tracker",
    "examine_artifacts",
    "imported_trials",
    "leaderboard_link",
    "login_of",
    "own_trials",
    "read_import",
    "read_imports",
    "read_manifest",
    "read_results",
    "read_runs",
    "read_status",
    "read_suite_text",
    "read_traces",
    "records",
    "suite_link",
    "suite_names",
    "trace_lots",
    "ui_command",
]
