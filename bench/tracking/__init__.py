"""The only part that knows MLflow: delivers finished packs, finds what is finished, reads results and traces."""

from bench.tracking.read import read_manifest, read_results, read_traces, suite_names
from bench.tracking.store import Store
from bench.tracking.tracker import Tracker
from bench.tracking.ui import leaderboard_link, ui_command

__all__ = [
    "Store",
    "Tracker",
    "leaderboard_link",
    "read_manifest",
    "read_results",
    "read_traces",
    "suite_names",
    "ui_command",
]
