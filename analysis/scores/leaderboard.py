"""Scores to a leaderboard: intervals, rank ranges, warnings in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import SupportsFloat

import polars as pl

from analysis.curves import ENTRY, Entries, curves, entries_by_workload
from analysis.losses import choose_loss
from analysis.scores.controls import CONTROL, CONTROL_COLUMNS, control_columns, without_controls
from analysis.scores.costs import COST_COLUMNS
from analysis.scores.flags import flag_text, flags_of
from analysis.scores.generalisation import HELD_OUT_MEASURES, held_out
from analysis.scores.guards import board_flags
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.robustness import SENSITIVITIES
from analysis.scores.seeds.intervals import interval
from analysis.scores.seeds.rank_ranges import rank_ranges
from analysis.scores.seeds.separation import comparable_entries
from analysis.scores.unscored import unscored_rows
from bench.errors import unknown

# Of SCORE_KINDS. The first, which orders the entries, may be any of SENSITIVITIES: the column `definition` says which.
BOARD_SCORES = (
    *("lr_sensitivity", "best_loss", "best_lr", "stable_decades"),
    *("diverged_share", "blown_up_share", "stuck_share"),
)

_SCORE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("rank", "rank_worst"), pl.Int64),
    "workload": pl.String,
    "method": pl.String,
    "optimizer": pl.String,
    "lr_sensitivity": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    **dict.fromkeys((*BOARD_SCORES[1:], "blown_up_loss"), pl.Float64),
    "num_seeds": pl.Int64,
    "num_trials": pl.Int64,
    "flags": pl.String,
    "knobs": pl.String,
    "definition": pl.String,
    "loss": pl.String,
    **CONTROL_COLUMNS,
    **COST_COLUMNS,
}

LEADERBOARD_COLUMNS: dict[str, type[pl.DataType]] = {**_SCORE_COLUMNS, **HELD_OUT_MEASURES}


def leaderboard(
    results: pl.DataFrame,
    score: str = "lr_sensitivity",
    loss: str = "train",
    controls: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """One row an entry: LEADERBOARD_COLUMNS, by workload, then the score ascending (lower is more robust).

    `results` has RESULT_COLUMNS; `score` names one of SENSITIVITIES, fills the column `lr_sensitivity` and is named in
    `definition`; all scores are of the `loss`, one of SCORED_LOSSES. ci_low and ci_high bound the 95% interval over
    seeds (null with one seed). rank and rank_worst are the ends of the entry's rank range (`rank_ranges`), among the
    entries of the workload. An entry at chance or with one seed has no rank (null) and outranks nobody: the sensitivity
    of the one says nothing, the place of the other can't be told; one with a single learning rate has no sensitivity.
    blown_up_loss is the largest final loss of the trials that blew up, null if none did. An entry without any result,
    or without a finite loss at init, comes last in its workload, flagged by one of NOT_SCORED: no rank, no score but
    its diverged_share.
    HELD_OUT_MEASURES are at the entry's best_lr, whichever loss chose it, and null where the workload has no held-out
    data. `controls`: methods that are A/A controls, by label, and the label of what each is a control of; they have no
    rank, and no other entry is compared with them. COST_COLUMNS are null: `with_costs` fills them. Raises UsageError as
    `choose_loss` does.
    """
    if score not in SENSITIVITIES:
        raise unknown("score", score, SENSITIVITIES)
    controls = controls or {}
    scored = choose_loss(results, loss)
    rows = [row for entries in entries_by_workload(scored) for row in _rows(entries, score, controls)]
    rows = [{**row, "loss": loss} for row in (*rows, *unscored_rows(curves(scored), score, controls))]
    order = ("workload", "lr_sensitivity", "method", "optimizer", "knobs")
    board = pl.DataFrame(rows, schema=_SCORE_COLUMNS).sort(*order, nulls_last=True)
    board = _with_ends(board, curves(scored))
    most_steps = pl.col("num_steps").max().cast(pl.Float64).fill_null(math.inf)
    num_steps = dict(results.group_by("workload").agg(most_steps).iter_rows())
    measures = held_out(curves(results), board, num_steps)
    return board.join(measures, on=ENTRY, how="left", maintain_order="left").select(*LEADERBOARD_COLUMNS)


def _rows(entries: Entries, score: str, controls: Mapping[str, str]) -> list[dict[str, object]]:
    compared = without_controls(entries, controls)
    ranks = dict.fromkeys(entries, (None, None)) | rank_ranges(comparable_entries(compared), SENSITIVITIES[score])
    grids = Counter(tuple(grid.lrs) for grid in entries.values() if len(grid.lrs) > 1).most_common(1)
    usual_lrs = grids[0][0] if grids else ()
    flags = board_flags(compared, score, usual_lrs)
    for key in entries.keys() - compared.keys():
        (own,) = board_flags({key: entries[key]}, score, usual_lrs).values()
        flags[key] = flag_text({*flags_of(own), CONTROL})
    rows = []
    for key, grid in entries.items():
        rows.append(
            {
                **dict(zip(ENTRY, key, strict=True)),
                **dict(zip(("rank", "rank_worst"), ranks[key], strict=True)),
                **interval(SENSITIVITIES[score], grid)
                .within(SCORE_KINDS[score].bounds)
                .columns("lr_sensitivity", "ci"),
                **{name: _number(SCORE_KINDS[name].function(*grid.data)) for name in BOARD_SCORES[1:-2]},
                "num_seeds": len(grid.seeds),
                "num_trials": grid.num_trials,
                "flags": flags[key],
                "definition": score,
                **control_columns(entries, key, controls, SENSITIVITIES[score]),
            }
        )
    return rows


def _number(value: SupportsFloat) -> float | None:
    """None for NaN: a score that is not defined."""
    number = float(value)
    return None if math.isnan(number) else number


def _with_ends(board: pl.DataFrame, curve_frame: pl.DataFrame) -> pl.DataFrame:
    """The board with the shares that blew up and are stuck, the largest loss of the former, and a flag of theirs."""
    blown_up = pl.col("blown_up")
    entries = curve_frame.filter(pl.col("final_loss").is_not_null()).group_by(ENTRY)
    shares = entries.agg(
        blown_up_share=blown_up.cast(pl.Float64).mean(),
        stuck_share=pl.col("stuck").cast(pl.Float64).mean(),
        blown_up_loss=pl.col("final_loss").filter(blown_up).max(),
    )
    measured = board.drop("blown_up_share", "stuck_share", "blown_up_loss")
    joined = measured.join(shares, on=ENTRY, how="left", maintain_order="left")
    flags = [
        flag_text({*flags_of(text), "blown_up"} if share else flags_of(text))
        for text, share in joined.select("flags", "blown_up_share").iter_rows()
    ]
    return joined.with_columns(flags=pl.Series(flags, dtype=pl.String))
