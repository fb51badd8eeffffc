"""What runs look like to one detector: alarms at thresholds, what they score, and AUCs without thresholds.

What is a hit, a lead, a threshold and a horizon is said in analysis.scores.causes.early_warning. Legend: N runs, F of
them failed, S stable; B rows of weights, how often each run counts, as in draws of a bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

FALSE_ALARM_SHARE = 1 / 20


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Runs as one detector sees them. N runs: steps and signals of their records, onset (NaN: stable), group, lr."""

    steps: list[np.ndarray]
    signals: list[np.ndarray]
    onset_N: np.ndarray
    group_N: np.ndarray
    lr_N: np.ndarray

    @property
    def is_failed_N(self) -> np.ndarray:
        """Whether each run failed."""
        return ~np.isnan(self.onset_N)

    def peaks(self, run: int, steps_X: np.ndarray) -> np.ndarray:
        """The largest signal of a run up to and with these steps; -inf before the first measurement."""
        at = np.searchsorted(self.steps[run], steps_X, side="right")
        return np.concatenate([[-np.inf], self.signals[run]])[at]

    def first_alarms(self, run: int, thresholds_X: np.ndarray) -> np.ndarray:
        """The first step at which a run's signal exceeds these thresholds; inf if it never does, or the one is NaN."""
        at = np.searchsorted(self.signals[run], thresholds_X, side="right")
        return np.concatenate([self.steps[run], [np.inf]])[at]


def watched_by(runs: pl.DataFrame, records: pl.DataFrame, kind: str) -> Watched:
    """Runs in their order, as the detector of these records sees them; kind: one of HELD_OUT_GROUPS."""
    of_run = records.sort("trial_id", "step").group_by("trial_id", maintain_order=True).agg("step", "signal")
    joined = runs.join(of_run, on="trial_id", maintain_order="left")
    return Watched(
        steps=[steps.to_numpy() for steps in joined["step"]],
        signals=[signals.to_numpy() for signals in joined["signal"]],
        onset_N=joined["onset"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        group_N=joined[kind].to_numpy(),
        lr_N=joined["lr"].to_numpy(),
    )


def fitted_thresholds(peaks_S: np.ndarray, weights_XS: np.ndarray) -> np.ndarray:
    """The least value that not more than FALSE_ALARM_SHARE of stable runs exceed: (...,); NaN without any run.

    peaks_S: each stable run's largest signal. weights_XS: how often each run counts, whole numbers.
    """
    order = np.argsort(-peaks_S, kind="stable")
    counted = np.cumsum(weights_XS[..., order], axis=-1)
    if not len(order):
        return np.full(weights_XS.shape[:-1], np.nan)
    total = counted[..., -1:]
    allowed = np.floor(total * FALSE_ALARM_SHARE + 1e-9)
    return np.where(total[..., 0] > 0, peaks_S[order][np.argmax(counted > allowed, axis=-1)], np.nan)


def alarm_scores(watched: Watched, weights_BN: np.ndarray) -> dict[str, np.ndarray]:
    """recall, false_alarms, precision, lead_steps and thresholds_BN of each row of weights; NaN where of no run."""
    failed_N, stable_N = watched.is_failed_N, ~watched.is_failed_N
    peaks_N = np.array([watched.peaks(run, np.array([np.inf]))[0] for run in range(len(failed_N))])
    thresholds_BN = np.full(weights_BN.shape, np.nan)
    for group in np.unique(watched.group_N):
        others = stable_N & (watched.group_N != group)
        fitted_B = fitted_thresholds(peaks_N[others], weights_BN[:, others])
        thresholds_BN[:, watched.group_N == group] = fitted_B[:, None]
    alarms_BN = np.stack([watched.first_alarms(run, thresholds_BN[:, run]) for run in range(len(failed_N))], axis=1)
    is_scored_BN = ~np.isnan(thresholds_BN)
    leads_BN = np.where(is_scored_BN, np.clip(np.nan_to_num(watched.onset_N) - alarms_BN, 0, None), np.nan)
    counts_BN = weights_BN * is_scored_BN
    hits_B = (counts_BN * (leads_BN > 0))[:, failed_N].sum(axis=1)
    false_B = (counts_BN * np.isfinite(alarms_BN))[:, stable_N].sum(axis=1)
    with np.errstate(invalid="ignore"):
        return {
            "recall": hits_B / counts_BN[:, failed_N].sum(axis=1),
            "false_alarms": false_B / counts_BN[:, stable_N].sum(axis=1),
            "precision": hits_B / (hits_B + false_B),
            "lead_steps": _lower_medians(leads_BN[:, failed_N], counts_BN[:, failed_N]),
            "thresholds_BN": thresholds_BN,
            "alarms_BN": alarms_BN,
        }


def horizon_auc(watched: Watched, weights_BN: np.ndarray, horizon: int, *, same_lr: bool = False) -> np.ndarray:
    """AUC at a horizon in steps, of each row of weights: (B,); NaN where no pair has one learning rate, if asked."""
    failed, stable = np.flatnonzero(watched.is_failed_N), np.flatnonzero(~watched.is_failed_N)
    cutoffs_F = watched.onset_N[failed] - horizon
    ours_F1 = np.array([[watched.peaks(run, at)] for run, at in zip(failed.tolist(), cutoffs_F, strict=True)])
    theirs_FS = np.stack([watched.peaks(run, cutoffs_F) for run in stable.tolist()], axis=1)
    higher_FS = (ours_F1 > theirs_FS) + 0.5 * (ours_F1 == theirs_FS)
    of_failed_BF, of_stable_BS = weights_BN[:, failed], weights_BN[:, stable]
    num_pairs_B = of_failed_BF.sum(axis=1) * of_stable_BS.sum(axis=1)
    if same_lr:
        is_pair_FS = watched.lr_N[failed][:, None] == watched.lr_N[stable]
        higher_FS = higher_FS * is_pair_FS
        num_pairs_B = ((of_failed_BF @ is_pair_FS) * of_stable_BS).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return ((of_failed_BF @ higher_FS) * of_stable_BS).sum(axis=1) / num_pairs_B


def _lower_medians(values_BF: np.ndarray, counts_BF: np.ndarray) -> np.ndarray:
    """The lower median of each row, each value as often as it counts; NaN of none. What is NaN counts 0 times."""
    order_BF = np.argsort(values_BF, axis=1)
    counted_BF = np.cumsum(np.take_along_axis(counts_BF, order_BF, axis=1), axis=1)
    at_B = np.argmax(counted_BF > (counted_BF[:, -1:] - 1) // 2, axis=1)
    rows_B = np.arange(len(values_BF))
    return np.where(counted_BF[:, -1] > 0, values_BF[rows_B, order_BF[rows_B, at_B]], np.nan)
