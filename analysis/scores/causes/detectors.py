"""DETECTORS: every detector of coming failure under its name, and the records that traces leave of its signal.

A detector makes of one traced quantity a signal, larger where failure is nearer; it alarms at the first measured step
at which the signal exceeds a threshold. So of a run only the steps matter at which the signal is larger than ever
before in it: its records. Nothing looks ahead: a signal is a function of what was measured up to its step, hindsight
alone excepted. What is not finite, or not known yet, is a signal of -inf, which alarms at no threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from analysis.curves import require_columns
from bench.lazy import polars as pl

SLOPE_MEASUREMENTS = 5
GRADIENT_DECAY = 0.97  # of ZClip
GRADIENT_LEAST = 10  # gradients before the first z-score
LEAST_DEVIATION = 1e-3  # of gradient norms, as a share of their mean: rounding is no spike
LOSS_WINDOW = 200
LOSS_LEAST = 5

RECORD_COLUMNS: dict[str, type[pl.DataType]] = {
    "trial_id": pl.String,
    "detector": pl.String,
    "step": pl.Int64,
    "signal": pl.Float64,  # larger is nearer to failure
}


def _value() -> pl.Expr:
    return pl.col("value")


def _slope() -> pl.Expr:
    """Change a step over the last SLOPE_MEASUREMENTS measurements."""
    value, step = pl.col("value"), pl.col("step")
    return (value - value.shift(SLOPE_MEASUREMENTS)) / (step - step.shift(SLOPE_MEASUREMENTS))


def _z_score() -> pl.Expr:
    """Deviations above the exponential mean of those before. Source: ZClip (Kumar et al. 2025), decay 0.97."""
    value, before = pl.col("value"), pl.col("value").shift(1)
    mean = before.ewm_mean(alpha=1 - GRADIENT_DECAY, min_samples=GRADIENT_LEAST)
    deviation = before.ewm_std(alpha=1 - GRADIENT_DECAY, min_samples=GRADIENT_LEAST)
    return (value - mean) / pl.max_horizontal(deviation, LEAST_DEVIATION * mean)


def _above_median() -> pl.Expr:
    """Above the median of the LOSS_WINDOW measured before."""
    return pl.col("value") - pl.col("value").shift(1).rolling_median(LOSS_WINDOW, min_samples=LOSS_LEAST)


def _is_last_before_onset() -> pl.Expr:
    step, onset = pl.col("step"), pl.col("onset")
    return (step == step.filter(step < onset).max()).fill_null(False).cast(pl.Float64)


@dataclass(frozen=True, kw_only=True)
class Detector:
    """What is watched: a traced quantity, over layers its largest or least, and when its statistic alarms.

    statistic: an expression over one run's rows by step, with the columns step, value, lr, num_steps, onset (the last
    three of none but baselines).
    """

    title: str
    quantity: str
    is_baseline: bool = False  # something to beat: of no use to whoever would abort a run
    alarms_when: Literal["high", "low"] = "high"
    over_layers: Literal["largest", "least"] = "largest"
    statistic: Callable[[], pl.Expr] = _value


DETECTORS: dict[str, Detector] = {
    "entropy": Detector(title="Entropy, least layer", quantity="entropy", alarms_when="low", over_layers="least"),
    "entropy_slope": Detector(
        title="Fall of entropy a step", quantity="entropy", alarms_when="low", over_layers="least", statistic=_slope
    ),
    "least_head": Detector(
        title="Entropy, least head", quantity="least_head_entropy", alarms_when="low", over_layers="least"
    ),
    "logit_variance": Detector(title="Logit variance", quantity="logit_variance"),
    "max_logit": Detector(title="Largest logit", quantity="max_logit"),
    "spectral_norm": Detector(title="Spectral norm of W_q W_k^T", quantity="query_key_norm"),
    "edge_ratio": Detector(title="Sharpness / edge", quantity="edge_ratio"),
    "gradient_curvature": Detector(title="Curvature along the gradient / edge", quantity="gradient_edge_ratio"),
    "sharp_rows": Detector(title="Rows with theta < 1/2", quantity="sharp_rows"),
    "gradient_z": Detector(title="Gradient norm, z-score", quantity="grad_norm", statistic=_z_score),
    "moment_ratio": Detector(title="RMS of g / sqrt(v)", quantity="moment_ratio_rms"),
    "gradient_kurtosis": Detector(title="Kurtosis of gradients", quantity="gradient_kurtosis"),
    "loss": Detector(title="Loss alone, above its median", quantity="loss", statistic=_above_median),
    "lr": Detector(title="lr alone", quantity="loss", is_baseline=True, statistic=lambda: pl.col("lr")),
    "step": Detector(
        title="Step alone, % of the run",
        quantity="loss",
        is_baseline=True,
        statistic=lambda: (100 * pl.col("step") / pl.col("num_steps")).floor(),
    ),
    "hindsight": Detector(
        title="Hindsight of one step", quantity="loss", is_baseline=True, statistic=_is_last_before_onset
    ),
}
QUANTITIES: tuple[str, ...] = tuple(dict.fromkeys(("loss", *(one.quantity for one in DETECTORS.values()))))


def detector_records(lots: Iterable[pl.DataFrame], runs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """RECORD_COLUMNS of every detector whose quantity a run traced, and the runs whose losses were, with their onset.

    lots: trial_id and TRACE_COLUMNS, in frames of whole trials. runs: trial_id, lr, num_steps, diverged_step, and of a
    run that blew up `limit`, the loss above which it is blown up; both null of a stable run. onset: the step at which a
    run failed: `diverged_step`, or the first measured one above the limit from which on at least half of the losses are
    (the number of steps if there is none); null of a stable run.
    """
    require_columns(runs, ("trial_id", "lr", "num_steps", "diverged_step", "limit"), "the frame of runs")
    records, known = [pl.DataFrame(schema=RECORD_COLUMNS)], [_with_onsets(runs.clear(), runs.clear())]
    for lot in lots:
        value = pl.col("value").cast(pl.Float64)
        rows = lot.select(
            "trial_id", "quantity", pl.col("step").cast(pl.Int64), value=pl.when(value.is_finite()).then(value)
        )
        ended = _with_onsets(runs, rows.filter(pl.col("quantity") == "loss"))
        known.append(ended)
        records += [_records(name, one, rows, ended) for name, one in DETECTORS.items()]
    return pl.concat(records), pl.concat(known)


def signals(detector: Detector, measured: pl.DataFrame) -> pl.DataFrame:
    """trial_id, step and signal at every measured step, larger where failure is nearer, by trial and step.

    measured: trial_id, step and value of the detector's quantity, finite or null, a row a layer, and what its statistic
    reads of runs.
    """
    value = pl.col("value")
    extreme = value.max() if detector.over_layers == "largest" else value.min()
    of_run = [pl.col(name).first() for name in ("lr", "num_steps", "onset") if name in measured.columns]
    signal = detector.statistic().cast(pl.Float64).over("trial_id")
    signed = -signal if detector.alarms_when == "low" else signal
    return (
        measured.group_by("trial_id", "step")
        .agg(extreme, *of_run)
        .sort("trial_id", "step")
        .select("trial_id", "step", signal=pl.when(signed.is_finite()).then(signed).fill_null(-math.inf))
    )


def _with_onsets(runs: pl.DataFrame, losses: pl.DataFrame) -> pl.DataFrame:
    """The runs that have losses, with the column onset."""
    if losses.is_empty():
        return runs.clear().with_columns(onset=pl.lit(None, pl.Int64))
    is_above = (pl.col("value") > pl.col("limit")).cast(pl.Int64)
    share = is_above.cum_sum(reverse=True) / pl.int_range(pl.len(), 0, -1)
    rows = losses.join(runs.select("trial_id", "limit"), on="trial_id").sort("trial_id", "step")
    first = pl.col("step").filter((is_above == 1) & (share >= 0.5)).min()
    blown = rows.group_by("trial_id").agg(blown=first)
    since = pl.when(pl.col("limit").is_not_null()).then(pl.coalesce("blown", "num_steps"))
    return runs.join(blown, on="trial_id").with_columns(onset=pl.coalesce("diverged_step", since)).drop("blown")


def _records(name: str, detector: Detector, rows: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    most = pl.col("signal").cum_max().shift(1).over("trial_id")
    of_quantity = rows.filter(pl.col("quantity") == detector.quantity)
    onsets = signals(detector, of_quantity.join(runs.select("trial_id", "lr", "num_steps", "onset"), on="trial_id"))
    records = onsets.filter(most.is_null() | (pl.col("signal") > most))
    return records.select("trial_id", pl.lit(name).alias("detector"), "step", "signal")
