"""Scores to a leaderboard: intervals, ranks that respect ties, warnings in words."""

from __future__ import annotations

import itertools
from collections import Counter

import polars as pl

from analysis.curves import ENTRY, Entries, curves, entries_by_workload, entry_label
from analysis.losses import choose_loss
from analysis.scores.generalisation import HELD_OUT_MEASURES, held_out
from analysis.scores.guards import board_flags
from analysis.scores.intervals import CONFIDENCE, Difference, holm, interval, paired_differences
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.robustness import SENSITIVITIES, Score
from analysis.scores.separation import learned_entries
from bench.errors import unknown

# Of SCORE_KINDS. The first, which orders the entries, may be any of SENSITIVITIES: the column `definition` says which.
BOARD_SCORES = ("lr_sensitivity", "best_loss", "best_lr", "stable_decades", "diverged_share")

_SCORE_COLUMNS: dict[str, type[pl.DataType]] = {
    "rank": pl.Int64,
    "workload": pl.String,
    "method": pl.String,
    "optimizer": pl.String,
    "lr_sensitivity": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    **dict.fromkeys(BOARD_SCORES[1:], pl.Float64),
    "num_seeds": pl.Int64,
    "num_trials": pl.Int64,
    "flags": pl.String,
    "knobs": pl.String,
    "definition": pl.String,
    "loss": pl.String,
}

LEADERBOARD_COLUMNS: dict[str, type[pl.DataType]] = {**_SCORE_COLUMNS, **HELD_OUT_MEASURES}


def leaderboard(results: pl.DataFrame, score: str = "lr_sensitivity", loss: str = "train") -> pl.DataFrame:
    """One row an entry: LEADERBOARD_COLUMNS, by workload, then the score ascending (lower is more robust).

    `results` has RESULT_COLUMNS; `score` names one of SENSITIVITIES, fills the column `lr_sensitivity` and is named in
    `definition`; all scores are of the `loss`, one of SCORED_LOSSES. ci_low and ci_high bound the 95% interval over
    seeds (null with one seed). The rank is 1 + the number of entries of the workload that are significantly better
    (paired by seed, Holm corrected over the workload's pairs), so entries that can't be told apart share a rank. An
    entry at chance has no rank (null) and outranks nobody: its sensitivity says nothing. Entries without any result are
    left out. HELD_OUT_MEASURES are at the entry's best_lr, whichever loss chose it, and null where the workload has no
    held-out data. Raises UsageError as `choose_loss` does.
    """
    _sensitivity(score)
    scored = choose_loss(results, loss)
    rows = [{**row, "loss": loss} for entries in entries_by_workload(scored) for row in _rows(entries, score)]
    board = pl.DataFrame(rows, schema=_SCORE_COLUMNS).sort("workload", "lr_sensitivity", "method", "optimizer", "knobs")
    measures = held_out(curves(results), board)
    return board.join(measures, on=ENTRY, how="left", maintain_order="left").select(*LEADERBOARD_COLUMNS)


def differences(results: pl.DataFrame, score: str = "lr_sensitivity") -> pl.DataFrame:
    """Every pair of entries of a workload: first minus second, paired by seed, of the loss that `results` have chosen.

    Columns: workload, first and second (labels of method, optimizer, knobs), difference, ci_low, ci_high (uncorrected
    95% interval), p_value, p_holm (corrected over the workload's pairs), num_seeds (shared).
    """
    definition = _sensitivity(score)
    rows = [_difference_row(*pair) for entries in entries_by_workload(results) for pair in _pairs(entries, definition)]
    schema = dict.fromkeys(("workload", "first", "second"), pl.String)
    schema |= dict.fromkeys(("difference", "ci_low", "ci_high", "p_value", "p_holm"), pl.Float64)
    return pl.DataFrame(rows, schema={**schema, "num_seeds": pl.Int64})


def _rows(entries: Entries, score: str) -> list[dict[str, object]]:
    ranks = dict.fromkeys(entries) | _ranks(learned_entries(entries), SENSITIVITIES[score])
    usual_lrs = Counter(tuple(grid.lrs) for grid in entries.values()).most_common(1)[0][0]
    flags = board_flags(entries, score, usual_lrs)
    rows = []
    for key, grid in entries.items():
        data = (grid.losses, grid.initial_losses, grid.lrs)
        rows.append(
            {
                **dict(zip(ENTRY, key, strict=True)),
                "rank": ranks[key],
                **interval(SENSITIVITIES[score], grid).columns("lr_sensitivity", "ci"),
                **{name: float(SCORE_KINDS[name].function(*data)) for name in BOARD_SCORES[1:]},
                "num_seeds": len(grid.seeds),
                "num_trials": grid.num_trials,
                "flags": flags[key],
                "definition": score,
            }
        )
    return rows


def _ranks(entries: Entries, score: Score) -> dict[tuple[str, ...], int]:
    ranks = dict.fromkeys(entries, 1)
    for first, second, difference, p_holm in _pairs(entries, score):
        if p_holm < 1 - CONFIDENCE:
            ranks[first if difference.value > 0 else second] += 1
    return ranks


def _pairs(entries: Entries, score: Score) -> list[tuple[tuple[str, ...], tuple[str, ...], Difference, float]]:
    """Every pair of entries, their paired difference, and its p-value corrected for the number of pairs."""
    keys = list(itertools.combinations(entries, 2))
    found = paired_differences(score, list(entries.values()))
    corrected = holm([difference.p_value for difference in found])
    return [(*pair, difference, p) for pair, difference, p in zip(keys, found, corrected, strict=True)]


def _difference_row(
    first: tuple[str, ...], second: tuple[str, ...], difference: Difference, p_holm: float
) -> dict[str, object]:
    return {
        "workload": first[0],
        "first": entry_label(*first[1:]),
        "second": entry_label(*second[1:]),
        **difference.interval.columns("difference", "ci"),
        "p_value": difference.p_value,
        "p_holm": p_holm,
        "num_seeds": difference.num_seeds,
    }


def _sensitivity(score: str) -> Score:
    if score not in SENSITIVITIES:
        raise unknown("score", score, SENSITIVITIES)
    return SENSITIVITIES[score]
