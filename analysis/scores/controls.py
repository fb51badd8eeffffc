"""A/A controls: entries whose function is another's, and how far their score lies from it by rounding alone."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.curves import Entries
from analysis.scores.robustness import Score
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import entry_difference

CONTROL = "control"  # the flag of such an entry
CONTROL_COLUMNS: dict[str, type[pl.DataType]] = {
    "control_of": pl.String,
    **dict.fromkeys(("floor", "floor_ci_low", "floor_ci_high"), pl.Float64),
}

_DIGITS = 2


def without_controls(entries: Entries, controls: Mapping[str, str]) -> Entries:
    """The entries that are compared as methods; `controls`: label of a control's method to that of its method."""
    return {key: grid for key, grid in entries.items() if key[1] not in controls}


def control_columns(
    entries: Entries, key: tuple[str, ...], controls: Mapping[str, str], score: Score
) -> dict[str, object]:
    """CONTROL_COLUMNS of an entry of a workload: the score of a control minus that of what it is a control of.

    control_of is "" for an entry that is no control, the numbers null, as they are where the other entry is not there.
    floor_ci_low and floor_ci_high bound the 95% interval over seeds.
    """
    of = controls.get(key[1], "")
    other = (key[0], of, *key[2:])
    if other not in entries:
        return {"control_of": of}
    floor = entry_difference(score, entries[key], entries[other]).interval
    return {"control_of": of, **floor.columns("floor", "floor_ci")}


def floor_sentences(board: pl.DataFrame, *, over: str = "seeds") -> list[str]:
    """For each control of a leaderboard how far it lies from its method, and what follows; `over`: of the interval."""
    rows = board.filter(pl.col("floor").is_not_null()).to_dicts()
    places = ["workload", *(name for name in ("optimizer", "knobs") if board[name].n_unique() > 1)]
    sentences = []
    for row in rows:
        place = ", ".join(row[name] for name in places if row[name])
        where = f" ({place})" if len(rows) > 1 else ""
        sentences.append(
            f"A/A: {row['control_of']} and {row['method']}, which has the same function, differ by "
            f"{_signed(row['floor'])} {_bracket(row, over)}{where}: smaller differences mean nothing."
        )
    return sentences


def _bracket(row: Mapping[str, object], over: str) -> str:
    low, high = row["floor_ci_low"], row["floor_ci_high"]
    if low is None or high is None:
        return "(one seed: no interval)"
    return f"[{_signed(low)}, {_signed(high)}] ({CONFIDENCE:.0%} interval over {over})"


def _signed(value: object) -> str:
    return f"{value:.{_DIGITS}g}"
