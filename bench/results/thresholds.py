"""Thresholds at which a detector aborts runs: from a board of warnings, of what a store holds or of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.scores.causes.detectors import DETECTORS
from analysis.scores.causes.early_warning import HELD_OUT_GROUPS, WARNING_COLUMNS, why_no_board
from bench.entry import load_class
from bench.errors import UsageError, reason, unknown
from bench.lazy import polars
from bench.probes import PROBES, build_probes
from bench.probes.base import quantities_of
from bench.results.stored import Stored, find_stored
from bench.results.subjects import read_grid
from bench.store import Store
from bench.suite import Suite
from bench.training.aborting import Watch

# Searches to which it is all the same how far a run that fails is from the others: aborted ones count as diverged.
FAIL_OR_LAST = ("edge", "tune", "tune_box")

# What a manifest says of each threshold, by the names that a board of warnings has.
FIELDS = (
    "workload",
    "optimizer",
    "held_out",
    "threshold",
    "num_stable",
    "false_alarms",
    "false_alarms_low",
    "false_alarms_high",
)


@dataclass(frozen=True, kw_only=True)
class Abort:
    """A watch, and where its thresholds come from. source: in words; thresholds: FIELDS of each line of the board."""

    watch: Watch
    source: str
    thresholds: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data that a manifest holds."""
        return {"detector": self.watch.name, "source": self.source, "thresholds": [*map(dict, self.thresholds)]}


def read_abort(suite: Suite, detector: str, source: str | None, store: Store, *, allow_code: bool) -> Abort:
    """What aborts the suite's runs on warnings of a detector, at the thresholds of a board of warnings.

    source: a CSV file as `bench warnings --format csv` writes it, or a suite whose results the store holds; None: the
    suite itself. Raises UsageError for a detector that can't abort a run or whose quantity no probe of the suite
    measures, for a suite that prunes or searches by final losses, and for a workload and optimizer of which the board
    has no threshold.
    """
    check_detector(suite, detector)
    if source is not None and source.endswith(".csv"):
        return abort_by(suite, detector, read_board(Path(source)), source)
    try:
        stored = Stored.of(suite) if source is None else find_stored(source, store, allow_code=allow_code)
        subject = read_grid(stored, store)
    except UsageError as error:
        raise UsageError(f"--abort-on-warning {detector}: {error}; --warnings-of names where thresholds are") from None
    board = subject.early_warning
    if board.filter(left_out="").is_empty():
        raise UsageError(f"--abort-on-warning {detector}: {stored.name!r} {why_no_board(subject.watched)}")
    return abort_by(suite, detector, board, f"{stored.name} in {store.shown_uri}")


def check_detector(suite: Suite, detector: str) -> None:
    """Raises UsageError if a detector can't abort runs of a suite."""
    if detector not in DETECTORS:
        raise unknown("detector", detector, [name for name, one in DETECTORS.items() if not one.is_baseline])
    if DETECTORS[detector].is_baseline:
        raise UsageError(f"--abort-on-warning {detector}: a baseline looks at no measurement; required a detector")
    if suite.search is not None and suite.search.name not in FAIL_OR_LAST:
        raise UsageError(
            f"--abort-on-warning: {suite.search.name} reads the final loss of every run; required no search, or one "
            f"of {', '.join(FAIL_OR_LAST)}"
        )
    if suite.stop is not None:
        raise UsageError(f"--abort-on-warning: {suite.name!r} has stop, which prunes; required one of both")
    quantity = DETECTORS[detector].quantity
    if quantity not in {"loss", "grad_norm", *quantities_of(build_probes(suite.probes))}:
        probes = [name for name, target in PROBES.items() if quantity in load_class(target).quantities]
        raise UsageError(
            f"--abort-on-warning {detector}: it watches {quantity}, which no probe of {suite.name!r} measures; "
            f"required `{' or '.join(probes)}` among its `probes`"
        )


def abort_by(suite: Suite, detector: str, board: polars.DataFrame, source: str) -> Abort:
    """At the thresholds of a frame of WARNING_COLUMNS: those of other methods, or else learning rates, or seeds."""
    is_known = polars.col("threshold").is_not_null() & polars.col("false_alarms").is_not_null()
    scored = board.filter(is_known, detector=detector, left_out="")
    detectors: dict[tuple[str, str], dict[str, Any]] = {}
    for workload in suite.workloads:
        for optimizer in suite.optimizers:
            rows = scored.filter(workload=workload.label, optimizer=optimizer.label).to_dicts()
            if not rows:
                has = scored.select("workload", "optimizer").unique(maintain_order=True).rows()
                listed = "; ".join(f"{one[0]} by {one[1]}" for one in has) or "none"
                raise UsageError(
                    f"--abort-on-warning {detector}: no threshold for {workload.label} by {optimizer.label} in {source}"
                    f"; it has {listed}"
                )
            best = min(rows, key=lambda row: HELD_OUT_GROUPS.index(row["held_out"]))
            detectors[workload.label, optimizer.label] = {name: best[name] for name in FIELDS}
    thresholds = {place: row["threshold"] for place, row in detectors.items()}
    return Abort(watch=Watch(name=detector, thresholds=thresholds), source=source, thresholds=tuple(detectors.values()))


def read_board(path: Path) -> polars.DataFrame:
    """A frame of WARNING_COLUMNS from a file. Raises UsageError for one that is none."""
    try:
        board = polars.read_csv(path, schema_overrides=WARNING_COLUMNS)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise UsageError(f"{path}: can't be read as a board of warnings: {reason(error)}") from None
    if missing := [name for name in WARNING_COLUMNS if name not in board.columns]:
        raise UsageError(f"{path}: no board of warnings, it lacks {', '.join(missing)}; `bench warnings` writes one")
    return board.with_columns(polars.col("left_out").fill_null(""))
