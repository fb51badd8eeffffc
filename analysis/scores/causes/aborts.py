"""What aborting runs on a warning saved and lost: steps that were not made, and runs that would have been fine.

Saved: the steps after the alarm of each aborted run. Lost: a run that was aborted may be a stable one, and how it would
have ended is not known. Of stable runs the detector's board says which share F of them alarms. n of an entry's runs
completed without an alarm and are stable, so of its stable runs n / (1 - F) are expected to have been there, and n F /
(1 - F) of them aborted; never more than were. Interval: numbers S of stable runs of which n without an alarm are no
surprise (binomial tails of 2.5%), at both ends of F's own interval, so that it is wider than 95%; where no run
completed it reaches to what F leaves possible. Runs without the option end as they end: `bench run` without it trains
the aborted ones to their end, and says so exactly. Source: this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analysis.curves import groups_of
from analysis.scores.causes.early_warning import watched_runs
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.scales import Interval
from bench.lazy import special

ABORT_COLUMNS: dict[str, type[pl.DataType]] = {
    "workload": pl.String,
    "optimizer": pl.String,
    "method": pl.String,
    "detector": pl.String,
    "source": pl.String,  # of the threshold
    "threshold": pl.Float64,
    "num_trials": pl.Int64,  # that completed, diverged or were aborted
    "num_aborted": pl.Int64,
    "num_missed": pl.Int64,  # that failed without an alarm
    "steps_saved": pl.Int64,
    "saved": pl.Float64,  # as a share of the steps of all these trials
    "false_alarms": pl.Float64,  # share of stable runs, by the board
    "lost": pl.Float64,  # aborted runs that would have been fine, estimated
    "lost_low": pl.Float64,
    "lost_high": pl.Float64,
}


def aborts(results: pl.DataFrame, abort: Mapping[str, Any] | None) -> pl.DataFrame:
    """ABORT_COLUMNS, a row for each workload, optimizer and method of which a run was aborted.

    results: RESULT_COLUMNS. abort: of the manifest, the detector with its thresholds; None: none aborted these runs.
    """
    ended = results.filter(pl.col("outcome").is_in(["completed", "diverged", "aborted"]))
    if abort is None or ended.filter(outcome="aborted").is_empty():
        return pl.DataFrame(schema=ABORT_COLUMNS)
    places: Sequence[Mapping[str, Any]] = abort["thresholds"]
    by_place = {(one["workload"], one["optimizer"]): one for one in places}
    rows = []
    for (workload, optimizer, method), group in groups_of(ended, "workload", "optimizer", "method"):
        board = by_place.get((workload, optimizer))
        if board is not None and (group["outcome"] == "aborted").any():
            place = {"workload": workload, "optimizer": optimizer, "method": method}
            rows.append(place | {name: abort[name] for name in ("detector", "source")} | _row(group, board))
    return pl.DataFrame(rows, schema=ABORT_COLUMNS)


def lost_runs(num_aborted: int, num_stable: int, board: Mapping[str, Any]) -> Interval:
    """How many of the aborted runs would have been fine, where num_stable completed without an alarm and are stable.

    board: false_alarms, the share of stable runs that alarm, with false_alarms_low and false_alarms_high.
    """
    share, tail = board["false_alarms"], (1 - CONFIDENCE) / 2
    value = min(num_stable * share / (1 - share), num_aborted) if share < 1 else float(num_aborted)
    least, most = 0, num_aborted
    while most > 0 and special.bdtr(num_stable, num_stable + most, 1 - board["false_alarms_high"]) < tail:
        most -= 1
    while (
        least < most
        and num_stable > 0
        and special.bdtrc(num_stable - 1, num_stable + least, 1 - board["false_alarms_low"]) < tail
    ):
        least += 1
    return Interval(value=value, low=float(min(least, value)), high=float(max(most, value)))


def _row(group: pl.DataFrame, board: Mapping[str, Any]) -> dict[str, Any]:
    judged = watched_runs(group)
    aborted = group.filter(outcome="aborted")
    saved = int((aborted["num_steps"] - aborted["aborted_step"] - 1).sum())
    stable = judged.filter(~pl.col("is_failed") & ~pl.col("is_stuck")).height
    lost = lost_runs(aborted.height, stable, board)
    return {
        "threshold": board["threshold"],
        "num_trials": group.height,
        "num_aborted": aborted.height,
        "num_missed": int(judged["is_failed"].sum()),
        "steps_saved": saved,
        "saved": saved / int(group["num_steps"].sum()),
        "false_alarms": board["false_alarms"],
        "lost": lost.value,
        "lost_low": lost.low,
        "lost_high": lost.high,
    }
