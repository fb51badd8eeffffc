"""What an intervention does: trials with it minus their untouched twins, of the same seed, data and pack.

Until the intervention acts both are equal to the bit, so what differs is its doing. At each learning rate, of the pairs
over seeds: the difference in the share that diverged, with Newcombe's interval for paired shares (method 10 of Newcombe
1998, hybrid score with a continuity correction of the correlation), which is none of one point where all pairs agree;
the difference in final loss, a failure or a loss above it counting as the loss at init, with Student's interval; and
recovery, of pairs in which both completed: the first measured step from the end of the intervention on (from its
beginning, if it acts for good) from which the mean over RECOVERY_LOSSES measured losses stays to the end within
RECOVERY_EXCESS of that of the twin, in steps since then. Pairs that never recover are censored: no median where half do
not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import polars as pl

from analysis.curves import require_columns
from analysis.scores.seeds.intervals import mean_interval, wilson_interval
from analysis.scores.seeds.scales import Interval
from bench.outcome import RESULT_OUTCOMES

RECOVERY_LOSSES = 5
RECOVERY_EXCESS = 0.05

PAIR_COLUMNS: dict[str, type[pl.DataType]] = {
    "trial_id": pl.String,
    "twin_id": pl.String,
    "intervention": pl.String,
    "strength": pl.Float64,  # null: it acts or does not
    "from_step": pl.Int64,
    "end_step": pl.Int64,  # the first at which it acts no longer; null: for good
}
_WHAT = ("workload", "method", "optimizer", "schedule", "intervention", "strength", "from_step", "end_step")
_KNOBS = ("lr", "warmup_steps", "weight_decay", "grad_clip", "init_scale")
PAIRED_COLUMNS: dict[str, type[pl.DataType]] = {
    **{name: PAIR_COLUMNS.get(name, pl.String) for name in _WHAT},
    **dict.fromkeys(_KNOBS, pl.Float64),
    "seed": pl.Int64,
    "capped": pl.Float64,  # final loss, a failure or a loss above it counting as the loss at init
    "twin_capped": pl.Float64,
    "has_diverged": pl.Boolean,
    "twin_has_diverged": pl.Boolean,
    "is_measured": pl.Boolean,  # both completed, and their losses over time say when, or that never, it recovered
    "recovery_steps": pl.Float64,  # null: never, if it is measured
}
EFFECT_COLUMNS: dict[str, type[pl.DataType]] = {
    **{name: PAIR_COLUMNS.get(name, pl.String) for name in _WHAT},
    **dict.fromkeys(_KNOBS, pl.Float64),
    "num_pairs": pl.Int64,
    "twin_diverged": pl.Float64,  # share of the untouched
    "diverged": pl.Float64,  # share of those with the intervention minus `twin_diverged`
    "diverged_low": pl.Float64,
    "diverged_high": pl.Float64,
    "twin_loss": pl.Float64,  # mean final loss of the untouched, a failure counting as the loss at init
    "loss": pl.Float64,  # mean over pairs of the difference
    "loss_low": pl.Float64,
    "loss_high": pl.Float64,
    "recovered": pl.Float64,  # share of pairs in which both completed; null without any, or without losses over time
    "recovery_steps": pl.Float64,  # median, censored pairs counting as the longest; null where that is of one of them
}


def paired(results: pl.DataFrame, pairs: pl.DataFrame, losses: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """PAIRED_COLUMNS, a row for each pair of which both trials completed or diverged.

    results: RESULT_COLUMNS. pairs: PAIR_COLUMNS. losses: trial_id and TRACE_COLUMNS of the quantity `loss`, in frames
    of whole trials; without any nothing is said of recovery.
    """
    require_columns(pairs, tuple(PAIR_COLUMNS), "the frame of pairs")
    has_diverged = pl.col("outcome") == "diverged"
    capped = pl.when(has_diverged).then("initial_loss").otherwise(pl.min_horizontal("final_loss", "initial_loss"))
    ended = results.filter(pl.col("outcome").is_in(RESULT_OUTCOMES)).with_columns(
        capped=capped, has_diverged=has_diverged
    )
    twins = ended.select("trial_id", "capped", "has_diverged").select(pl.all().name.prefix("twin_"))
    own = ended.drop("intervention", strict=False)
    matched = pairs.join(own, on="trial_id").join(twins, left_on="twin_id", right_on="twin_trial_id")
    matched = matched.join(_recoveries(matched, losses), on="trial_id", how="left")
    return matched.with_columns(pl.col("is_measured").fill_null(False)).select(*PAIRED_COLUMNS)


def effects(matched: pl.DataFrame) -> pl.DataFrame:
    """EFFECT_COLUMNS, a row for each intervention and setting of knobs of an entry, of a frame of `paired`."""
    rows = [
        dict(zip((*_WHAT, *_KNOBS), key, strict=True)) | _effect(group)
        for key, group in matched.group_by(*_WHAT, *_KNOBS, maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=EFFECT_COLUMNS).sort(*_WHAT, *_KNOBS, maintain_order=True)


def paired_shares(both: int, first: int, second: int, neither: int) -> Interval:
    """First share minus second over pairs, with Newcombe's interval; the numbers of pairs in which which one is so.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635, method 10.
    """
    num_pairs = both + first + second + neither
    if num_pairs < 2:
        return Interval(value=float(first - second) / max(num_pairs, 1), low=None, high=None)
    one, two = (both + first) / num_pairs, (both + second) / num_pairs
    (low_1, high_1), (low_2, high_2) = (wilson_interval(share, num_pairs) for share in (one, two))
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    surplus = both * neither - first * second
    surplus = max(surplus - num_pairs / 2, 0) if surplus > 0 else surplus
    phi = surplus / math.sqrt(margins) if margins else 0.0
    below = (one - low_1) ** 2 - 2 * phi * (one - low_1) * (high_2 - two) + (high_2 - two) ** 2
    above = (two - low_2) ** 2 - 2 * phi * (two - low_2) * (high_1 - one) + (high_1 - one) ** 2
    value = one - two
    return Interval(value=value, low=value - math.sqrt(max(below, 0.0)), high=value + math.sqrt(max(above, 0.0)))


def recovery(losses_M: np.ndarray, twin_M: np.ndarray, steps_M: np.ndarray, since: int) -> float | None:
    """Steps since `since` until losses measured at steps (M,) are back at those of the twin to stay; None: never.

    NaN where nothing was measured from then on.
    """
    window = np.lib.stride_tricks.sliding_window_view
    after = np.flatnonzero(steps_M >= since)
    if len(after) < RECOVERY_LOSSES:
        return math.nan
    own, twin = (window(values[after], RECOVERY_LOSSES).mean(axis=-1) for values in (losses_M, twin_M))
    above = np.flatnonzero(own > (1 + RECOVERY_EXCESS) * twin)
    first = 0 if len(above) == 0 else above[-1] + 1
    return float(steps_M[after][first] - since) if first < len(own) else None


def _effect(group: pl.DataFrame) -> dict[str, object]:
    own, twin = group["has_diverged"].to_numpy(), group["twin_has_diverged"].to_numpy()
    shares = paired_shares(
        int((own & twin).sum()), int((own & ~twin).sum()), int((~own & twin).sum()), int((~own & ~twin).sum())
    )
    pairs = group.drop_nulls(["capped", "twin_capped"])
    loss = mean_interval((pairs["capped"] - pairs["twin_capped"]).to_numpy()) if pairs.height else None
    steps = group.filter("is_measured")["recovery_steps"]
    return {
        "num_pairs": group.height,
        "twin_diverged": float(twin.mean()),
        "diverged": shares.value,
        "diverged_low": shares.low,
        "diverged_high": shares.high,
        "twin_loss": pairs["twin_capped"].mean(),
        "loss": None if loss is None else loss.value,
        "loss_low": None if loss is None else loss.low,
        "loss_high": None if loss is None else loss.high,
        "recovered": None if steps.is_empty() else 1 - steps.null_count() / len(steps),
        "recovery_steps": _median(steps),
    }


def _median(steps: pl.Series) -> float | None:
    """The lower median with nulls as the longest; null if it is one of them."""
    ordered = steps.sort(nulls_last=True)
    return None if steps.is_empty() else ordered[(len(ordered) - 1) // 2]


def _recoveries(matched: pl.DataFrame, losses: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """trial_id, recovery_steps (null: never) and is_measured, of pairs in which both completed."""
    completed = matched.filter(~pl.col("has_diverged") & ~pl.col("twin_has_diverged"))
    of_trial: dict[str, pl.DataFrame] = {}
    for lot in losses:
        for key, trace in lot.filter(pl.col("quantity") == "loss").partition_by("trial_id", as_dict=True).items():
            of_trial[str(key[0])] = trace.select("step", pl.col("value").cast(pl.Float64)).sort("step")
    rows = []
    for trial_id, twin_id, begin, end in completed.select("trial_id", "twin_id", "from_step", "end_step").iter_rows():
        if trial_id in of_trial and twin_id in of_trial:
            both = of_trial[trial_id].join(of_trial[twin_id], on="step", suffix="_twin").sort("step")
            values = (both[name].to_numpy() for name in ("value", "value_twin", "step"))
            steps = recovery(*values, since=begin if end is None else end)
            if steps is None or not math.isnan(steps):
                rows.append((trial_id, steps, True))
    schema = {"trial_id": pl.String, "recovery_steps": pl.Float64, "is_measured": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")
