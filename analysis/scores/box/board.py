"""The board of a box: every method's scores with intervals over designs and seeds, ranks by robust share, flags."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from analysis.curves import ENTRY
from analysis.scores.box.errors import Crossed, crossed
from analysis.scores.box.losses import BoxLosses
from analysis.scores.box.numbers import BOX_SCORES, best_losses, box_numbers
from analysis.scores.controls import CONTROL, CONTROL_COLUMNS
from analysis.scores.definition import Extent
from analysis.scores.flags import flag_text, has_learned
from analysis.scores.robustness import is_chance, mean_of_present
from analysis.scores.seeds.intervals import CONFIDENCE, rounding_error, unseen_share
from analysis.scores.seeds.pairing import holm, two_sided
from analysis.scores.seeds.rank_ranges import possible_ranks
from analysis.scores.seeds.scales import Interval
from bench.lazy import numpy as np
from bench.lazy import special

RANKED_BY = "robust_share"
_LITTLE = 0.5  # of what the best method learns: who learns less has no rank
_ROUNDING = 1e-12
_FEW_SEEDS = 3

BOX_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    **dict.fromkeys(("rank", "rank_worst"), pl.Int64),
    **{f"{name}{end}": pl.Float64 for name in BOX_SCORES for end in ("", "_ci_low", "_ci_high")},
    "diverged_share": pl.Float64,
    **dict.fromkeys(("num_points", "num_replicates", "num_seeds", "num_trials"), pl.Int64),
    "flags": pl.String,
    **CONTROL_COLUMNS,
}
DIFFERENCE_COLUMNS: dict[str, type[pl.DataType]] = {
    "workload": pl.String,
    **dict.fromkeys(("optimizer", "knobs", "score", "first", "second"), pl.String),
    **dict.fromkeys(("difference", "ci_low", "ci_high", "p_value", "p_holm"), pl.Float64),  # first minus second
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its standard error and degrees of freedom."""

    value: float
    error: float
    freedom: float

    def no_surer_than(self, error: float) -> Estimate:
        """The estimate with this standard error at least."""
        return dataclasses.replace(self, error=float(np.maximum(self.error, error)))

    @property
    def interval(self) -> Interval:
        """The 95% interval by Student's t; without ends where the error is not a number."""
        half = self.error * float(special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2))
        return Interval.around(self.value, half if math.isfinite(half) else None)

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference; 1 of what can't be told or is mere rounding."""
        if abs(self.value) <= _ROUNDING or not math.isfinite(self.value + self.error):
            return 1.0
        return two_sided(self.value, self.error, self.freedom)


@dataclass(frozen=True, kw_only=True)
class ScoredBox:
    """The losses of a box and the scores of its methods. control_of_M: labels of what each is a control of, or ""."""

    losses: BoxLosses
    control_of_M: tuple[str, ...]
    crossed: Crossed  # of BOX_SCORES, (K, M)

    @property
    def compared_M(self) -> np.ndarray:
        """The methods that are no A/A controls."""
        return np.array([not of for of in self.control_of_M])

    def estimates(self, score: str) -> list[Estimate]:
        """A score of every method."""
        place, least = list(BOX_SCORES).index(score), self._least_error(score)
        return [one.no_surer_than(least) for one in estimates(self.crossed.of(lambda value: value[..., place, :]))]

    def difference(self, score: str, first: int, second: int) -> Estimate:
        """The score of one method minus that of another, at the same points with the same seeds."""
        place = list(BOX_SCORES).index(score)
        (estimate,) = estimates(self.crossed.of(lambda value: value[..., place, [first]] - value[..., place, [second]]))
        return estimate.no_surer_than(math.sqrt(2) * self._least_error(score)) if estimate.value else estimate

    @property
    def extent(self) -> Extent:
        """What its scores are bounded by."""
        return Extent(least_loss=0.0 if np.nanmin(self.losses.losses_MNS) >= 0 else -math.inf)

    def _least_error(self, score: str) -> float:
        """The error of a share's rounding to one run: few replicates often agree by chance, which is no certainty."""
        _, num_points, num_seeds = self.losses.losses_MNS.shape
        num_replicates = len(np.unique(self.losses.replicates_N))
        step = num_replicates / (num_points * num_seeds)
        return float(rounding_error(0.0, step, num_replicates)) if BOX_SCORES[score].unit == "share" else 0.0

    @property
    def flags_M(self) -> list[str]:
        """The flags of every method, as a column holds them."""
        losses = self.losses
        best_M, initial_M = best_losses(mean_of_present(losses.losses_MNS)), losses.initial_MS.mean(1)
        learned_M = initial_M - best_M
        most = learned_M[self.compared_M].max()
        raised = {
            CONTROL: ~self.compared_M,
            "at_chance": is_chance(best_M, initial_M),
            "learned_little": learned_M < _LITTLE * most,
            "incomplete": ~losses.is_complete_M,
            "lost_trials": losses.num_lost_M > 0,
            "few_seeds": np.full(len(losses.methods), len(losses.seeds) < _FEW_SEEDS),
        }
        return [flag_text({word for word, is_M in raised.items() if is_M[m]}) for m in range(len(losses.methods))]


def score_box(losses: BoxLosses, controls: Mapping[str, str]) -> ScoredBox:
    """All scores of a box. `controls`: methods that are A/A controls, and the label of what each is a control of."""
    control_of = tuple(controls.get(method, "") for method in losses.methods)
    if all(control_of):
        control_of = ("",) * len(control_of)
    compared_M = np.array([not of for of in control_of])
    numbers = crossed(partial(box_numbers, compared_M=compared_M), losses)
    return ScoredBox(losses=losses, control_of_M=control_of, crossed=numbers)


def estimates(numbers: Crossed) -> list[Estimate]:
    """The numbers of a Crossed of one axis."""
    errors, freedom = numbers.error()
    columns = (numbers.value_X.tolist(), errors.tolist(), freedom.tolist())
    return [Estimate(value=value, error=error, freedom=one) for value, error, one in zip(*columns, strict=True)]


def interval_of(estimate: Estimate, score: str, extent: Extent, num_points: int) -> Interval:
    """The interval of a score, within what it can be; of a share as `share_interval` has it."""
    definition = BOX_SCORES[score]
    if definition.unit == "share":
        return share_interval(estimate, num_points)
    return estimate.interval.within(definition.domain(extent))


def share_interval(estimate: Estimate, num_points: int) -> Interval:
    """Wilson's, of a share of the runs at so many points; of 0 and 1 with what so many points may not have shown."""
    interval = estimate.interval
    if interval.high is None or interval.value not in (0.0, 1.0):
        return interval.of_share()
    half = max(interval.high - interval.value, unseen_share(num_points))
    return Interval.around(interval.value, half).within((0.0, 1.0))


def box_board(boxes: Sequence[ScoredBox]) -> pl.DataFrame:
    """BOX_COLUMNS, one row a method, by workload, optimizer and knobs, then by robust share, the largest first.

    rank and rank_worst are the ends of the ranks that designs and seeds leave possible, as `rank_ranges` of
    analysis.scores has them; null of what is at chance, learned little, or is a control.
    """
    rows = [row for box in boxes for row in _rows(box)]
    order = ["workload", "optimizer", "knobs", RANKED_BY, "method"]
    return pl.DataFrame(rows, schema=BOX_COLUMNS).sort(
        order, descending=[False, False, False, True, False], nulls_last=True
    )


def box_differences(boxes: Sequence[ScoredBox]) -> pl.DataFrame:
    """DIFFERENCE_COLUMNS: every pair of compared methods under every score, p-values corrected by Holm for each."""
    rows = []
    for box, score in itertools.product(boxes, BOX_SCORES):
        methods = box.losses.methods
        pairs = list(itertools.combinations(np.flatnonzero(box.compared_M).tolist(), 2))
        differences = [box.difference(score, *pair) for pair in pairs]
        for (first, second), one, p_holm in zip(
            pairs, differences, holm([one.p_value for one in differences]), strict=True
        ):
            names = {"score": score, "first": methods[first], "second": methods[second]}
            within = one.interval.within(BOX_SCORES[score].difference_domain(box.extent, box.extent))
            interval = {**within.columns("difference", "ci"), "p_value": one.p_value, "p_holm": p_holm}
            rows.append(box.losses.group | names | interval)
    return pl.DataFrame(rows, schema=DIFFERENCE_COLUMNS)


def _rows(box: ScoredBox) -> list[dict[str, object]]:
    losses, flags_M, ranks = box.losses, box.flags_M, _ranks(box)
    of_score = {score: box.estimates(score) for score in BOX_SCORES}
    rows = []
    for m, method in enumerate(losses.methods):
        is_there_NS = ~np.isnan(losses.losses_MNS[m])
        num_points = int(is_there_NS.any(1).sum())
        scores = [
            interval_of(of_score[score][m], score, box.extent, num_points).columns(score, f"{score}_ci")
            for score in BOX_SCORES
        ]
        rows.append(
            losses.group
            | {"method": method}
            | dict(zip(("rank", "rank_worst"), ranks.get(m, (None, None)), strict=True))
            | {name: value for columns in scores for name, value in columns.items()}
            | {
                "diverged_share": float(losses.diverged_MNS[m][is_there_NS].mean()),
                "num_points": num_points,
                "num_replicates": len(np.unique(losses.replicates_N)),
                "num_seeds": len(losses.seeds),
                "num_trials": int(is_there_NS.sum()),
                "flags": flags_M[m],
                **_floor(box, m),
            }
        )
    return rows


def _floor(box: ScoredBox, method: int) -> dict[str, object]:
    """CONTROL_COLUMNS: the robust share of a control minus that of what it is a control of."""
    of = box.control_of_M[method]
    if of not in box.losses.methods:
        return {"control_of": of}
    difference = box.difference(RANKED_BY, method, box.losses.methods.index(of))
    return {"control_of": of, **difference.interval.within((-1.0, 1.0)).columns("floor", "floor_ci")}


def _ranks(box: ScoredBox) -> dict[int, tuple[int, int]]:
    """Least and largest rank of every method that is ranked. Source: Mogstad et al. 2024, as `rank_ranges`."""
    ranked = [m for m, flags in enumerate(box.flags_M) if has_learned(flags) and box.compared_M[m]]
    differences = [box.difference(RANKED_BY, *pair) for pair in itertools.combinations(ranked, 2)]
    return possible_ranks(ranked, [-one.value for one in differences], holm([one.p_value for one in differences]))
