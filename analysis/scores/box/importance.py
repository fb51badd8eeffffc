"""Which knob of a box matters: shares of the variance of losses by evaluators of importance, with intervals.

An evaluator is a function from points, losses and the number of values of each list; bench.search.importance has
Optuna's. Intervals are of the jackknife over replicates of the design, of the mean loss over seeds. Legend: M methods,
N points, K knobs, R replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from analysis.curves import ENTRY
from analysis.scores.box.board import ScoredBox, estimates
from analysis.scores.box.errors import Crossed
from analysis.scores.box.knobs import BoxKnob
from analysis.scores.robustness import mean_of_present
from bench.lazy import numpy as np

# units_NK, losses_N, the number of values of each knob that is a list, else 0 -> importances_K
Evaluator = Callable[["np.ndarray", "np.ndarray", Sequence[int]], "np.ndarray"]

EVALUATORS: dict[str, str] = {
    "fanova": "share of the variance of the loss over the box that a knob explains alone, by functional ANOVA of a "
    "random forest (Hutter et al. 2014); the rest is what knobs do together, and noise",
    "ped_anova": "how far the settings of the best tenth of the box are from all settings along a knob, by Pearson "
    "divergence (Watanabe et al. 2023), as a share of that of all knobs",
}
IMPORTANCE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    **dict.fromkeys(("evaluator", "knob"), pl.String),
    **dict.fromkeys(("importance", "ci_low", "ci_high"), pl.Float64),
}


def importances(
    boxes: Sequence[ScoredBox], units: pl.DataFrame, knobs: Sequence[BoxKnob], evaluators: Mapping[str, Evaluator]
) -> pl.DataFrame:
    """IMPORTANCE_COLUMNS of every method, by these of EVALUATORS. `units`: one row a point, in the boxes' order."""
    names, counts = [knob.name for knob in knobs], [len(knob.choices) for knob in knobs]
    units_NK, rows = units.select(names).to_numpy(), []
    for box in boxes:
        loss_MN, losses = mean_of_present(box.losses.losses_MNS), box.losses
        for (evaluator, evaluate), (m, method) in (
            (one, two) for one in evaluators.items() for two in enumerate(losses.methods)
        ):
            shares = left_out(evaluate, units_NK, loss_MN[m], losses.replicates_N, counts)
            place = losses.group | {"method": method}
            for name, one in zip(names, estimates(shares), strict=True):
                interval = one.interval.within((0.0, 1.0)).columns("importance", "ci")
                rows.append({**place, "evaluator": evaluator, "knob": name, **interval})
    return pl.DataFrame(rows, schema=IMPORTANCE_COLUMNS)


def left_out(
    evaluate: Evaluator, units_NK: np.ndarray, loss_N: np.ndarray, replicates_N: np.ndarray, counts: Sequence[int]
) -> Crossed:
    """The importances of all points that have a loss, and without each replicate."""
    is_there_N = ~np.isnan(loss_N)
    value_K = evaluate(units_NK[is_there_N], loss_N[is_there_N], counts)
    without = []
    for one in np.unique(replicates_N):
        kept_N = is_there_N & (replicates_N != one)
        without.append(evaluate(units_NK[kept_N], loss_N[kept_N], counts))
    empty = np.empty((0, len(value_K)))
    return Crossed(
        value_X=value_K,
        without_RX=np.stack(without),
        alone_SX=empty,
        alone_without_RSX=np.empty((len(without), 0, len(value_K))),
    )
