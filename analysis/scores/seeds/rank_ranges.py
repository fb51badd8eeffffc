"""Rank ranges: the ranks that the seeds leave possible for each entry of a workload, for all entries at once."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from analysis.curves import Entries
from analysis.scores.flags import has_learned
from analysis.scores.robustness import Score
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import corrected, entry_differences
from bench.lazy import polars as pl

NO_RANK = "–"
Key = TypeVar("Key", bound=Hashable)


def rank_ranges(entries: Entries, score: Score) -> dict[tuple[str, ...], tuple[int, int]]:
    """Least and largest rank of every entry that can be tested, 1 best, by its key.

    From 1 + the number of entries that are significantly better to n - the number that are significantly worse, of the
    n entries that have two seeds at least. All ranges together hold the ranks that the expected scores have with 95%
    confidence, as Holm's correction bounds the chance of any wrong order among the pairs. Takes the entries of a
    workload that learned. Source: Mogstad et al. 2024, simultaneous confidence sets for ranks.
    """
    tested = {key: grid for key, grid in entries.items() if len(grid.seeds) > 1}
    differences = entry_differences(score, list(tested.values()))
    return possible_ranks(list(tested), [one.value for one in differences], corrected(differences))


def possible_ranks(
    keys: Sequence[Key], differences: Iterable[float], p_values: Iterable[float]
) -> dict[Key, tuple[int, int]]:
    """Least and largest rank of each key, of differences of a cost, first minus second, and their corrected p-values.

    Both are of every pair of the keys, in the order of itertools.combinations.
    """
    least, largest = dict.fromkeys(keys, 1), dict.fromkeys(keys, len(keys))
    for pair, difference, p_value in zip(itertools.combinations(keys, 2), differences, p_values, strict=True):
        if p_value < 1 - CONFIDENCE:
            better, worse = reversed(pair) if difference > 0 else pair
            least[worse] += 1
            largest[better] -= 1
    return {key: (least[key], largest[key]) for key in keys}


def rank_text(least: int | None, largest: int | None) -> str:
    """A rank range as tables show it: '1', '1-3', or a dash for none."""
    if least is None:
        return NO_RANK
    return str(least) if largest in (least, None) else f"{least}-{largest}"


def rank_texts(frame: pl.DataFrame, least: str = "rank", largest: str = "rank_worst") -> pl.Series:
    """`rank_text` of each row of a frame, by the columns of both ends."""
    return pl.Series([rank_text(*ends) for ends in frame.select(least, largest).iter_rows()], dtype=pl.String)


def place_of_best(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Which row of a workload's leaderboard is the best: the lowest score of those that learned; None if none did.

    Only those with a rank count, unless none has one: the place of an entry with a single seed can't be told.
    """
    learned = [place for place, row in enumerate(rows) if has_learned(row["flags"])]
    ranked = [place for place in learned if rows[place]["rank"] is not None]
    return min(ranked or learned, key=lambda place: rows[place]["lr_sensitivity"], default=None)
