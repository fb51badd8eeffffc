"""How well detectors warn of failure, as tables."""

from __future__ import annotations

import polars as pl

from analysis.scores.causes.alarms import FALSE_ALARM_SHARE
from analysis.scores.causes.detectors import DETECTORS
from analysis.scores.causes.early_warning import HORIZONS, NUM_DRAWS, WARNING_COLUMNS
from analysis.tables.forms.rows import bracketed, fixed, grouped, table_of
from analysis.tables.forms.table import Group, Table

_NOTE = (
    "A run failed if it diverged, or blew up (from the first loss above the limit that mostly such losses follow), and "
    "is stable if it did neither and learned. Its threshold is fitted on stable runs of other methods (lrs, seeds), "
    f"so that not more than {FALSE_ALARM_SHARE:.0%} of them alarm; the first alarm counts. Lead: lower "
    "median over all failed runs of the steps from alarm to failure, a miss being 0. At start: share of hits at the "
    "first measurement. AUC h: share of pairs of a failed and a stable run in which the failed one's signal rose more "
    "up to h steps before its failure, the stable one watched as long; same lr: of pairs of one learning rate, h = 1. "
    f"Brackets: 95% bootstrap intervals over runs ({NUM_DRAWS} draws), of shares not narrower than Wilson's. Precision "
    "is that at this suite's share of failures. To beat: lr alone, step alone, and hindsight, which knows the failure "
    "one measurement ahead."
)
_HELD_OUT = {"method": "other methods", "lr": "other learning rates", "seed": "other seeds"}


def warning_group(frame: pl.DataFrame) -> Group:
    """A table for each workload, optimizer and kind of held-out group of a frame of WARNING_COLUMNS."""
    assert frame.columns == list(WARNING_COLUMNS)
    scored = frame.filter(left_out="")
    return grouped(_table, scored, "workload", "optimizer", "held_out", note=" ".join([_NOTE, *_left_out(frame)]))


def _left_out(frame: pl.DataFrame) -> list[str]:
    """Which detectors are left out everywhere, and why."""
    scored = set(frame.filter(left_out="")["detector"])
    rows = frame.filter(~pl.col("detector").is_in(scored)).unique("detector", keep="first", maintain_order=True)
    names = [f"{DETECTORS[name].title} ({why})" for name, why in rows.select("detector", "left_out").iter_rows()]
    return [f"Left out: {'; '.join(names)}."] if names else []


def _table(workload: str, optimizer: str, held_out: str, frame: pl.DataFrame) -> Table:
    return table_of(
        f"Early warning on {workload}, {optimizer}: thresholds of {_HELD_OUT[held_out]}",
        frame,
        ("Detector", lambda row: DETECTORS[row["detector"]].title),
        ("Failed", fixed("num_failed", 0)),
        ("Stable", fixed("num_stable", 0)),
        bracketed("Recall", "recall", "recall", 2),
        bracketed("False alarms", "false_alarms", "false_alarms", 2),
        bracketed("Precision", "precision", "precision", 2),
        bracketed("Lead", "lead_steps", "lead_steps", 0),
        ("At start", fixed("at_start", 2)),
        *(bracketed(f"AUC {horizon}", f"auc_{horizon}", f"auc_{horizon}", 2) for horizon in HORIZONS),
        bracketed("AUC, same lr", "auc_same_lr", "auc_same_lr", 2),
        ("Threshold", fixed("threshold", None)),
    )
