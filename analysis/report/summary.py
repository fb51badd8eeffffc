"""A leaderboard in words: whose score is the least, and from whom the seeds tell it apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from analysis.curves import label_of, require_columns
from analysis.scores.controls import CONTROL
from analysis.scores.flags import flags_of, has_flag, has_learned
from analysis.scores.leaderboard import LEADERBOARD_COLUMNS
from analysis.scores.seeds.rank_ranges import place_of_best, rank_text
from analysis.tables.forms.table import Number
from analysis.text import counted, decimals

_MOST_NAMES = 4


def summary_sentences(board: pl.DataFrame) -> list[str]:
    """A few sentences for each workload of a leaderboard, as plain text; workloads are named if there are several.

    They say of the best, the entry that tables print in bold, from whom the seeds tell it apart, by its rank range;
    who has no rank, and why. A/A controls are no entries of theirs.
    """
    require_columns(board, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    parts = board.partition_by("workload", maintain_order=True)
    return [(f"On {part['workload'][0]}: " if len(parts) > 1 else "") + _sentences(part) for part in parts]


def _sentences(part: pl.DataFrame) -> str:
    compared = part.filter(~has_flag(CONTROL))
    rows, names = compared.to_dicts(), names_of(compared)
    best = place_of_best(rows)
    if best is None:
        more = _unscored(rows, names) + _blown_up(rows, names)
        if all("one_lr" in flags_of(row["flags"]) for row in rows):
            return f"An LR sensitivity takes two learning rates; {_count(len(rows))} had one.{_blown_up(rows, names)}"
        return f"None of {_count(len(rows))} learned enough to be called robust.{more}"
    learned = [place for place, row in enumerate(rows) if has_learned(row["flags"])]
    sentence = f"{names[best]} has the least LR sensitivity ({_score(rows[best], part)})"
    if len(learned) == 1:
        sentence = f"{names[best]} is the only entry that learned (LR sensitivity {_score(rows[best], part)})"
    alone = [names[place] for place in learned if rows[place]["rank"] is None and place != best]
    unpaired = [names[place] for place in learned if "unpaired" in flags_of(rows[place]["flags"])]
    more = _unlearned(rows, names) + _blown_up(rows, names)
    if rows[best]["rank"] is None:
        return f"{sentence}{'; with one seed no difference can be tested' if alone else ''}.{more}"
    return f"{sentence}{_apart(best, rows, names)}{_alone(alone)}{_unpaired(unpaired)}{more}"


def names_of(part: pl.DataFrame) -> list[str]:
    """What sentences call each row of a workload's leaderboard: the method, with what else names it in parentheses."""
    has_optimizers = part["optimizer"].n_unique() > 1
    named = []
    for method, optimizer, knobs in part.select("method", "optimizer", "knobs").iter_rows():
        more = label_of((optimizer if has_optimizers else "", knobs))
        named.append(f"{method} ({more})" if more else method)
    return named


def _apart(best: int, rows: list[dict[str, Any]], names: list[str]) -> str:
    """From which of the entries with a rank the seeds tell the best apart, as its rank range says."""
    others = [place for place, row in enumerate(rows) if row["rank"] is not None and place != best]
    num_tied = rows[best]["rank_worst"] - rows[best]["rank"]
    if not others:
        return "."
    if rows[best]["rank"] > 1:
        ranks = rank_text(rows[best]["rank"], rows[best]["rank_worst"])
        return f"; its rank is {ranks}, behind what learned too little."
    if not num_tied:
        whom = listed(names[place] for place in others) if len(others) <= _MOST_NAMES else f"all other {len(others)}"
        return f"; it is the most robust to the learning rate: its seeds tell it apart from {whom}."
    if num_tied == len(others) > 1:
        return f"; its seeds do not tell it apart from any of the other {num_tied}."
    tied = [names[place] for place in others if rows[place]["rank"] == 1]
    if len(tied) == num_tied:
        return f"; its seeds do not tell it apart from {listed(tied)}."
    among = f", {listed(tied)} among them" if tied else ""
    return f"; its seeds do not tell it apart from {num_tied} of the other {len(others)}{among}."


def _alone(names: list[str]) -> str:
    if not names:
        return ""
    return f" {listed(names)} {'has' if len(names) == 1 else 'have'} one seed: no rank, no difference can be tested."


def _unpaired(names: list[str]) -> str:
    return f" Compared unpaired, by seeds that the others do not have: {listed(names)}." if names else ""


def _unlearned(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Who learned too little, and who has no score at all."""
    little = [
        name
        for row, name in zip(rows, names, strict=True)
        if row["lr_sensitivity"] is not None and not has_learned(row["flags"])
    ]
    sentence = f" Too little learned for a low value to say much: {listed(little)}." if little else ""
    return sentence + _unscored(rows, names)


def _unscored(rows: list[dict[str, Any]], names: list[str]) -> str:
    unscored = [(row, name) for row, name in zip(rows, names, strict=True) if row["lr_sensitivity"] is None]
    one_lr = [name for row, name in unscored if "one_lr" in flags_of(row["flags"])]
    others = [name for row, name in unscored if "one_lr" not in flags_of(row["flags"])]
    sentence = f" At one learning rate alone, so without an LR sensitivity: {listed(one_lr)}." if one_lr else ""
    return sentence + (f" Without a score: {listed(others)}." if others else "")


def _blown_up(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Which entries have trials that blew up, and how far at most."""
    sentence = [
        f"{round(row['blown_up_share'] * row['num_trials'])} of {name}'s {counted(row['num_trials'], 'trial')} "
        f"(largest {_large(row['blown_up_loss'])})"
        for row, name in zip(rows, names, strict=True)
        if row["blown_up_share"]
    ]
    return f" Ended above their loss at init: {listed(sentence)}." if sentence else ""


def _large(loss: float) -> str:
    return f"{loss:,.0f}" if 1e3 <= loss < 1e9 else f"{loss:.3g}"


def _score(row: dict[str, Any], part: pl.DataFrame) -> str:
    value, low, high = (row[name] for name in ("lr_sensitivity", "ci_low", "ci_high"))
    cell = Number(value=value, low=low, high=high, decimals=decimals(part["lr_sensitivity"].drop_nulls(), 3))
    return cell.digits + ("" if cell.ends is None else f", 95% interval {' to '.join(cell.ends)}")


def _count(number_of: int) -> str:
    return "1 entry" if number_of == 1 else f"{number_of} entries"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, a few at most."""
    names = list(names)
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
