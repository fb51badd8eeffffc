"""Every score of every entry in one tidy frame, each with its interval over seeds; and differences between entries."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.curves import ENTRY, Entries, LossGrid, curves, label_of, loss_grids, matrices, one_a_point, with_knobs
from analysis.losses import choose_loss
from analysis.scores.definition import Extent
from analysis.scores.kinds import SCORE_KINDS, TARGET_SHARE, ScoreKind
from analysis.scores.parts import ScoredEntry, default_lrs
from analysis.scores.robustness import best_loss, is_at_chance, is_chance
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import Difference, corrected
from analysis.scores.seeds.scales import Interval
from analysis.scores.seeds.separation import seeds_needed
from analysis.scores.traces import MEASURES, TRIAL_COLUMNS
from bench.errors import UsageError, unknown
from bench.outcome import Outcome

SCORE_TABLE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys((*ENTRY, "score"), pl.String),
    **dict.fromkeys(("value", "ci_low", "ci_high"), pl.Float64),
    "ci_censored": pl.String,  # "low", "high" or "both" ends of the interval lie beyond the grid; else ""
    "unit": pl.String,
    "num_seeds": pl.Int64,
    "higher_is_better": pl.Boolean,  # null: neither
    "at_chance": pl.Boolean,
    "note": pl.String,
    "loss": pl.String,
}

SCORE_DIFFERENCE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "score", "first", "second"), pl.String),
    **dict.fromkeys(("difference", "ci_low", "ci_high"), pl.Float64),
    "unit": pl.String,
    **dict.fromkeys(("p_value", "p_holm"), pl.Float64),
    **dict.fromkeys(("verdict", "compared"), pl.String),
    "spread": pl.Float64,
    "num_seeds": pl.Int64,
    "num_seeds_needed": pl.Int64,
}

NOT_SEPARATED = "not separated"


@dataclass(frozen=True, kw_only=True)
class _Valued:
    """An entry that has a score: what it is computed from, what bounds it, how far above it may lie unseen."""

    key: tuple[str, ...]
    grid: LossGrid
    unseen: float
    extent: Extent


# Measures of a trial that scores read, beside those of analysis.scores.traces.
_OF_COMPLETED = ("spike_share", "has_recovered_spike", "target_step")
_MEASURES = (*MEASURES, "target_s", "collapsed", "head_collapsed", "num_steps", "wall_s")


def score_table(entries: Sequence[ScoredEntry], loss: str) -> pl.DataFrame:
    """SCORE_TABLE_COLUMNS: one row an entry and score of SCORE_KINDS, in the order of both.

    `entries` are those of `measured_entries` for the `loss`; scores from traces are of the training loss. value is null
    where the score is not defined, and note says why; ci_low and ci_high bound the 95% interval over num_seeds seeds,
    within the score's domain. They are null with one seed, or where some choice of seeds leaves the score undefined,
    and equal, with a note, where all seeds are alike, which is no certainty. at_chance: the entry learned hardly
    anything, so its scores mean little.
    """
    rows = [{**_row(name, kind, entry), "loss": loss} for entry in entries for name, kind in SCORE_KINDS.items()]
    return pl.DataFrame(rows, schema=SCORE_TABLE_COLUMNS)


def score_differences(entries: Sequence[ScoredEntry], score: str) -> pl.DataFrame:
    """SCORE_DIFFERENCE_COLUMNS: every pair of entries of a workload, first minus second.

    Entries at chance and those without the score are left out. `compared`: paired by seed, or unpaired where the seeds
    are not the same. ci_low and ci_high bound the uncorrected 95% interval, in the score's unit (decades for an lr);
    p_holm is corrected over the workload's pairs that can be tested, and verdict says which entry is better by it, or
    higher where neither is better, or that they are not separated. spread is the standard deviation of the difference
    over seeds, what `seeds_for` takes; num_seeds_needed the number of seeds at which such an interval would exclude 0
    with 80% power (null beyond 100, and where a cliff that no seed showed could undo the difference). Raises UsageError
    for an unknown score.
    """
    kind = score_kind(score)
    valued = [one for entry in entries if not entry.at_chance and (one := _valued(entry, kind))]
    rows = [
        row
        for _, group in itertools.groupby(valued, key=lambda one: one.key[0])
        for row in _difference_rows(list(group), score, kind)
    ]
    return pl.DataFrame(rows, schema=SCORE_DIFFERENCE_COLUMNS)


def score_kind(score: str) -> ScoreKind:
    """The kind of this name. Raises UsageError for another."""
    if score not in SCORE_KINDS:
        raise unknown("score", score, SCORE_KINDS)
    return SCORE_KINDS[score]


def trials_to_measure(results: pl.DataFrame, keys_of: Mapping[str, int]) -> pl.DataFrame:
    """TRIAL_COLUMNS of analysis.scores.traces, one row a trial with a result.

    `results` has RESULT_COLUMNS; `keys_of` is the number of keys N of the attention of each workload. Raises UsageError
    for a workload without one.
    """
    targets = _targets(loss_grids(curves(results)))
    lacking = sorted(set(targets) - set(keys_of))
    if lacking:
        raise UsageError(f"num_keys lacks the workloads {', '.join(lacking)}; it has {', '.join(keys_of)}")
    by_workload = pl.DataFrame(
        [(name, *target, math.log(keys_of[name]) if keys_of[name] > 1 else None) for name, target in targets.items()],
        schema={"workload": pl.String, "ceiling": pl.Float64, "target": pl.Float64, "log_keys": pl.Float64},
        orient="row",
    )
    return _points(results).join(by_workload, on="workload", maintain_order="left").select(*TRIAL_COLUMNS)


def measured_entries(results: pl.DataFrame, measures: pl.DataFrame | None, loss: str) -> list[ScoredEntry]:
    """What scores and differences are computed from, by entry, of the `loss`, one of SCORED_LOSSES.

    `results` has RESULT_COLUMNS; `measures` is what `trial_measures` says of the trials that have traces, None if there
    are none to read. Raises UsageError as `choose_loss` does.
    """
    chosen = choose_loss(results, loss)
    curve_frame = curves(chosen)
    grids, ended = loss_grids(curve_frame), curve_frame.filter(pl.col("final_loss").is_not_null())
    ends_of = {tuple(key): rows for key, rows in ended.partition_by(*ENTRY, as_dict=True).items()}
    measured = _measured(chosen, measures)
    of_entry = {tuple(key): rows for key, rows in measured.partition_by(*ENTRY, as_dict=True).items()}
    defaults = default_lrs(grids)
    return [
        ScoredEntry(
            key=key,
            grid=grid,
            at_chance=bool(is_at_chance(*grid.data)),
            default_lr=defaults[key],
            measures=matrices({"lr": grid.lrs, "seed": grid.seeds}, of_entry[key], _MEASURES)
            | matrices({"lr": grid.lrs, "seed": grid.seeds}, ends_of[key], ["blown_up", "stuck"]),
        )
        for key, grid in grids.items()
    ]


def _points(results: pl.DataFrame) -> pl.DataFrame:
    """The results with ENTRY, which lost trials have a say in as in `curves`; one row a trial, those left out."""
    return one_a_point(with_knobs(results), [*ENTRY, "lr", "seed"]).filter(pl.col("final_loss").is_not_null())


def _measured(results: pl.DataFrame, measures: pl.DataFrame | None) -> pl.DataFrame:
    """ENTRY, lr, seed and _MEASURES: one row a trial with a result; null where it has no measures."""
    measures = pl.DataFrame(schema={"trial_id": pl.String, **MEASURES}) if measures is None else measures
    is_completed = pl.col("outcome") == Outcome.COMPLETED.value
    joined = (
        _points(results)
        .join(measures, on="trial_id", how="left", maintain_order="left")
        .with_columns(pl.when(is_completed).then(pl.col(name)).alias(name) for name in _OF_COMPLETED)
    )
    return joined.select(
        *(*ENTRY, "lr", "seed", "num_steps", "wall_s", *MEASURES),
        target_s=pl.col("target_step") * pl.col("wall_s") / pl.col("num_steps"),
        collapsed=pl.when(pl.col("lowest_entropy").is_not_null()).then(pl.col("collapse_step").is_not_null()),
        head_collapsed=pl.when(pl.col("lowest_head_entropy").is_not_null()).then(
            pl.col("head_collapse_step").is_not_null()
        ),
    )


def _targets(grids: Entries) -> dict[str, tuple[float, float | None]]:
    """Mean loss at init and target loss of every workload; the target is None where no entry learned."""
    by_workload: dict[str, list[LossGrid]] = {}
    for key, grid in grids.items():
        by_workload.setdefault(key[0], []).append(grid)
    targets = {}
    for workload, of_workload in by_workload.items():
        initial = float(np.mean([grid.initial_losses.mean() for grid in of_workload]))
        best = min(float(best_loss(*grid.data)) for grid in of_workload)
        target = None if is_chance(best, initial) else initial - TARGET_SHARE * (initial - best)
        targets[workload] = (initial, target)
    return targets


def _row(score: str, kind: ScoreKind, entry: ScoredEntry) -> dict[str, object]:
    part = kind.part(entry)
    estimate = None
    if part.grid is not None:
        estimate = kind.statistic.estimate(part.grid).reaching(part.unseen)
        estimate = estimate.within(kind.domain(entry.extent), censors=kind.is_rate)
    alike = estimate is not None and estimate.low is not None and estimate.low == estimate.high
    return {
        **dict(zip(ENTRY, entry.key, strict=True)),
        "score": score,
        "value": None if estimate is None else _finite(estimate.value),
        "ci_low": None if estimate is None else _finite(estimate.low),
        "ci_high": None if estimate is None else _finite(estimate.high),
        "ci_censored": "" if estimate is None else estimate.censored,
        "unit": kind.unit,
        "num_seeds": 0 if part.grid is None else len(part.grid.seeds),
        "higher_is_better": kind.higher_is_better,
        "at_chance": entry.at_chance,
        "note": ", ".join(filter(None, (part.note, "all seeds alike" if alike else ""))),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _valued(entry: ScoredEntry, kind: ScoreKind) -> _Valued | None:
    """None where the score has no value."""
    part = kind.part(entry)
    if part.grid is None or not math.isfinite(kind.statistic.estimate(part.grid).value):
        return None
    return _Valued(key=entry.key, grid=part.grid, unseen=part.unseen, extent=entry.extent)


def _difference_rows(valued: list[_Valued], score: str, kind: ScoreKind) -> list[dict[str, object]]:
    pairs = list(itertools.combinations(valued, 2))
    seen = kind.statistic.differences([one.grid for one in valued])
    differences = [_with_unseen(one, *pair) for one, pair in zip(seen, pairs, strict=True)]
    rows = []
    for (first, second), difference, p_holm in zip(pairs, differences, corrected(differences), strict=True):
        names = {"workload": first.key[0], "score": score, "unit": kind.difference_unit}
        names |= {"first": label_of(first.key[1:]), "second": label_of(second.key[1:])}
        verdict = _verdict(difference.value, p_holm, kind.higher_is_better)
        numbers = _numbers(difference, kind, first, second)
        rows.append({**names, **numbers, "p_holm": p_holm, "verdict": verdict, "compared": difference.compared})
    return rows


def _is_undone(value: float, first: float, second: float) -> bool:
    """Whether what may lie unseen above the lower of two entries, the first if value < 0, reaches the other."""
    return 0 < abs(value) <= (first if value < 0 else second)


def _with_unseen(difference: Difference, first: _Valued, second: _Valued) -> Difference:
    """The difference with p 1 where it `_is_undone`."""
    is_undone = _is_undone(difference.value, first.unseen, second.unseen)
    return dataclasses.replace(difference, p_value=1.0) if is_undone else difference


def _numbers(difference: Difference, kind: ScoreKind, first: _Valued, second: _Valued) -> dict[str, object]:
    """Numbers of a row; the interval is wider by a step on either side, reaches what is unseen, keeps to its domain."""
    value, half, error = difference.value, difference.half_width, difference.standard_error
    num_seeds, is_undone = difference.num_seeds, _is_undone(value, first.unseen, second.unseen)
    interval = Interval(value=value, low=None, high=None)
    if half is not None:
        half += max(kind.statistic.step(first.grid), kind.statistic.step(second.grid))
        interval = Interval(
            value=value, low=value - max(half, second.unseen), high=value + max(half, first.unseen)
        ).within(kind.difference_domain(first.extent, second.extent))
    return {
        "difference": _finite(value),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_value": difference.p_value,
        "spread": None if error is None else error * math.sqrt(num_seeds),
        "num_seeds": num_seeds,
        "num_seeds_needed": None if error is None or is_undone else seeds_needed(value, error, num_seeds),
    }


def _verdict(difference: float, p_holm: float, higher_is_better: bool | None) -> str:
    if not p_holm < 1 - CONFIDENCE:
        return NOT_SEPARATED
    if higher_is_better is None:
        return "first higher" if difference > 0 else "second higher"
    return "first better" if (difference > 0) == higher_is_better else "second better"
