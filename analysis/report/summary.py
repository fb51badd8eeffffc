"""A leaderboard in words: who is the most robust, and from whom it can't be told apart."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from analysis.curves import entry_label, require_columns
from analysis.scores.flags import has_learned
from analysis.scores.leaderboard import LEADERBOARD_COLUMNS
from analysis.text import decimals, number

_MOST_NAMES = 4


def summary_sentences(board: pl.DataFrame) -> list[str]:
    """One sentence or two for each workload of a leaderboard, as plain text; workloads are named if there are several.

    The best is the entry that tables print in bold: the lowest score of those that learned something. Those of rank 1
    beside it can't be told apart from it by their seeds.
    """
    require_columns(board, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    parts = board.partition_by("workload", maintain_order=True)
    return [(f"On {part['workload'][0]}: " if len(parts) > 1 else "") + _sentence(part) for part in parts]


def _sentence(part: pl.DataFrame) -> str:
    has_optimizers = part["optimizer"].n_unique() > 1
    rows = part.to_dicts()
    names = [_name(row["method"], row["optimizer"] if has_optimizers else "", row["knobs"]) for row in rows]
    learned = [place for place, row in enumerate(rows) if has_learned(row["flags"])]
    if not learned:
        return f"None of {_count(len(rows))} learned enough to be called robust."
    best = min(learned, key=lambda place: rows[place]["lr_sensitivity"])
    others = [place for place in learned if place != best]
    told = f"{names[best]} is the most robust to the learning rate ({_score(rows[best], part)})"
    if not others:
        told = f"{names[best]} is the only entry that learned ({_score(rows[best], part)})"
    tied = [names[place] for place in others if rows[place]["rank"] == 1]
    little = [names[place] for place in range(len(rows)) if place not in learned]
    return f"{told}{_ties(tied, len(others), min(row['num_seeds'] for row in rows))}{_little(little)}"


def _name(method: str, optimizer: str, knobs: str) -> str:
    """The method, and in parentheses what else names the entry: commas divide entries."""
    more = entry_label("", optimizer, knobs)
    return f"{method} ({more})" if more else method


def _ties(tied: list[str], num_others: int, num_seeds: int) -> str:
    if not num_others:
        return "."
    if num_seeds < 2:
        return "; with one seed no difference can be tested."
    if not tied:
        return "; no other entry that learned shares its rank."
    if len(tied) == num_others and num_others > 1:
        return f", but its seeds can't tell it apart from any of the other {num_others}."
    return f", but its seeds can't tell it apart from {listed(tied)}."


def _little(names: list[str]) -> str:
    if not names:
        return ""
    return f" Learned too little to be compared: {listed(names)}."


def _score(row: dict[str, object], part: pl.DataFrame) -> str:
    places = decimals(part["lr_sensitivity"], 3)
    value, low, high = (row[name] for name in ("lr_sensitivity", "ci_low", "ci_high"))
    assert isinstance(value, float)
    told = f"LR sensitivity {number(value, places)}"
    if isinstance(low, float) and isinstance(high, float):
        told += f", 95% interval {number(low, places)} to {number(high, places)}"
    return told


def _count(number_of: int) -> str:
    return "1 entry" if number_of == 1 else f"{number_of} entries"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, a few at most."""
    names = list(names)
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
