"""Entries that no score can be computed of, and why: they stand on a leaderboard all the same, unranked."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analysis.curves import CURVE_COLUMNS, ENTRY, can_be_scored, require_columns
from analysis.scores.controls import CONTROL
from analysis.scores.flags import flag_text

_RESULT = pl.col("final_loss").is_not_null()


def unscored_rows(curve_frame: pl.DataFrame, score: str, controls: Mapping[str, str]) -> list[dict[str, object]]:
    """Rows of a leaderboard, one an entry that not `can_be_scored`, in the order of their keys; what is absent is null.

    `curve_frame` is that of `curves`. diverged_share is of the trials with a result, null where there are none.
    `score` and `controls` as `leaderboard` takes them.
    """
    require_columns(curve_frame, CURVE_COLUMNS, "the curves frame")
    counted = (
        curve_frame.filter(~can_be_scored())
        .group_by(ENTRY)
        .agg(
            diverged_share=pl.col("final_loss").filter(_RESULT).is_infinite().cast(pl.Float64).mean(),
            num_seeds=pl.col("seed").filter(_RESULT).n_unique(),
            num_trials=_RESULT.sum(),
            num_lost=(~_RESULT).sum(),
        )
        .sort(ENTRY)
    )
    return [
        {
            **{name: row[name] for name in (*ENTRY, "diverged_share", "num_seeds", "num_trials")},
            "flags": flag_text(_flags(row) | ({CONTROL} if row["method"] in controls else set())),
            "definition": score,
            "control_of": controls.get(row["method"], ""),
        }
        for row in counted.iter_rows(named=True)
    ]


def _flags(row: Mapping[str, int]) -> set[str]:
    if not row["num_trials"]:
        return {"no_result"}
    return {"no_init_loss", "lost_trials"} if row["num_lost"] else {"no_init_loss"}
