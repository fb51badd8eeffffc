"""Scores over any knob: how much its choice costs, and how the best lr moves with it.

Where lr varies too, a knob is scored on its profile: the loss at each of its values at the best lr for that value, so
what it costs is what no choice of lr makes good. Beside it stands the same score at one lr, the best of the whole map.
Every other knob is fixed within a row: where a suite varies it, each of its values is a row of its own (`knobs`).

How far to trust the intervals (tests/analysis/test_knob_intervals.py, three to five seeds, lrs half a decade apart):
they cover 0.95 to 0.98 where best learning rates lie in a valley; where they lie at the foot of a cliff that wanders
between seeds, 0.85 to 0.92 for the sensitivity, and 0.65 to 0.85 at one lr and for the shift, for few seeds often agree
on one grid point by chance.
Legend: K values of the knob, R learning rates, S seeds.
"""

from __future__ import annotations

import math
from collections import Counter

from analysis.curves import ENTRY
from analysis.scores.definition import Definition, Extent
from analysis.scores.flags import flag_text
from analysis.scores.guards import knob_flags
from analysis.scores.knob_maps import KnobMap, MapScore, clipped_map, knob_maps, least_mean, map_interval
from analysis.scores.seeds.scales import Interval
from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.lazy import polars as pl

KNOB_SENSITIVITY_COLUMNS: dict[str, type] = {
    **dict.fromkeys(("workload", "method", "optimizer", "knob"), str),
    **dict.fromkeys(("sensitivity", "ci_low", "ci_high"), float),
    **dict.fromkeys(("at_best_lr", "at_best_lr_ci_low", "at_best_lr_ci_high", "best_lr"), float),
    **dict.fromkeys(("best_value", "best_loss", "worst_value"), float),
    **dict.fromkeys(("num_values", "num_seeds", "num_trials"), int),
    "flags": str,
    "knobs": str,
}

LR_TRANSFER_COLUMNS: dict[str, type] = {
    **dict.fromkeys(("workload", "method", "optimizer", "knob"), str),
    **dict.fromkeys(("value", "best_lr", "best_lr_ci_low", "best_lr_ci_high"), float),
    "best_lr_ci_censored": str,  # "low", "high" or "both" ends lie beyond the grid; else ""
    "best_loss": float,
    **dict.fromkeys(("shift_decades", "shift_ci_low", "shift_ci_high"), float),
    **dict.fromkeys(("loss_lost", "loss_lost_ci_low", "loss_lost_ci_high"), float),
    "num_seeds": int,
    "flags": str,
    "knobs": str,
}

_ABOVE_LEAST = ("hong2025variance", "wortsman2024small")

# Scores of a knob's choice: columns of the frames below, and of analysis.scores.joint_maps.
KNOB_SCORES: dict[str, Definition] = {
    "sensitivity": Definition(
        title="Sensitivity",
        definition="mean over the knob's values of [min(loss, loss at init) - best loss], the loss of a value being "
        "the least over the learning rates; means over seeds, a diverged seed clips its trial's place to the loss at "
        "init of that value of the knob; lower is more robust",
        unit="loss", bounds=(0.0, math.inf), higher_is_better=False, sources=_ABOVE_LEAST,
    ),
    "at_best_lr": Definition(
        title="Sensitivity at the best lr",
        definition="the same at one learning rate, that of the least loss over all values of the knob",
        unit="loss", bounds=(0.0, math.inf), higher_is_better=False, sources=_ABOVE_LEAST,
    ),
    "stable_area": Definition(
        title="Stable area",
        definition="area of the cells at which no seed diverged and the loss keeps at least half of what the best "
        "cell learns; each cell reaches midway to its neighbours, none beyond the grid; higher is more robust",
        unit="decades or grid steps of each knob", bounds=(0.0, math.inf), kind="area", higher_is_better=True,
    ),
    "shift_decades": Definition(
        title="Shift of the best lr",
        definition="log10 of the best learning rate at this value of the knob over that at the smallest; best "
        "learning rates refined by a parabola in log lr through the least loss and its neighbours",
        unit="decades", bounds=(-math.inf, math.inf), kind="move in decades", higher_is_better=None,
    ),
    "loss_lost": Definition(
        title="Loss lost",
        definition="loss at the smallest value's best learning rate of the grid - least loss, both at this value",
        unit="loss", bounds=(0.0, math.inf), higher_is_better=False, sources=("yang2022tensor",),
    ),
}  # fmt: skip


def knob_sensitivity(results: pl.DataFrame, knob: str) -> pl.DataFrame:
    """KNOB_SENSITIVITY_COLUMNS, one row an entry with two values of the knob at least; the lower, the more robust.

    `results` are as `knob_maps` takes them. ci_low and ci_high bound the 95% interval over seeds of analysis/intervals
    (null with one seed); lrs are chosen anew for every choice of seeds in it. best_lr is that of the least loss,
    at_best_lr the score at it alone; both are null for the knob 'lr', whose score is that of the leaderboard. Rows are
    by workload, knobs, then the score ascending.
    """
    maps = knob_maps(results, knob, None if knob == "lr" else "lr")
    kept = {key: one_map for key, one_map in maps.items() if len(one_map.x_values) > 1}
    grids: dict[str, Counter[tuple[float, ...]]] = {}
    for key, one_map in kept.items():
        grids.setdefault(key[0], Counter())[tuple(one_map.x_values)] += 1
    usual = {workload: counts.most_common(1)[0][0] for workload, counts in grids.items()}
    rows = [_sensitivity_row(key, knob, one_map, usual[key[0]]) for key, one_map in kept.items()]
    order = ("workload", "knobs", "sensitivity", "method", "optimizer")
    return pl.DataFrame(rows, schema=KNOB_SENSITIVITY_COLUMNS).sort(*order)


def lr_transfer(results: pl.DataFrame, across: str) -> pl.DataFrame:
    """LR_TRANSFER_COLUMNS, one row a value of the knob `across`: whether the best lr of the smallest fits the others.

    The last row of an entry says how far the best lr moved from the smallest value to the largest, and what is lost by
    keeping it, as one does who tunes a small model. Entries with one value, or one lr, are left out. Intervals over
    seeds are null where a seed lacks a value or there is one seed; that of best_lr is symmetric in log lr. loss_lost is
    null where the smallest value's best lr was not trained. The shift is a bound where `lr_at_border` is flagged.
    Source: the transfer plots of Yang et al. 2022 (muP), as a number.
    """
    if across == "lr":
        raise UsageError("lr_transfer needs another knob than 'lr', such as width or depth")
    maps = {
        key: one_map for key, one_map in knob_maps(results, across, "lr").items() if min(one_map.losses.shape[:2]) > 1
    }
    rows = [row for key, one_map in maps.items() for row in _transfer_rows(key, across, one_map)]
    order = ("workload", "knobs", "optimizer", "method", "value")
    return pl.DataFrame(rows, schema=LR_TRANSFER_COLUMNS).sort(*order)


def profile_sensitivity(losses_KRS: np.ndarray, initial_KRS: np.ndarray) -> float:
    """Mean over the knob's values of [least clipped loss over lr - least of all], >= 0, in units of loss."""
    return _mean_above_least(_profile(losses_KRS, initial_KRS))


def fixed_lr_sensitivity(losses_KRS: np.ndarray, initial_KRS: np.ndarray) -> float:
    """`profile_sensitivity` at the one lr of the least clipped loss of the whole map; the smallest lr wins a tie."""
    map_KR = clipped_map(losses_KRS, initial_KRS)
    return _mean_above_least(map_KR[:, _best_column(map_KR)])


def refined_log_lr(log_lrs_R: np.ndarray, curve_R: np.ndarray) -> float:
    """log10 of the best lr: the vertex of the parabola through the least point and its neighbours, (R,) twice.

    The point itself where it is at the border or the three are level. NaN is left out.
    """
    present_R = ~np.isnan(curve_R)
    if not present_R.any():
        return np.nan
    x_R, loss_R = log_lrs_R[present_R], curve_R[present_R]
    least = int(np.argmin(loss_R))
    if least in (0, len(x_R) - 1):
        return float(x_R[least])
    (left, middle, right), (a, b, c) = x_R[least - 1 : least + 2], loss_R[least - 1 : least + 2]
    rise_left, rise_right = (a - b) / (middle - left), (c - b) / (right - middle)
    if rise_left + rise_right == 0:
        return float(middle)
    # Slopes of the two chords; the vertex is where the slope, linear between their midpoints, is 0.
    vertex = ((left + middle) * rise_right + (middle + right) * rise_left) / (2 * (rise_left + rise_right))
    return float(np.clip(vertex, left, right))


def _sensitivity_row(
    key: tuple[str, ...], knob: str, one_map: KnobMap, usual_values: tuple[float, ...]
) -> dict[str, object]:
    profile_K = _profile(one_map.losses, one_map.initial_losses)
    map_KR = clipped_map(one_map.losses, one_map.initial_losses)
    at_lr = Interval.around(np.nan, None) if knob == "lr" else _interval("at_best_lr", fixed_lr_sensitivity, one_map)
    return {
        **dict(zip(ENTRY, key, strict=True)),
        "knob": knob,
        **_interval("sensitivity", profile_sensitivity, one_map).columns("sensitivity", "ci"),
        **at_lr.columns("at_best_lr", "at_best_lr_ci"),
        "best_lr": None if knob == "lr" else float(one_map.y_values[_best_column(map_KR)]),
        "best_value": float(one_map.x_values[np.nanargmin(profile_K)]),
        "best_loss": least_mean(one_map.losses, one_map.initial_losses),
        "worst_value": float(one_map.x_values[np.nanargmax(profile_K)]),
        "num_values": len(one_map.x_values),
        "num_seeds": len(one_map.seeds),
        "num_trials": one_map.num_trials,
        "flags": flag_text(knob_flags(one_map, usual_values)),
    }


def _transfer_rows(key: tuple[str, ...], across: str, one_map: KnobMap) -> list[dict[str, object]]:
    log_lrs_R = np.log10(one_map.y_values)
    rows = []
    for place, value in enumerate(one_map.x_values):

        def log_best(losses_KRS: np.ndarray, initial_KRS: np.ndarray, place: int = place) -> float:
            return refined_log_lr(log_lrs_R, clipped_map(losses_KRS, initial_KRS)[place])

        def shift(losses_KRS: np.ndarray, initial_KRS: np.ndarray, place: int = place) -> float:
            map_KR = clipped_map(losses_KRS, initial_KRS)
            return refined_log_lr(log_lrs_R, map_KR[place]) - refined_log_lr(log_lrs_R, map_KR[0])

        def lost(losses_KRS: np.ndarray, initial_KRS: np.ndarray, place: int = place) -> float:
            return _loss_lost(clipped_map(losses_KRS, initial_KRS), place)

        best = map_interval(log_best, one_map).within((float(log_lrs_R[0]), float(log_lrs_R[-1])), censors=True)
        rows.append(
            {
                **dict(zip(ENTRY, key, strict=True)),
                "knob": across,
                "value": float(value),
                **{name: _power(end) for name, end in best.columns("best_lr", "best_lr_ci").items()},
                "best_lr_ci_censored": best.censored,
                "best_loss": least_mean(one_map.losses[[place]], one_map.initial_losses[[place]]),
                **_interval("shift_decades", shift, one_map).columns("shift_decades", "shift_ci"),
                **_interval("loss_lost", lost, one_map).columns("loss_lost", "loss_lost_ci"),
                "num_seeds": int((~np.isnan(one_map.losses[place])).any(0).sum()),
                "flags": flag_text(knob_flags(one_map, tuple(one_map.x_values), [0, place]) - {"best_at_border"}),
            }
        )
    return rows


def _interval(name: str, score: MapScore, one_map: KnobMap) -> Interval:
    """The score of this name of KNOB_SCORES, within its domain."""
    lrs = float(one_map.y_values[0]), float(one_map.y_values[-1])
    return map_interval(score, one_map).within(KNOB_SCORES[name].domain(Extent(lrs=lrs)))


def _power(log_lr: float | None) -> float | None:
    return None if log_lr is None else 10.0**log_lr


def _loss_lost(map_KR: np.ndarray, place: int) -> float:
    if np.isnan(map_KR[[0, place]]).all(1).any():
        return np.nan
    return float(map_KR[place, np.nanargmin(map_KR[0])] - np.nanmin(map_KR[place]))


def _profile(losses_KRS: np.ndarray, initial_KRS: np.ndarray) -> np.ndarray:
    """Least clipped loss over lr, (K, R, S) twice -> (K,); NaN where no lr has a result."""
    return np.fmin.reduce(clipped_map(losses_KRS, initial_KRS), axis=1)


def _best_column(map_KR: np.ndarray) -> int:
    return int(np.nanargmin(np.fmin.reduce(map_KR, axis=0)))


def _mean_above_least(curve_K: np.ndarray) -> float:
    return float(np.nanmean(curve_K - np.nanmin(curve_K)))  # in this order never below 0 by rounding
