"""Which entries learned: the one rule of who is ranked at all under several scores, and who last over workloads.

An entry at chance lost nothing at any learning rate, and one that learned little had little to lose, so that both are
robust without merit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import polars as pl

from analysis.across.disagreement import costs
from analysis.curves import ENTRY
from analysis.scores.flags import NOT_LEARNED, flags_of
from analysis.scores.guards import board_flags
from analysis.scores.parts import ScoredEntry


def why_not_learned(entries: Sequence[ScoredEntry]) -> dict[tuple[str, ...], str]:
    """By the key of each entry, which of NOT_LEARNED it is, empty if it learned; entries are sorted by workload."""
    learned = {}
    for _, of_workload in itertools.groupby(entries, key=lambda entry: entry.key[0]):
        grids = {entry.key: entry.grid for entry in of_workload}
        for key, text in board_flags(grids, "lr_sensitivity", ()).items():
            learned[key] = next((word for word in flags_of(text) if word in NOT_LEARNED), "")
    return learned


def ranking_table(table: pl.DataFrame, entries: Sequence[ScoredEntry]) -> pl.DataFrame:
    """The score table of the entries as ranks take it: at_chance holds as well where an entry learned little."""
    reasons = why_not_learned(entries)
    flagged = [bool(reasons[key]) for key in table.select(ENTRY).iter_rows()]
    return table.with_columns(at_chance=pl.Series(flagged, dtype=pl.Boolean))


def ranking_costs(table: pl.DataFrame) -> pl.DataFrame:
    """`costs` of a ranking table, +inf for what did not learn: it is last whatever its score."""
    return costs(table).with_columns(cost=pl.when("at_chance").then(math.inf).otherwise("cost"))
