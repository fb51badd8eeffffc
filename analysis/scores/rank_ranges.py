"""Rank ranges: the ranks that the seeds leave possible for each entry of a workload, for all entries at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.curves import Entries
from analysis.scores.flags import has_learned
from analysis.scores.intervals import CONFIDENCE, Difference
from analysis.scores.pairing import corrected, entry_differences
from analysis.scores.robustness import Score

NO_RANK = "–"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two entries by their keys, first minus second, and the p-value corrected over the workload's pairs."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    difference: Difference
    p_holm: float


def compared_pairs(entries: Entries, score: Score) -> list[Compared]:
    """Every pair of entries of a workload, in the order of itertools.combinations."""
    found = entry_differences(score, list(entries.values()))
    return [
        Compared(first=first, second=second, difference=difference, p_holm=p_holm)
        for (first, second), difference, p_holm in zip(
            itertools.combinations(entries, 2), found, corrected(found), strict=True
        )
    ]


def rank_ranges(entries: Entries, score: Score) -> dict[tuple[str, ...], tuple[int, int]]:
    """Least and largest rank of every entry that can be tested, 1 best, by its key.

    From 1 + the number of entries that are significantly better to n - the number that are significantly worse, of the
    n entries that have two seeds at least. All ranges together hold the ranks that the expected scores have with 95%
    confidence, as Holm's correction bounds the chance of any wrong order among the pairs. Takes the entries of a
    workload that learned. Source: Mogstad et al. 2024, simultaneous confidence sets for ranks.
    """
    tested = {key: grid for key, grid in entries.items() if len(grid.seeds) > 1}
    least, largest = dict.fromkeys(tested, 1), dict.fromkeys(tested, len(tested))
    for pair in compared_pairs(tested, score):
        if pair.p_holm < 1 - CONFIDENCE:
            is_first_worse = pair.difference.value > 0
            better, worse = (pair.second, pair.first) if is_first_worse else (pair.first, pair.second)
            least[worse] += 1
            largest[better] -= 1
    return {key: (least[key], largest[key]) for key in tested}


def rank_text(least: int | None, largest: int | None) -> str:
    """A rank range as tables show it: '1', '1-3', or a dash for none."""
    if least is None:
        return NO_RANK
    return str(least) if largest in (least, None) else f"{least}-{largest}"


def place_of_best(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Which row of a workload's leaderboard is the best: the lowest score of those that learned; None if none did.

    Only those with a rank count, unless none has one: the place of an entry with a single seed can't be told.
    """
    learned = [place for place, row in enumerate(rows) if has_learned(row["flags"])]
    ranked = [place for place in learned if rows[place]["rank"] is not None]
    return min(ranked or learned, key=lambda place: rows[place]["lr_sensitivity"], default=None)
