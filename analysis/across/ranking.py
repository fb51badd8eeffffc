"""Methods over many conditions: the score on each, mean ranks and what they separate, profiles, whether scores agree.

Only methods that every condition has are ranked and profiled, against each other alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from analysis.across.conditions import Conditions
from analysis.across.disagreement import costs, score_correlations
from analysis.across.learned import ranking_costs
from analysis.across.profiles import (
    MAX_FACTOR,
    PROFILE_COLUMNS,
    factors_to_best,
    offsets_to_best,
    profile,
    profile_integral,
)
from analysis.across.rank_tests import RankTest, mean_ranks, not_separated, rank_test, ranks
from analysis.labels import NO_LABELS, Labels
from analysis.scores.kinds import SCORE_KINDS, ScoreKind
from analysis.scores.parts import ScoredEntry
from analysis.scores.table import score_differences, score_kind, score_table
from bench.errors import UsageError

# Those that tell better from worse and need no traces.
COMPARED_SCORES: dict[str, ScoreKind] = {
    name: kind for name, kind in SCORE_KINDS.items() if not kind.needs_traces and kind.higher_is_better is not None
}

SCORE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("condition", "method"), pl.String),
    **dict.fromkeys(("value", "ci_low", "ci_high"), pl.Float64),
    "ci_censored": pl.String,
    "unit": pl.String,
    "num_seeds": pl.Int64,
    "flag": pl.String,
    "note": pl.String,
    "rank": pl.Float64,
    "is_tied": pl.Boolean,
}
METHOD_COLUMNS: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    **dict.fromkeys(("mean_rank", "profile"), pl.Float64),
    "num_conditions": pl.Int64,
}
MEAN_SCORE_RANK_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("score", "method"), pl.String),
    "mean_rank": pl.Float64,
    "num_conditions": pl.Int64,
}
AGREEMENT_COLUMNS: dict[str, type[pl.DataType]] = {
    "score": pl.String,
    **dict.fromkeys(("spearman", "least"), pl.Float64),
    "num_conditions": pl.Int64,
}


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far from the best score a profile goes: distances from `start`, the best, to `end`, where a method failed."""

    start: float
    end: float
    is_factor: bool
    words: str


_FACTOR = Reach(start=1.0, end=MAX_FACTOR, is_factor=True, words="factor of the best score")
REACHES: dict[str, Reach] = {
    "loss": _FACTOR,
    "lr": _FACTOR,
    "decades": Reach(start=0.0, end=math.log10(MAX_FACTOR), is_factor=False, words="decades short of the best"),
    "share": Reach(start=0.0, end=1.0, is_factor=False, words="share beyond the best"),
}


@dataclass(frozen=True, kw_only=True)
class AcrossBoard:
    """Everything is of `score`, but for `score_ranks` and `agreement`, which are of all COMPARED_SCORES.

    `scores`: SCORE_COLUMNS, a row a condition and method; rank is among the ranked methods, ties share the mean of
    theirs, and is null for the others; is_tied: not the best there, but nothing is significantly better. `methods`:
    METHOD_COLUMNS, best first; mean_rank, over conditions, and profile (the integral) are null for methods that some
    condition lacks. `test` is over workloads, which are independent: conditions of one workload share its data and
    seeds, so a method's ranks are averaged over them first. It is None with two ranked methods, or one workload;
    `groups` are those of `not_separated`. `profiles`: PROFILE_COLUMNS at every
    step, without rows if the score has none. `score_ranks`: the ranked methods under each score, over the conditions on
    which all have it. `agreement`: Spearman's rho with `score` over the methods of a condition that learned, its mean
    and least over conditions.
    """

    score: str
    loss: str
    conditions: pl.DataFrame
    scores: pl.DataFrame
    methods: pl.DataFrame
    test: RankTest | None
    groups: tuple[tuple[str, ...], ...]
    profiles: pl.DataFrame
    score_ranks: pl.DataFrame
    agreement: pl.DataFrame
    notes: tuple[str, ...]
    labels: Labels = NO_LABELS


def compared_score(score: str) -> ScoreKind:
    """The kind of this name. Raises UsageError for another, and for one without a direction or that needs traces."""
    kind = score_kind(score)
    if score not in COMPARED_SCORES:
        why = "neither high nor low is better" if kind.higher_is_better is None else "it needs traces"
        raise UsageError(
            f"score {score!r} can't rank methods here: {why}; required one of {', '.join(COMPARED_SCORES)}"
        )
    return kind


def across_board(conditions: Conditions, score: str, labels: Labels = NO_LABELS) -> AcrossBoard:
    """The board of the conditions under `score`, one of COMPARED_SCORES; `labels` are what people read for names.

    A method that did not learn on a condition, or never got to what the score asks, ranks last there and fails in the
    profile. Raises UsageError for another score, fewer than two conditions, or fewer than two methods on all of them.
    """
    kind = compared_score(score)
    table = score_table(conditions.entries, conditions.loss).filter(pl.col("score").is_in(list(COMPARED_SCORES)))
    by_score = ranking_costs(table)
    of_score = by_score.filter(pl.col("score") == score, pl.col("cost").is_not_null())
    present = [name for name in conditions.frame["condition"] if name in set(of_score["workload"])]
    notes = list(conditions.notes)
    notes += [
        f"left out: {name}: no {kind.title} there" for name in conditions.frame["condition"] if name not in present
    ]
    _require_two(present, notes)
    ranked = _everywhere(of_score, present)
    compared = of_score.filter(pl.col("method").is_in(ranked))
    independent = _by_workload(compared, conditions.frame)
    test = rank_test(independent) if len(ranked) > 2 and independent["workload"].n_unique() > 1 else None
    profiles, integrals = _profiles(compared, kind, notes)
    methods = _methods(of_score, mean_ranks(ranks(compared)), integrals)
    entries = [entry for entry in conditions.entries if entry.key[0] in present]
    return AcrossBoard(
        score=score,
        loss=conditions.loss,
        conditions=conditions.frame.filter(pl.col("condition").is_in(present)),
        scores=_scores(table.filter(score=score), ranks(compared), entries, conditions, methods["method"].to_list()),
        methods=methods,
        test=test,
        groups=() if test is None else tuple(not_separated(test)),
        profiles=profiles,
        score_ranks=_score_ranks(by_score, ranked),
        agreement=_agreement(table.filter(pl.col("workload").is_in(present)), score),
        notes=(*notes, *_missing(methods, len(present), independent["workload"].n_unique())),
        labels=labels,
    )


def _require_two(present: Sequence[str], notes: Sequence[str]) -> None:
    if len(present) < 2:
        got = f"{len(present)} ({present[0]})" if present else "none"
        raise UsageError("; ".join([f"a comparison takes two workloads or conditions at least, got {got}", *notes]))


def _everywhere(of_score: pl.DataFrame, present: Sequence[str]) -> list[str]:
    """The methods with a cost on every condition. Raises UsageError for fewer than two."""
    counts = of_score.group_by("method").agg(num=pl.col("workload").n_unique().cast(pl.Int64)).sort("method")
    everywhere = counts.filter(num=len(present))["method"].to_list()
    if len(everywhere) < 2:
        most = ", ".join(f"{method} on {num}" for method, num in counts.sort(-pl.col("num"), "method").head(3).rows())
        raise UsageError(
            f"methods must overlap: required two at least on all {len(present)} conditions ({', '.join(present)}), got "
            f"{', '.join(everywhere) or 'none'}; most are {most}"
        )
    return everywhere


def _by_workload(compared: pl.DataFrame, conditions_frame: pl.DataFrame) -> pl.DataFrame:
    """workload, method, cost: the mean of the method's ranks over the conditions of the workload, by its label.

    They share data and seeds, whatever the side, the optimizer and the knobs, so that they are no independent trials of
    an order of methods. Source: Demsar 2006, Sec. 3.2, whose unit is the data set, whatever was run on it.
    """
    places = conditions_frame.select(pl.col("condition").alias("workload"), pl.col("workload").alias("block"))
    blocked = ranks(compared).join(places, on="workload", how="left")
    means = blocked.group_by("block", "method").agg(cost=pl.col("rank").mean())
    return means.rename({"block": "workload"}).sort("workload", "method")


def _profiles(compared: pl.DataFrame, kind: ScoreKind, notes: list[str]) -> tuple[pl.DataFrame, dict[str, float]]:
    """Every step of the profiles and their integrals; none, and a note, where a factor of the best means nothing."""
    reach = REACHES[kind.unit]
    cost = pl.col("cost")
    if kind.unit == "lr":  # a cost of minus the lr
        compared = compared.with_columns(cost=pl.when(cost.is_finite()).then(-1 / cost).otherwise(cost))
    wrong = compared.filter(cost <= 0)
    if reach.is_factor and wrong.height:
        row = wrong.row(0, named=True)
        notes.append(
            f"no profile: a factor of the best takes scores above 0; {row['method']} has {row['cost']:g} on "
            f"{row['workload']}"
        )
        return pl.DataFrame(schema=PROFILE_COLUMNS), {}
    distances = (factors_to_best if reach.is_factor else offsets_to_best)(compared)
    within = distances["distance"].filter(distances["distance"].is_between(reach.start, reach.end, closed="none"))
    taus = [reach.start, *within.unique().sort(), reach.end]
    return profile(distances, taus), profile_integral(distances, reach.start, reach.end)


def _methods(of_score: pl.DataFrame, means: pl.DataFrame, integrals: dict[str, float]) -> pl.DataFrame:
    counts = of_score.group_by("method").agg(num_conditions=pl.col("workload").n_unique().cast(pl.Int64))
    shares = pl.DataFrame(list(integrals.items()), schema={"method": pl.String, "profile": pl.Float64}, orient="row")
    joined = counts.join(means, on="method", how="left").join(shares, on="method", how="left")
    order = [pl.col("mean_rank"), -pl.col("num_conditions"), pl.col("method")]
    return joined.sort(order, nulls_last=True).select(*METHOD_COLUMNS)


def _scores(
    of_score: pl.DataFrame,
    ranked: pl.DataFrame,
    entries: Sequence[ScoredEntry],
    of_all: Conditions,
    methods: Sequence[str],
) -> pl.DataFrame:
    """SCORE_COLUMNS, by condition as they come, methods in this order."""
    conditions = list(dict.fromkeys(entry.key[0] for entry in entries))
    tied = _tied(entries, of_score)
    flags = [of_all.flags[pair] for pair in of_score.select("workload", "method").iter_rows()]
    is_tied = [pair in tied for pair in of_score.select("workload", "method").iter_rows()]
    return (
        of_score.with_columns(flag=pl.Series(flags, dtype=pl.String), is_tied=pl.Series(is_tied, dtype=pl.Boolean))
        .join(ranked.select("workload", "method", "rank"), on=["workload", "method"], how="left")
        .filter(pl.col("workload").is_in(conditions), pl.col("method").is_in(list(methods)))
        .rename({"workload": "condition"})
        .sort(pl.col("condition").cast(pl.Enum(conditions)), pl.col("method").cast(pl.Enum(list(methods))))
        .select(*SCORE_COLUMNS)
    )


def _tied(entries: Sequence[ScoredEntry], of_score: pl.DataFrame) -> set[tuple[str, str]]:
    """(condition, method) of those that learned and are not the best, but whose rank range there begins at 1.

    With one seed there is no range.
    """
    differences = score_differences(entries, of_score["score"][0])
    beaten = {
        (row["workload"], row["second"]) for row in differences.filter(verdict="first better").iter_rows(named=True)
    }
    beaten |= {
        (row["workload"], row["first"]) for row in differences.filter(verdict="second better").iter_rows(named=True)
    }
    learned = costs(of_score).filter(~pl.col("at_chance"), pl.col("value").is_not_null(), pl.col("num_seeds") > 1)
    rest = learned.filter(pl.col("cost") > pl.col("cost").min().over("workload"))
    return set(rest.select("workload", "method").iter_rows()) - beaten


def _score_ranks(by_score: pl.DataFrame, ranked: Collection[str]) -> pl.DataFrame:
    """MEAN_SCORE_RANK_COLUMNS: the ranked methods under each score, over the conditions on which all have it."""
    having = by_score.filter(pl.col("method").is_in(list(ranked)), pl.col("cost").is_not_null())
    whole_only = having.filter(pl.len().over("score", "workload") == len(ranked))
    parts = [
        mean_ranks(ranks(rows)).with_columns(
            score=pl.lit(score, pl.String), num_conditions=pl.lit(rows["workload"].n_unique(), pl.Int64)
        )
        for (score,), rows in whole_only.group_by("score", maintain_order=True)
    ]
    return pl.concat(
        [pl.DataFrame(schema=MEAN_SCORE_RANK_COLUMNS), *(part.select(*MEAN_SCORE_RANK_COLUMNS) for part in parts)]
    )


def _agreement(table: pl.DataFrame, score: str) -> pl.DataFrame:
    """AGREEMENT_COLUMNS of every other score that is defined somewhere, lowest first."""
    pairs = score_correlations(table, score)
    other = pl.when(pl.col("first") == score).then(pl.col("second")).otherwise(pl.col("first"))
    defined = pairs.with_columns(score=other).filter(pl.col("spearman").is_not_null())
    medians = defined.group_by("score").agg(
        pl.col("spearman").mean(), least=pl.col("spearman").min(), num_conditions=pl.len().cast(pl.Int64)
    )
    return medians.sort("spearman", "score").select(*AGREEMENT_COLUMNS)


def _missing(methods: pl.DataFrame, num_conditions: int, num_independent: int) -> list[str]:
    """What to say of methods that are not ranked, and why there is no test."""
    partial = methods.filter(pl.col("num_conditions") < num_conditions)["method"].to_list()
    num_ranked = methods.height - len(partial)
    said = [f"not on all {num_conditions} conditions, so not ranked: {', '.join(partial)}"] if partial else []
    if num_ranked < 3:
        said.append(f"Friedman's test takes three methods on all conditions at least, got {num_ranked}: none is made")
    elif num_independent < 2:
        said.append(
            f"the {num_conditions} conditions are of one workload, so share its data and seeds and count as one: "
            "Friedman's test takes two independent ones at least, none is made, and mean ranks only describe"
        )
    return said
