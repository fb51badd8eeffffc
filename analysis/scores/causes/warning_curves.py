"""Curves of detectors: hits against false alarms over all thresholds (ROC), and hits against the lead that they leave.

ROC: at each threshold the share of stable runs that alarm, and that of failed runs that alarm before their onset, at
any lead. Lead: at the thresholds of a board's first held-out kind, the share of failed runs that alarm at least so many
steps before their onset; at a lead of one step it is the board's recall. Runs, onsets, alarms and thresholds are those
of analysis.scores.causes.early_warning. The step alone and hindsight have no curves: neither can do without knowing the
end.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.curves import groups_of
from analysis.scores.causes.alarms import Watched, alarm_scores, watched_by
from analysis.scores.causes.detectors import DETECTORS

WARNING_CURVE_COLUMNS: dict[str, type[pl.DataType]] = {
    "workload": pl.String,
    "optimizer": pl.String,
    "curve": pl.String,  # roc or lead
    "detector": pl.String,
    "x": pl.Float64,  # of roc: share of stable runs that alarm; of lead: steps
    "y": pl.Float64,  # share of failed runs
}
WITHOUT_CURVES = ("step", "hindsight")
MOST_POINTS = 60  # of a curve


def warning_curves(runs: pl.DataFrame, records: pl.DataFrame, board: pl.DataFrame) -> pl.DataFrame:
    """WARNING_CURVE_COLUMNS of every detector that has a line on the board (WARNING_COLUMNS, the scored ones).

    runs, records: as warning_board takes them.
    """
    rows = []
    for (workload, optimizer, name), lines in groups_of(board, "workload", "optimizer", "detector"):
        if name in WITHOUT_CURVES:
            continue
        own = runs.filter(~pl.col("is_stuck"), workload=workload, optimizer=optimizer)
        of_detector = records.filter(detector=name).join(own.select("trial_id"), on="trial_id", how="semi")
        traced = own.join(of_detector.select("trial_id").unique(), on="trial_id", how="semi").sort("trial_id")
        watched = watched_by(traced, of_detector, lines["held_out"][0])
        longest = longest_run(traced["num_steps"], watched)
        for curve, points in (("roc", roc(watched)), ("lead", leads(watched, longest))):
            rows += [(workload, optimizer, curve, name, x, y) for x, y in points]
    order = pl.col("detector").replace_strict({name: at for at, name in enumerate(DETECTORS)})
    curves = pl.DataFrame(rows, schema=WARNING_CURVE_COLUMNS, orient="row")
    return curves.sort("workload", "optimizer", pl.col("curve") == "lead", order, "x", "y", maintain_order=True)


def longest_run(num_steps: pl.Series, watched: Watched) -> int:
    """Steps of the longest run; where no file of imported runs says how long they were, of the latest failure."""
    known = num_steps.drop_nulls().to_list()
    failures = watched.onset_N[np.isfinite(watched.onset_N)].tolist()
    return int(max(known or failures))


def roc(watched: Watched) -> Iterator[tuple[float, float]]:
    """Points (share of stable runs, share of failed runs) from no alarm to alarms in all, at most MOST_POINTS and 2."""
    failed, stable = np.flatnonzero(watched.is_failed_N), np.flatnonzero(~watched.is_failed_N)
    peaks_S = np.array([watched.peaks(run, np.array([np.inf]))[0] for run in stable.tolist()])
    thresholds_X = np.unique(peaks_S)
    thresholds_X = thresholds_X[np.unique(np.linspace(0, len(thresholds_X) - 1, MOST_POINTS).round().astype(int))]
    alarms_FX = np.stack([watched.first_alarms(run, thresholds_X) for run in failed.tolist()])
    hits_X = (alarms_FX < watched.onset_N[failed][:, None]).mean(axis=0)
    false_X = (peaks_S[:, None] > thresholds_X).mean(axis=0)
    yield (0.0, 0.0)
    yield from sorted(zip(false_X.tolist(), hits_X.tolist(), strict=True))
    yield (1.0, 1.0)


def leads(watched: Watched, longest: int) -> Iterator[tuple[float, float]]:
    """Points (lead in steps, share of failed runs that alarm no later) from 1 to the longest run, log-spaced."""
    alarms_N = alarm_scores(watched, np.ones((1, len(watched.onset_N))))["alarms_BN"][0]
    lead_F = (watched.onset_N - alarms_N)[watched.is_failed_N]
    lead_F = lead_F[~np.isnan(lead_F)]
    for lead in np.unique(np.geomspace(1, max(longest, 2), MOST_POINTS).round()):
        yield float(lead), float((lead_F >= lead).mean())
