"""Rank ranges: the ranks that the seeds leave possible for each entry of a workload, for all entries at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.curves import Entries
from analysis.scores.flags import has_learned
from analysis.scores.robustness import Score
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import corrected, entry_differences

NO_RANK = "–"


def rank_ranges(entries: Entries, score: Score) -> dict[tuple[str, ...], tuple[int, int]]:
    """Least and largest rank of every entry that can be tested, 1 best, by its key.

    From 1 + the number of entries that are significantly better to n - the number that are significantly worse, of the
    n entries that have two seeds at least. All ranges together hold the ranks that the expected scores have with 95%
    confidence, as Holm's correction bounds the chance of any wrong order among the pairs. Takes the entries of a
    workload that learned. Source: Mogstad et al. 2024, simultaneous confidence sets for ranks.
    """
    tested = {key: grid for key, grid in entries.items() if len(grid.seeds) > 1}
    least, largest = dict.fromkeys(tested, 1), dict.fromkeys(tested, len(tested))
    found = entry_differences(score, list(tested.values()))
    for pair, difference, p_holm in zip(itertools.combinations(tested, 2), found, corrected(found), strict=True):
        if p_holm < 1 - CONFIDENCE:
            better, worse = reversed(pair) if difference.value > 0 else pair
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
