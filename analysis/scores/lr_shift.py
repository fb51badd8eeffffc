"""Has a method changed what a learning rate means? Its curve is then the reference's, moved along log lr.

A method that halves every update has the same curve at twice the learning rate: no more robust, but a fixed grid may
score it as if it were. Legend: L learning rates of the method, M of the reference, P shifts tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from analysis.curves import ENTRY, LossGrid, entries_by_workload
from analysis.scores.robustness import clipped_curve
from bench.lazy import numpy as np
from bench.lazy import polars as pl

REFERENCE_METHOD = "softmax"

LR_SHIFT_COLUMNS: dict[str, type] = {
    **dict.fromkeys((*ENTRY, "reference"), str),
    **dict.fromkeys(("shift_decades", "distance", "distance_unshifted"), float),
    "is_shifted": bool,
}

_STEP_DECADES = 0.01
_LEAST_SHIFT = 0.3
_NEARER = 3.0  # times, for a curve to count as the reference's moved
_LEAST_DISTANCE = 0.05  # of what the reference learns; below it the curves coincide as they are
_LEAST_OVERLAP = 0.5  # of the shorter grid


class Shift(NamedTuple):
    """By how many decades of lr a curve lies above the reference's, and how far apart they are, in loss.

    `distance` is that of the curve moved back by the shift, `distance_unshifted` as it is.
    """

    shift_decades: float
    distance: float
    distance_unshifted: float

    def is_shifted(self, learned: float) -> bool:
        """True where the method's curve is the reference's moved; `learned`: reference's loss at init - best loss.

        The shift is 0.3 decades at least, moved back the curve lies three times as near at least, and unmoved they are
        apart by more than 5% of what the reference learns.
        """
        is_far = self.distance_unshifted > _LEAST_DISTANCE * learned
        is_near = _NEARER * self.distance <= self.distance_unshifted
        return abs(self.shift_decades) >= _LEAST_SHIFT - 1e-9 and is_far and is_near


def lr_shift(results: pl.DataFrame) -> pl.DataFrame:
    """LR_SHIFT_COLUMNS, one row an entry beside the reference's own, for those whose workload, optimizer and knobs the
    reference has. `results` as `curves` takes them.
    """
    rows = [
        {
            **dict(zip(ENTRY, key, strict=True)),
            "reference": REFERENCE_METHOD,
            **shift._asdict(),
            "is_shifted": is_shifted,
        }
        for entries in entries_by_workload(results)
        for key, (shift, is_shifted) in reference_shifts(entries).items()
    ]
    return pl.DataFrame(rows, schema=LR_SHIFT_COLUMNS)


def reference_shifts(entries: Mapping[tuple[str, ...], LossGrid]) -> dict[tuple[str, ...], tuple[Shift, bool]]:
    """By its key, the Shift of every entry against the reference's, and whether it is one.

    Of those with the workload, optimizer and knobs of an entry of the reference, where a shift can be told.
    """
    curves = {key: clipped_curve(grid.losses, grid.initial_losses) for key, grid in entries.items()}
    shifts = {}
    for key, grid in entries.items():
        other = (key[0], REFERENCE_METHOD, *key[2:])
        if key == other or other not in entries:
            continue
        shift = best_shift(np.log10(grid.lrs), curves[key], np.log10(entries[other].lrs), curves[other])
        if shift is not None:
            learned = float(entries[other].initial_losses.mean() - np.nanmin(curves[other]))
            shifts[key] = (shift, shift.is_shifted(learned))
    return shifts


def best_shift(
    log_lrs_L: np.ndarray, curve_L: np.ndarray, reference_lrs_M: np.ndarray, reference_M: np.ndarray
) -> Shift | None:
    """The Shift of the least distance; None where none can be told.

    Positive: the method's curve lies at higher learning rates. Tried are multiples of 0.01 decades at which the two
    overlap by half of the shorter grid and both best learning rates lie in the overlap (two plateaus always coincide);
    of equal distances the least shift counts. See `distances`.
    """
    (x_L, f_L), (u_M, g_M) = _present(log_lrs_L, curve_L), _present(reference_lrs_M, reference_M)
    if min(len(x_L), len(u_M)) < 2:
        return None
    most = int(np.ceil(np.ptp(np.concatenate([x_L, u_M])) / _STEP_DECADES))
    shifts_P = np.arange(-most, most + 1) * _STEP_DECADES
    shifts_P = shifts_P[np.argsort(np.abs(shifts_P), kind="stable")]
    distances_P = distances(x_L, f_L, u_M, g_M, shifts_P)
    if np.isnan(distances_P[0]):
        return None
    best = int(np.nanargmin(np.round(distances_P, 12)))
    return Shift(float(shifts_P[best]), float(distances_P[best]), float(distances_P[0]))


def distances(x_L: np.ndarray, f_L: np.ndarray, u_M: np.ndarray, g_M: np.ndarray, shifts_P: np.ndarray) -> np.ndarray:
    """Root mean square distance between f and g moved by each shift, in loss: (P,); NaN where they overlap too little.

    Compared are f at its points with g between its own, and g at its points with f between its own, in the overlap.
    """
    low_P, high_P = np.maximum(x_L[0], u_M[0] + shifts_P), np.minimum(x_L[-1], u_M[-1] + shifts_P)
    x_PL, u_PM = np.broadcast_to(x_L, (len(shifts_P), len(x_L))), u_M + shifts_P[:, None]
    away_PL = f_L - np.interp(x_L - shifts_P[:, None], u_M, g_M)
    away_PM = np.interp(u_PM, x_L, f_L) - g_M
    points_P, away_P = np.concatenate([x_PL, u_PM], 1), np.concatenate([away_PL, away_PM], 1)
    rounding = 1e-9
    inside_P = (points_P >= low_P[:, None] - rounding) & (points_P <= high_P[:, None] + rounding)
    counts_P = inside_P.sum(1)
    squares_P = np.where(inside_P, away_P**2, 0.0).sum(1) / np.maximum(counts_P, 1)
    least_overlap = _LEAST_OVERLAP * min(np.ptp(x_L), np.ptp(u_M))
    bests = np.stack([np.full(len(shifts_P), x_L[np.argmin(f_L)]), u_M[np.argmin(g_M)] + shifts_P])
    has_bests_P = ((bests >= low_P - rounding) & (bests <= high_P + rounding)).all(0)
    can_tell_P = (high_P - low_P >= least_overlap - rounding) & has_bests_P
    return np.where(can_tell_P, np.sqrt(squares_P), np.nan)


def _present(log_lrs_L: np.ndarray, curve_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    present_L = ~np.isnan(curve_L)
    return log_lrs_L[present_L], curve_L[present_L]
