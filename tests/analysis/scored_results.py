"""Scores of results and raw traces in one call, as a Subject makes them of those of a store."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.scores import table
from analysis.scores.parts import ScoredEntry
from analysis.scores.traces import trial_measures


def scored_entries(
    results: pl.DataFrame, traces: pl.DataFrame | pl.LazyFrame | None, num_keys: int | Mapping[str, int], loss: str
) -> list[ScoredEntry]:
    """The entries of results, with what traces (trial_id and TRACE_COLUMNS) say; num_keys: of all, or by workload."""
    keys_of = dict.fromkeys(results["workload"], num_keys) if isinstance(num_keys, int) else num_keys
    trials = table.trials_to_measure(results, keys_of)
    return table.measured_entries(results, None if traces is None else trial_measures(traces, trials), loss)


def scored_table(
    results: pl.DataFrame, traces: pl.DataFrame | pl.LazyFrame | None, num_keys: int | Mapping[str, int], loss: str
) -> pl.DataFrame:
    """The score table of `scored_entries`."""
    return table.score_table(scored_entries(results, traces, num_keys, loss), loss)
