"""What a trial's trace says about it: loss spikes, steps to a target loss, collapse of attention entropy.

Everything is one lazy Polars plan over TRACE_COLUMNS + trial_id, so a scan of Parquet files is read in streams: only
the rows of MEASURED_QUANTITIES are kept, and no Python loop runs over trials. Values that are not finite are left out.

Loss spike. The measured loss exceeds the mean of the 100 measured losses before it (at least 20) by more than seven of
their standard deviations, all of log loss. Source: the spike score of OLMo 2 (Walsh et al. 2025, after Karpathy), the
share of values seven standard deviations from a rolling mean of the last 1,000. Ours departs from it in the shorter
window, as suites have a few hundred to a few thousand measured losses; in counting upward alone; in log loss, so that
neither the unit of the loss nor one huge value before it decides; and in taking a standard deviation of at least 0.001
(0.1% of the loss), so that rounding is no spike. Wortsman et al. 2023b (arXiv 2304.13013) use 3.2 deviations, which the
heavy tails of small batches pass by chance.

Recovered spike. LASTING_LOSSES measured losses in a row lie above the median of the 100 before the first of them (at
least 20) by more than six robust standard deviations, 1.4826 times their median absolute deviation (0.1% of the median
at least), and within RECOVERY_STEPS steps one is back below that. Source: this project, after
labels of loss spikes in public training notes; fixed before any result was looked at.

Steps to target. The first measured step at which the mean of the last ten measured losses (fewer at the start), each
clipped at the loss at init, is at or below the target; so it lags behind the loss itself by up to nine measurements.
Of trials that diverged it is null. Source: this project; targets as in AlgoPerf (Dahl et al. 2023).

Entropy collapse. A layer's `entropy` lies below a tenth of the most that it can be, the `uniform_entropy` of the
same step, or the layer's largest where a step has none: the mean over rows of the log of the number of keys that a row
sees. Where all see N = 21 keys, log N, that is below 0.30 nats, about 1.4 keys a row by exp(H). Zhai et al. 2023 call
it "pathologically low" without a number; the tenth is this project's. The same of `least_head_entropy`, since one head
of many that collapses hardly moves the mean of its layer.
Traces of before there was `uniform_entropy` are taken to be of rows that all see N keys: under a causal mask or in a
window their shares come out too small, and collapses too many (`assumes_log_n`).
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.lazy import polars as pl
from bench.trace import TRACE_COLUMNS

SPIKE_DEVIATIONS = 7.0
SPIKE_WINDOW = 100
SPIKE_MIN_LOSSES = 20
LEAST_DEVIATION = 1e-3
SPIKE_MADS = 6.0
LASTING_LOSSES = 3
RECOVERY_STEPS = 2000
TARGET_LOSSES = 10
COLLAPSE_SHARE = 0.1
MEASURED_QUANTITIES = ("loss", "entropy", "least_head_entropy", "uniform_entropy")  # all that is read of traces

_LEAST_LOSS = 1e-30  # of a log
_LAYERS = 1 << 16  # more than Int16 holds: packs step and layer into one number, the earlier step first

TRIAL_COLUMNS: dict[str, type] = {
    "trial_id": str,
    "ceiling": float,  # the loss at init, at which losses are clipped
    "target": float,  # loss to reach; null: none
    "log_keys": float,  # log N of the workload's attention, where the trace lacks uniform_entropy; null: unknown
}

MEASURES: dict[str, type] = {
    "spike_share": float,  # of the measured losses with enough before them, in [0, 1]; null without any
    "num_judged": float,  # measured losses with enough before them
    "has_recovered_spike": float,  # 1, or 0; null without losses that can be judged
    "target_step": float,  # updates; null: not reached
    "collapse_step": float,  # updates; null: no layer collapsed
    "collapse_layer": float,  # the layer that collapsed first, the lowest of several; null likewise
    "lowest_entropy": float,  # least over layers and steps, as a share of the most it can be; null without entropy
    "head_collapse_step": float,  # updates; null: no head collapsed
    "lowest_head_entropy": float,  # as lowest_entropy, of the least head; null where it was not traced
    "last_layer": float,  # the highest of the layers with an entropy
    "assumes_log_n": bool,  # shares of log N, for want of uniform_entropy; null without entropy
    "has_loss": bool,
}


def trial_measures(traces: pl.DataFrame | pl.LazyFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """trial_id and MEASURES, one row a trial of `trials` (TRIAL_COLUMNS); all null where a trial has no trace.

    `traces` has trial_id and TRACE_COLUMNS in any order.
    """
    rows = traces.lazy().select("trial_id", *TRACE_COLUMNS).filter(pl.col("value").is_finite())
    known = trials.lazy().select(*TRIAL_COLUMNS)
    of_loss, of_entropy = pl.collect_all([_of_loss(rows, known), _of_entropy(rows, known)], engine="streaming")
    return (
        trials.select("trial_id")
        .join(of_loss, on="trial_id", how="left", maintain_order="left")
        .join(of_entropy, on="trial_id", how="left", maintain_order="left")
        .with_columns(pl.col("has_loss").fill_null(False))
        .select("trial_id", *(pl.col(name).cast(dtype) for name, dtype in MEASURES.items()))
    )


def lot_measures(lots: Iterable[pl.DataFrame], trials: pl.DataFrame) -> pl.DataFrame:
    """`trial_measures` of traces that come in lots of whole trials, of which one at a time is held.

    A trial that is in no lot has no row.
    """
    nothing = pl.DataFrame(schema={"trial_id": pl.String, **MEASURES})
    rows = [
        trial_measures(lot, trials.filter(pl.col("trial_id").is_in(lot["trial_id"].unique().to_list()))) for lot in lots
    ]
    return pl.concat([nothing, *rows])


def _of_loss(rows: pl.LazyFrame, trials: pl.LazyFrame) -> pl.LazyFrame:
    """trial_id, spike_share, num_judged, target_step, has_loss of the trials with a finite loss."""
    log_loss = pl.col("value").clip(lower_bound=_LEAST_LOSS).log()
    before = log_loss.shift(1)
    usual = before.rolling_mean(SPIKE_WINDOW, min_samples=SPIKE_MIN_LOSSES)
    deviation = before.rolling_std(SPIKE_WINDOW, min_samples=SPIKE_MIN_LOSSES).clip(lower_bound=LEAST_DEVIATION)
    is_spike = log_loss > usual + SPIKE_DEVIATIONS * deviation
    clipped = pl.min_horizontal("value", "ceiling")
    recent = clipped.rolling_mean(TARGET_LOSSES, min_samples=1)
    return (
        rows.filter(pl.col("quantity") == "loss")
        .join(trials.select("trial_id", "ceiling", "target"), on="trial_id")
        .select("trial_id", "step", "target", "ceiling", pl.col("value").cast(pl.Float64))
        .sort("trial_id", "step")
        .group_by("trial_id")
        .agg(
            spike_share=is_spike.mean(),
            num_judged=is_spike.count(),
            has_recovered_spike=_has_recovered_spike(),
            target_step=pl.col("step").filter(recent <= pl.col("target")).min(),
            has_loss=pl.lit(True),
        )
    )


def _has_recovered_spike() -> pl.Expr:
    """Of a trial's rows by step; the spike's own losses are told apart from those before by the first of them."""
    value = pl.col("value").cast(pl.Float64)
    before = value.shift(1)
    usual = before.rolling_median(SPIKE_WINDOW, min_samples=SPIKE_MIN_LOSSES)
    apart = (before - usual.shift(1)).abs().rolling_median(SPIKE_WINDOW, min_samples=SPIKE_MIN_LOSSES // 2)
    least = LEAST_DEVIATION * usual.abs()
    limit = usual + SPIKE_MADS * pl.max_horizontal(1.4826 * apart, least)
    lasts = pl.all_horizontal(*(value.shift(-later) > limit for later in range(LASTING_LOSSES))).fill_null(False)
    begins = lasts & ~lasts.shift(1, fill_value=False)
    begun, since = (pl.when(begins).then(each).forward_fill() for each in (limit, pl.col("step")))
    is_back = (value <= begun) & (pl.col("step") - since <= RECOVERY_STEPS)
    return pl.when(limit.count() > 0).then(is_back.any().cast(pl.Float64))


def _of_entropy(rows: pl.LazyFrame, trials: pl.LazyFrame) -> pl.LazyFrame:
    """trial_id and the MEASURES of entropy, of the trials with a finite entropy and something to take a share of."""
    of_layer = pl.col("quantity").is_in(["entropy", "least_head_entropy"])
    # Batches of padded examples differ in how many keys their rows see: each step has a most of its own.
    most = pl.coalesce(
        pl.col("most").max().over("trial_id", "layer", "step"), pl.col("most").max().over("trial_id", "layer")
    )
    share = (pl.col("value").cast(pl.Float64) / pl.coalesce("most", "log_keys")).clip(upper_bound=1)  # but for rounding
    place = pl.col("step").cast(pl.Int64) * _LAYERS + pl.col("layer").cast(pl.Int64)
    first, first_head = pl.col("first"), pl.col("first_head")
    is_mean = pl.col("quantity") == "entropy"
    is_low = pl.col("share") < COLLAPSE_SHARE
    return (
        rows.filter(of_layer | (pl.col("quantity") == "uniform_entropy"))
        .with_columns(most=pl.when(~of_layer).then(pl.col("value").cast(pl.Float64)))
        .with_columns(most=most)
        .filter(of_layer)
        .join(trials.select("trial_id", "log_keys"), on="trial_id")
        .filter(pl.coalesce("most", "log_keys") > 0)
        .select("trial_id", "quantity", share=share, place=place, assumed=pl.col("most").is_null())
        .group_by("trial_id")
        .agg(
            lowest_entropy=pl.col("share").filter(is_mean).min(),
            first=pl.col("place").filter(is_mean & is_low).min(),
            lowest_head_entropy=pl.col("share").filter(~is_mean).min(),
            first_head=pl.col("place").filter(~is_mean & is_low).min(),
            last_layer=(pl.col("place") % _LAYERS).max(),
            assumes_log_n=pl.col("assumed").any(),
        )
        .with_columns(collapse_step=first // _LAYERS, collapse_layer=first % _LAYERS)
        .with_columns(head_collapse_step=first_head // _LAYERS)
        .drop("first", "first_head")
    )
