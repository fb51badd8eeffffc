"""What aborting runs on a warning saved and lost, as tables."""

from __future__ import annotations

import polars as pl

from analysis.scores.causes.aborts import ABORT_COLUMNS
from analysis.scores.causes.detectors import DETECTORS
from analysis.tables.forms.rows import bracketed, fixed, grouped, table_of, text
from analysis.tables.forms.table import Group, Table
from analysis.text import counted

NOTE = (
    "Aborted: frozen at the first alarm of the detector, so without a final loss; they count as lost runs everywhere "
    "else. Missed: failed without an alarm. Saved: steps after the alarm, and their share of the steps of all these "
    "runs. Would have been fine: estimated from the runs that completed without an alarm and the share of stable runs "
    "that alarm by the detector's board (held out); brackets: an interval of at least 95%. `bench run` without "
    "--abort-on-warning trains the aborted runs to their end."
)


def abort_group(frame: pl.DataFrame) -> Group:
    """A table a workload and detector of a frame of ABORT_COLUMNS."""
    assert frame.columns == list(ABORT_COLUMNS)
    return grouped(_table, frame, "workload", "detector", "source", note=NOTE)


def abort_sentence(frame: pl.DataFrame) -> str:
    """All rows of a frame of ABORT_COLUMNS in a sentence; empty without any."""
    if frame.is_empty():
        return ""
    num_aborted, num_trials = int(frame["num_aborted"].sum()), int(frame["num_trials"].sum())
    lost = [float(frame[name].sum()) for name in ("lost", "lost_low", "lost_high")]
    return (
        f"{DETECTORS[frame['detector'][0]].title} aborted {num_aborted} of {counted(num_trials, 'trial')}, which saved "
        f"{frame['steps_saved'].sum():,} steps; about {lost[0]:.1f} [{lost[1]:.1f}, {lost[2]:.1f}] of them would have "
        "been fine"
    )


def _table(workload: str, detector: str, source: str, frame: pl.DataFrame) -> Table:
    return table_of(
        f"Aborted on {workload} by {DETECTORS[detector].title}, thresholds of {source}",
        frame,
        ("Method", text("method")),
        ("Optimizer", text("optimizer")),
        ("Threshold", fixed("threshold", None)),
        ("Trials", fixed("num_trials", 0)),
        ("Aborted", fixed("num_aborted", 0)),
        ("Missed", fixed("num_missed", 0)),
        ("Steps saved", fixed("steps_saved", 0)),
        ("Share", fixed("saved", 2)),
        ("False alarms", fixed("false_alarms", 2)),
        bracketed("Would have been fine", "lost", "lost", 1),
        num_names=2,
    )
