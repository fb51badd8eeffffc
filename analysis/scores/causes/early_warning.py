"""How well detectors warn of failure: recall at 1 false alarm in 20 stable runs, precision, lead, AUC by horizon.

The run is the unit, and its first alarm alone counts. A run failed if it diverged (onset: that step) or blew up (onset:
the first measured loss above the limit from which on at least half lie above it, so that a loss that hovers there since
the start is no late failure that was foreseen); it is stable if it completed and did neither; stuck runs are neither
and are left out, counted. An alarm before the onset is a hit, at any lead; any alarm in a stable run is a false one.

Threshold. One rule: leave one group out. A run is scored with the threshold of the stable runs of all other methods
(then of all other learning rates, then seeds): the least at which not more than FALSE_ALARM_SHARE of them alarm, so
none of fewer than 20. A detector of lr passes for one of failure while the learning rates are those that it was fitted
on; with other rates held out it doesn't, and `auc_same_lr` compares failed with stable runs of one learning rate.

Lead. Steps from the alarm to the onset; 0 if it was missed (censored: it is below 1), and the lower median over all
failed runs is 0 where half of them were missed. An alarm at a run's first measurement might have come earlier:
`at_start` is the share of hits that are of this kind.

AUC at horizon h. The share of (failed, stable) pairs in which the failed run's signal rose higher, both watched up to h
steps before the onset of the failed one, so that a longer run has no more chances; a tie counts 1/2, as where nothing
was measured yet. It needs no threshold. A signal that is noise, or a function of the step, has 1/2.

Intervals. 95% percentiles over NUM_DRAWS bootstrap draws of runs, failed and stable ones apart, thresholds fitted anew
in each; of shares never narrower than Wilson's of so many runs (of an AUC: of the rarer kind), which is no point where
all runs agree and covers more than it says: AUCs of 10 failed and 20 stable runs 0.99, where percentiles alone cover
0.94, and of 5 and 20 that hardly overlap 0.83. Precision is that at this suite's share of failures. Source: this
project, after Boettiger & Hastings 2012 on choosing runs because they failed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from analysis.blown_up import MARGIN, with_blown_up, with_margin
from analysis.curves import groups_of, require_columns
from analysis.scores.causes.alarms import Watched, alarm_scores, horizon_auc, watched_by
from analysis.scores.causes.detectors import DETECTORS, RECORD_COLUMNS
from analysis.scores.seeds.intervals import CONFIDENCE, wilson_interval
from analysis.stuck import with_stuck
from bench.outcome import RESULT_OUTCOMES
from bench.trial import BLOWN_UP_MARGIN

HELD_OUT_GROUPS = ("method", "lr", "seed")
HORIZONS = (1, 10, 100)  # steps
NUM_DRAWS = 400

_PLACE = ("workload", "optimizer")
_SCORES = ("recall", "false_alarms", "precision", "lead_steps", *(f"auc_{h}" for h in HORIZONS), "auc_same_lr")
WARNING_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(_PLACE, pl.String),
    "held_out": pl.String,  # one of HELD_OUT_GROUPS: what the runs that thresholds were fitted on do not share
    "detector": pl.String,
    "left_out": pl.String,  # why nothing is said of the detector; empty: it is scored
    "num_failed": pl.Int64,
    "num_stable": pl.Int64,
    "num_stuck": pl.Int64,  # left out
    "threshold": pl.Float64,  # median over runs, in the statistic's unit
    "at_start": pl.Float64,  # share of the hits at a run's first measurement
    **{f"{name}{end}": pl.Float64 for name in _SCORES for end in ("", "_low", "_high")},
}


def watched_runs(results: pl.DataFrame) -> pl.DataFrame:
    """The results that completed or diverged, with is_failed, is_stuck and limit, as detector_records takes them."""
    ended = results.filter(pl.col("outcome").is_in(RESULT_OUTCOMES))
    judged = with_stuck(with_blown_up(with_margin(ended, BLOWN_UP_MARGIN)))
    initial = pl.col("initial_loss")
    return judged.with_columns(
        is_failed=pl.col("blown_up") | (pl.col("outcome") == "diverged"),
        is_stuck="stuck",
        limit=pl.when("blown_up").then(initial + pl.col(MARGIN) * initial.abs()),
    )


def why_no_board(runs: pl.DataFrame) -> str:
    """What runs (as watched_runs) of which no detector is scored lack, or else their traces do."""
    if not runs["is_failed"].any():
        return f"has no failed run among {runs.height}: required some that diverged or blew up, to warn of"
    if runs.filter(is_failed=False, is_stuck=False).is_empty():
        return f"has no stable run among {runs.height}; required some, to fit thresholds on"
    return "has no traces to score by; required those of failed and stable runs in two methods, rates or seeds"


def warning_board(runs: pl.DataFrame, records: pl.DataFrame, *, seed: int = 0) -> pl.DataFrame:
    """WARNING_COLUMNS: a row for each detector and held-out kind of group, by workload and optimizer.

    runs: as watched_runs, with onset. records: RECORD_COLUMNS. seed: of the bootstrap. Without a failed and a stable
    run, or without two groups of any kind, a workload and optimizer have no row.
    """
    require_columns(records, tuple(RECORD_COLUMNS), "the frame of records")
    rows = []
    for key, group in groups_of(runs, *_PLACE):
        own = group.filter(~pl.col("is_stuck"))
        kinds = [kind for kind in HELD_OUT_GROUPS if own[kind].n_unique() > 1 and own["is_failed"].n_unique() == 2]
        of_runs = records.join(own.select("trial_id"), on="trial_id", how="semi") if kinds else records
        for name in DETECTORS if kinds else ():
            place = dict(zip(_PLACE, key, strict=True)) | {"detector": name, "num_stuck": group.height - own.height}
            of_detector = of_runs.filter(pl.col("detector") == name)
            rows += [{**place, **scores} for scores in _scores(name, kinds, own, of_detector, seed)]
    order = pl.col("held_out").replace_strict({name: at for at, name in enumerate(HELD_OUT_GROUPS)})
    return pl.DataFrame(rows, schema=WARNING_COLUMNS).sort(*_PLACE, order, maintain_order=True)


def _scores(
    name: str, kinds: Sequence[str], runs: pl.DataFrame, records: pl.DataFrame, seed: int
) -> Iterator[Mapping[str, object]]:
    """What WARNING_COLUMNS says of a detector beside its place, of each kind of held-out group.

    records: of these runs and the detector. AUCs have no threshold, so they are the same of every kind.
    """
    left_out, traced = _why_left_out(name, runs, records)
    if left_out:
        yield from ({"held_out": kind, "left_out": left_out} for kind in kinds)
        return
    watched = watched_by(traced, records, kinds[0])
    failed_N = watched.is_failed_N
    weights_BN = np.concatenate([np.ones((1, len(failed_N))), _draws(failed_N, seed)])
    aucs = {f"auc_{horizon}": horizon_auc(watched, weights_BN, horizon) for horizon in HORIZONS}
    aucs["auc_same_lr"] = horizon_auc(watched, weights_BN, 1, same_lr=True)
    pairs = dict.fromkeys(aucs, _rarer(failed_N)) | {"auc_same_lr": _rarer(failed_N[_has_partner(watched)])}
    of_aucs = {key: one for score in aucs for key, one in _interval(score, aucs[score], pairs)}
    for kind in kinds:
        of_kind = dataclasses.replace(watched, group_N=traced[kind].to_numpy())
        yield {"held_out": kind} | _threshold_scores(name, kind, of_kind, weights_BN, of_aucs)


def _why_left_out(name: str, runs: pl.DataFrame, records: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    """Why nothing is said of a detector, or ""; and the runs that it has records of."""
    traced = runs.join(records.select("trial_id").unique(), on="trial_id", how="semi").sort("trial_id")
    if traced["is_failed"].n_unique() < 2:
        return f"no trace of {DETECTORS[name].quantity} in failed and stable runs", traced
    stable = records.join(traced.filter(~pl.col("is_failed")), on="trial_id", how="semi")
    if not stable["signal"].is_finite().any():
        return f"no stable run is long enough for its statistic of {DETECTORS[name].quantity}", traced
    return "", traced


def _threshold_scores(
    name: str, kind: str, watched: Watched, weights_BN: np.ndarray, of_aucs: Mapping[str, float | None]
) -> dict[str, object]:
    """The scores that need thresholds, and with them those that do not: `of_aucs`."""
    failed_N = watched.is_failed_N
    alarms = alarm_scores(watched, weights_BN)
    thresholds_N, alarms_N = alarms.pop("thresholds_BN")[0], alarms.pop("alarms_BN")[0]
    is_scored_N = ~np.isnan(thresholds_N)
    if not (is_scored_N & failed_N).any():
        return {"left_out": f"no stable run of another {kind}, which its threshold would be fitted on"}
    counts = _counts(watched, is_scored_N, alarms_N)
    numbers = {"recall": counts["num_failed"], "false_alarms": counts["num_stable"], "precision": counts["num_alarms"]}
    sign = -1 if DETECTORS[name].alarms_when == "low" else 1
    return {
        **{column: counts[column] for column in ("num_failed", "num_stable", "at_start")},
        "left_out": "",
        "threshold": sign * float(np.median(thresholds_N[is_scored_N])),
        **{key: one for score, values_B in alarms.items() for key, one in _interval(score, values_B, numbers)},
        **of_aucs,
    }


def _rarer(failed_N: np.ndarray) -> int:
    """The number of runs of the rarer kind."""
    return min(int(failed_N.sum()), int((~failed_N).sum()))


def _has_partner(watched: Watched) -> np.ndarray:
    """Whether each run shares its learning rate with one of the other kind: (N,)."""
    failed_N, lr_N = watched.is_failed_N, watched.lr_N
    return np.where(failed_N, np.isin(lr_N, lr_N[~failed_N]), np.isin(lr_N, lr_N[failed_N]))


def _counts(watched: Watched, is_scored_N: np.ndarray, alarms_N: np.ndarray) -> dict[str, float | None]:
    """Failed and stable runs that are scored, alarms that are hits or false, and the share of hits at the start."""
    failed_N, onset_N = watched.is_failed_N, np.nan_to_num(watched.onset_N)
    is_hit_N = is_scored_N & failed_N & (alarms_N < onset_N)
    is_false_N = is_scored_N & ~failed_N & np.isfinite(alarms_N)
    starts_N = np.array([steps[0] for steps in watched.steps])
    return {
        "num_failed": int((failed_N & is_scored_N).sum()),
        "num_stable": int((~failed_N & is_scored_N).sum()),
        "num_alarms": int((is_hit_N | is_false_N).sum()),
        "at_start": float((alarms_N == starts_N)[is_hit_N].mean()) if is_hit_N.any() else None,
    }


def _draws(failed_N: np.ndarray, seed: int) -> np.ndarray:
    """How often each run is in each bootstrap draw, failed and stable ones drawn apart: (NUM_DRAWS, N)."""
    generator = np.random.default_rng(seed)
    draws = np.zeros((NUM_DRAWS, len(failed_N)))
    for one in (failed_N, ~failed_N):
        number = int(one.sum())
        draws[:, one] = generator.multinomial(number, np.full(number, 1 / number), size=NUM_DRAWS)
    return draws


def _interval(
    name: str, values_B: np.ndarray, numbers: Mapping[str, float | None]
) -> Iterator[tuple[str, float | None]]:
    """A score, the first of its values, and percentiles of the others; of a share of so many Wilson's interval, too."""
    value, drawn = float(values_B[0]), values_B[1:][~np.isnan(values_B[1:])]
    low = high = None
    if not np.isnan(value) and len(drawn):
        low, high = map(float, np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
        ends = [wilson_interval(value, int(numbers[name] or 0))] if name in numbers else []
        low, high = min(value, low, *(end[0] for end in ends)), max(value, high, *(end[1] for end in ends))
    yield name, None if np.isnan(value) else value
    yield from ((f"{name}_low", low), (f"{name}_high", high))
