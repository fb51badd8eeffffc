"""Along each knob of a box: losses with all other knobs drawn, and with them tuned, and how far one can go.

Of each part of a knob's range: the mean loss of its points (main effect), the expected best of as many draws as fall
into it of BUDGET, and the share of its runs within DELTA of the method's best. The stable range reaches from the part
with the least loss to both sides as long as the loss keeps half of what the best learns. Legend: M methods, N points,
S seeds, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl

from analysis.curves import ENTRY
from analysis.scores.box.board import ScoredBox, estimates, share_interval
from analysis.scores.box.errors import crossed
from analysis.scores.box.knobs import Bin, BoxKnob, places_in
from analysis.scores.box.numbers import best_losses
from analysis.scores.box.shares import BUDGET, DELTA, expected_best, regret, share_within
from analysis.scores.robustness import mean_of_present
from bench.lazy import numpy as np

_KEPT = 0.5  # of what the best learns, in the stable range
QUANTITIES = ("drawn_loss", "tuned_loss", "share")

PROFILE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    "knob": pl.String,
    "place": pl.Int64,  # of the part, in the order of the axis
    "part": pl.String,
    **dict.fromkeys(("low", "high"), pl.Float64),  # in values; null of a list, and where it is 0 or off
    **{f"{name}{end}": pl.Float64 for name in QUANTITIES for end in ("", "_ci_low", "_ci_high")},
    "stable_drawn": pl.Boolean,  # within the stable range with all other knobs drawn
    "stable_tuned": pl.Boolean,  # with them at their best
}
MOST_POINTS = 128  # that a figure shows
POINT_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    "point": pl.Int64,
    "knob": pl.String,
    "order": pl.Int64,
    **dict.fromkeys(("unit", "regret"), pl.Float64),
}
EDGE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    "knob": pl.String,
    "others": pl.String,  # drawn or tuned
    **dict.fromkeys(("low", "high"), pl.Float64),  # the edges of the stable range; null where nothing is stable
    "censored": pl.String,  # which ends are those of the box: "low", "high", "both", ""
}


def profiles(boxes: Sequence[ScoredBox], units: pl.DataFrame, knobs: Sequence[BoxKnob]) -> pl.DataFrame:
    """PROFILE_COLUMNS. `units`: one row a point, in the order of the boxes, and where each knob lies in [0, 1)."""
    return pl.DataFrame(
        [row for box in boxes for knob in knobs for row in _profile(box, units[knob.name].to_numpy(), knob)],
        schema=PROFILE_COLUMNS,
    )


def edges(of_bins: pl.DataFrame) -> pl.DataFrame:
    """EDGE_COLUMNS of a frame of `profiles`, of the knobs that are numbers."""
    rows = []
    for key, part in of_bins.filter(pl.col("low").is_not_null()).group_by(*ENTRY, "knob", maintain_order=True):
        ends = part["low"].min(), part["high"].max()
        for others in ("drawn", "tuned"):
            stable = part.filter(f"stable_{others}")
            low, high = stable["low"].min(), stable["high"].max()
            at_ends = [end for end, is_there in (("low", low == ends[0]), ("high", high == ends[1])) if is_there]
            censored = "both" if len(at_ends) == 2 else "".join(at_ends)
            places = {"others": others, "low": low, "high": high, "censored": censored}
            rows.append(dict(zip((*ENTRY, "knob"), key, strict=True)) | places)
    return pl.DataFrame(rows, schema=EDGE_COLUMNS)


def point_regrets(boxes: Sequence[ScoredBox], units: pl.DataFrame) -> pl.DataFrame:
    """POINT_COLUMNS: each knob of the points, MOST_POINTS at most of all replicates, and what the point loses."""
    names, frames = [name for name in units.columns if name != "point"], [pl.DataFrame(schema=POINT_COLUMNS)]
    step = max(-(-units.height // MOST_POINTS), 1)
    for box in boxes:
        losses, loss_MN = box.losses, mean_of_present(box.losses.losses_MNS)
        regret_MN = regret(loss_MN, best_losses(loss_MN), losses.initial_MS.mean(1))
        for m, method in enumerate(losses.methods):
            labels = losses.group | {"method": method}
            rows = units.with_columns(regret=pl.Series(regret_MN[m])).gather_every(step).drop_nans("regret")
            long = rows.unpivot(names, index=("point", "regret"), variable_name="knob", value_name="unit")
            order = pl.col("knob").replace_strict(
                {name: place for place, name in enumerate(names)}, return_dtype=pl.Int64
            )
            long = long.with_columns(order=order, **{name: pl.lit(label) for name, label in labels.items()})
            frames.append(long.select(*POINT_COLUMNS))
    return pl.concat(frames)


def _profile(box: ScoredBox, unit_N: np.ndarray, knob: BoxKnob) -> list[dict[str, object]]:
    bins, losses = knob.bins, box.losses
    place_N = places_in(bins, unit_N)
    by_bin = crossed(partial(_by_bin, place_N=place_N, bins=bins), losses)
    best_M = best_losses(mean_of_present(losses.losses_MNS))
    is_there_MN, rows = np.asarray((~np.isnan(losses.losses_MNS)).any(2)), []
    for m, method in enumerate(losses.methods):
        of_method = [estimates(by_bin.of(lambda value, q=q, m=m: value[..., q, :, m])) for q in range(len(QUANTITIES))]
        bound = float(best_M[m] + _KEPT * (losses.initial_MS[m].mean() - best_M[m]))
        drawn_B, tuned_B = (_stable([one.value for one in of_method[q]], bound, knob) for q in (0, 1))
        for place, one in enumerate(bins):
            drawn, tuned, share = (of_method[q][place] for q in range(len(QUANTITIES)))
            losses_within = [each.interval.within(box.extent.range_of("loss")) for each in (drawn, tuned)]
            num_points = int(((place_N == place) & is_there_MN[m]).sum())
            intervals = zip(QUANTITIES, (*losses_within, share_interval(share, num_points)), strict=True)
            low, high = one.ends or (None, None)
            row = losses.group | {"method": method, "knob": knob.name, "place": place, "part": one.text}
            row |= {"low": low, "high": high}
            for name, interval in intervals:
                row |= interval.columns(name, f"{name}_ci")
            rows.append(row | {"stable_drawn": drawn_B[place], "stable_tuned": tuned_B[place]})
    return rows


def _by_bin(losses_MNS: np.ndarray, initial_MS: np.ndarray, place_N: np.ndarray, bins: Sequence[Bin]) -> np.ndarray:
    """QUANTITIES of the points in each bin, (M, N, S) -> (Q, B, M); NaN of a bin without any."""
    loss_MN, loss_MSN = mean_of_present(losses_MNS), losses_MNS.swapaxes(1, 2)
    regret_MSN = regret(loss_MSN, best_losses(loss_MSN), initial_MS)
    values = np.full((len(QUANTITIES), len(bins), len(losses_MNS)), np.nan)
    for place, one in enumerate(bins):
        inside_N = place_N == place
        there_M = (~np.isnan(loss_MN[:, inside_N])).sum(1)
        if not there_M.all():
            continue
        num_draws = min(max(round(BUDGET * (one.high - one.low)), 1), int(there_M.min()))
        shares_MS = share_within(regret_MSN[..., inside_N], np.array([DELTA]))[..., 0]
        values[0, place] = np.nanmean(loss_MN[:, inside_N], 1)
        values[1, place] = expected_best(loss_MN[:, inside_N], np.array([num_draws]))[:, 0]
        values[2, place] = np.nanmean(shares_MS, 1)
    return values


def _stable(values: Sequence[float], bound: float, knob: BoxKnob) -> list[bool]:
    """Which bins keep the loss below a bound without a break from the least on; of a list, whichever do."""
    keeps_B = [value <= bound for value in values]
    if knob.is_choice or not any(keeps_B):
        return keeps_B
    best = int(np.nanargmin(values))
    low, high = best, best
    while low > 0 and keeps_B[low - 1]:
        low -= 1
    while high < len(values) - 1 and keeps_B[high + 1]:
        high += 1
    return [low <= place <= high for place in range(len(values))]
