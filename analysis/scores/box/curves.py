"""Curves of a box: robust share over delta, expected best over the number of draws, which method overtakes which."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import polars as pl

from analysis.curves import ENTRY
from analysis.scores.box.board import Estimate, ScoredBox, estimates, share_interval
from analysis.scores.box.errors import crossed
from analysis.scores.box.numbers import robust_shares
from analysis.scores.box.shares import expected_best, overtakes
from analysis.scores.robustness import mean_of_present
from analysis.scores.seeds.pairing import holm
from bench.lazy import numpy as np

DELTAS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BUDGETS = (1, 2, 4, 8, 16, 32, 64, 128)

SHARE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    "best": pl.String,  # own: the method's; board: the least of all that are compared
    **dict.fromkeys(("delta", "share", "ci_low", "ci_high"), pl.Float64),
}
BUDGET_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    "num_draws": pl.Int64,
    **dict.fromkeys(("loss", "ci_low", "ci_high"), pl.Float64),
}
OVERTAKING_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "optimizer", "knobs", "ahead", "overtaken_by"), pl.String),
    "num_draws": pl.Int64,  # from which on the second is expected to be below
    # expected best of `overtaken_by` minus that of `ahead`, with one draw and with the most
    **dict.fromkeys(("first_difference", "first_p_holm", "last_difference", "last_p_holm"), pl.Float64),
}


def share_curves(boxes: Sequence[ScoredBox]) -> pl.DataFrame:
    """SHARE_COLUMNS: the share of the runs within each of DELTAS of the method's best, and of the board's best."""
    rows = []
    for box, best in itertools.product(boxes, ("own", "board")):
        compared_M = box.compared_M if best == "board" else None
        deltas = np.array(DELTAS)
        shares = crossed(partial(robust_shares, deltas_D=deltas, compared_M=compared_M), box.losses)
        num_points_M = (~np.isnan(box.losses.losses_MNS)).any(2).sum(1).tolist()
        for m, method in enumerate(box.losses.methods):
            of_method = estimates(shares.of(lambda value, m=m: value[..., m, :]))
            for delta, one in zip(DELTAS, of_method, strict=True):
                interval = share_interval(one, num_points_M[m]).columns("share", "ci")
                rows.append(box.losses.group | {"method": method, "best": best, "delta": delta} | interval)
    return pl.DataFrame(rows, schema=SHARE_COLUMNS)


def budget_curves(boxes: Sequence[ScoredBox]) -> pl.DataFrame:
    """BUDGET_COLUMNS: the expected loss of the best of 1, 2, 4, ... draws, up to a quarter of the points."""
    rows = []
    for box in boxes:
        budgets = budgets_of(box)
        expected = crossed(lambda losses, initial, b=budgets: expected_best(mean_of_present(losses), b), box.losses)
        for m, method in enumerate(box.losses.methods):
            of_method = estimates(expected.of(lambda value, m=m: value[..., m, :]))
            for number, one in zip(budgets.tolist(), of_method, strict=True):
                loss = one.interval.within(box.extent.range_of("loss"))
                row = box.losses.group | {"method": method, "num_draws": number}
                rows.append(row | loss.columns("loss", "ci"))
    return pl.DataFrame(rows, schema=BUDGET_COLUMNS)


def overtakings(boxes: Sequence[ScoredBox]) -> pl.DataFrame:
    """OVERTAKING_COLUMNS: pairs of compared methods of which the one that is behind with one draw ends ahead."""
    rows = []
    for box in boxes:
        budgets = np.arange(1, budgets_of(box)[-1] + 1)
        curves_MB = expected_best(mean_of_present(box.losses.losses_MNS), budgets)
        ends = budgets[[0, -1]]
        expected = crossed(lambda losses, initial, b=ends: expected_best(mean_of_present(losses), b), box.losses)
        pairs = list(itertools.combinations(np.flatnonzero(box.compared_M).tolist(), 2))
        tested = [estimates(expected.of(lambda value, a=a, b=b: value[..., b, :] - value[..., a, :])) for a, b in pairs]
        p_holm = [holm([one[end].p_value for one in tested]) for end in (0, 1)]
        for place, (first, second) in enumerate(pairs):
            p_ends = p_holm[0][place], p_holm[1][place]
            for ahead, behind, sign in ((first, second, 1), (second, first, -1)):
                number = overtakes(curves_MB[behind], curves_MB[ahead], budgets)
                if number is not None:
                    rows.append(_overtaking(box, ahead, behind, number, tested[place], sign, p_ends))
    return pl.DataFrame(rows, schema=OVERTAKING_COLUMNS)


def budgets_of(box: ScoredBox) -> np.ndarray:
    """The numbers of draws that curves show: an estimate from so many points says little of more than a quarter."""
    num_points = int((~np.isnan(box.losses.losses_MNS)).any(2).sum(1).min())
    return np.array([number for number in _BUDGETS if number == 1 or number <= num_points / 4])


def _overtaking(
    box: ScoredBox, ahead: int, behind: int, number: int, tested: list[Estimate], sign: int, p_ends: tuple[float, float]
) -> dict[str, object]:
    methods = box.losses.methods
    return {
        **box.losses.group,
        "ahead": methods[ahead],
        "overtaken_by": methods[behind],
        "num_draws": number,
        "first_difference": sign * tested[0].value,
        "first_p_holm": p_ends[0],
        "last_difference": sign * tested[1].value,
        "last_p_holm": p_ends[1],
    }
