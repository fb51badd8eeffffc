"""What moved between two sets of results, beyond noise: scores with intervals, ranks, and each trial by itself.

A and B are two runs of a suite, two versions of it, two workloads, or runs of two groups of people. Everything is B
minus A. Entries are matched by workload, method, optimizer and knobs. A workload that only one side has matches the one
of the same name with other parameters, where there is one of each; so do an entry's knobs, which are named where they
vary within a side.

Legend: L learning rates, S seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from analysis.curves import CURVE_COLUMNS, ENTRY, LossGrid, loss_grids, one_a_point, require_columns, with_knobs
from analysis.losses import choose_loss
from analysis.scores.leaderboard import leaderboard
from analysis.scores.robustness import SENSITIVITIES, Score
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import Difference, corrected, entry_difference, unpaired_difference
from analysis.spelling import with_one_spelling
from analysis.text import entry_name
from bench.errors import UsageError, did_you_mean, unknown
from bench.outcome import RESULT_COLUMNS

SAME_START = 1e-4  # two losses at init this near, relatively, are of the same weights and data on other hardware
MIN_LRS = 2

VERDICTS: dict[str, str] = {
    "higher": "B's score is higher beyond noise: p after Holm's correction is below 5%",
    "lower": "B's score is lower beyond noise, likewise",
    "not separated": "the seeds do not tell the scores apart",
    "identical": "every final loss is the same to the last bit",
    "not compared": "fewer than two learning rates in common",
}

MOVED_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(ENTRY, pl.String),
    **dict.fromkeys(("score_a", "score_b", "difference", "ci_low", "ci_high", "p_value", "p_holm"), pl.Float64),
    **dict.fromkeys(("verdict", "compared"), pl.String),
    **dict.fromkeys(("rank_a", "rank_worst_a", "rank_b", "rank_worst_b"), pl.Int64),
    **dict.fromkeys(("num_lrs", "num_lrs_left_out"), pl.Int64),
    **dict.fromkeys(("num_trials", "num_equal", "num_outcomes_differ"), pl.Int64),
    "largest_change": pl.Float64,
}
_NO_TRIALS = {"num_trials": 0, "num_equal": 0, "num_outcomes_differ": 0}
ONLY_COLUMNS: dict[str, type[pl.DataType]] = {**dict.fromkeys(("side", *ENTRY), pl.String), "num_trials": pl.Int64}


@dataclass(frozen=True, kw_only=True)
class Moved:
    """`entries`: MOVED_COLUMNS, a row an entry of both; `only`: ONLY_COLUMNS, a row an entry of A or B alone.

    `workloads` are those of B by the name of A's that each was matched with, where the names differ; num_renamed
    entries were matched though their knobs are named otherwise.
    """

    entries: pl.DataFrame
    only: pl.DataFrame
    workloads: Mapping[str, str]
    num_renamed: int

    @property
    def is_beyond_noise(self) -> bool:
        """Whether a score moved, or an entry came or went."""
        return not self.only.is_empty() or self.entries["verdict"].is_in(["higher", "lower"]).any()


def moved(
    a: pl.DataFrame,
    b: pl.DataFrame,
    score: str = "lr_sensitivity",
    loss: str = "train",
    controls: Collection[str] = (),
) -> Moved:
    """Compare two frames of RESULT_COLUMNS. Raises UsageError as `leaderboard` does.

    Scores, ranks and trials are over the learning rates that both sides of an entry have: num_lrs, but for the
    num_lrs_left_out that one side lacks. ci_low and ci_high
    bound the 95% interval of the difference; p_holm is corrected over all entries compared. `compared` says how: paired
    by seed where both have the same seeds and each seed starts from the same loss within SAME_START (so the same
    weights and data), otherwise unpaired. num_trials are those of both, by lr and seed; of these num_equal have
    bit-equal final losses (two divergences are equal), num_outcomes_differ diverged on one side alone; largest_change
    is of the final losses of those that diverged on neither. Ranks are rank ranges among the entries compared, rank_a
    to rank_worst_a in A; `controls` are methods, by label, that are A/A controls and have none.
    """
    if score not in SENSITIVITIES:
        raise unknown("score", score, SENSITIVITIES)
    require_columns(a, RESULT_COLUMNS, "the results frame of A")
    require_columns(b, RESULT_COLUMNS, "the results frame of B")
    a, b = with_one_spelling(a, b)
    scored_a, scored_b = choose_loss(a, loss), choose_loss(b, loss)
    workloads = _matched_workloads(scored_a, scored_b)
    scored_b = scored_b.with_columns(pl.col("workload").replace({theirs: ours for ours, theirs in workloads.items()}))
    named_a, named_b = with_knobs(scored_a), with_knobs(scored_b)
    named_b, num_renamed = _with_knobs_of(named_a, named_b)
    curves_a, curves_b = (
        one_a_point(named, [*ENTRY, "lr", "seed"]).select(CURVE_COLUMNS) for named in (named_a, named_b)
    )
    grids_a, grids_b = loss_grids(curves_a), loss_grids(curves_b)
    shared = {key: np.intersect1d(grids_a[key].lrs, grids_b[key].lrs) for key in grids_a if key in grids_b}
    compared = {
        key: (_at_lrs(grids_a[key], lrs_L), _at_lrs(grids_b[key], lrs_L))
        for key, lrs_L in shared.items()
        if len(lrs_L) >= MIN_LRS
    }
    scores = _score_columns(compared, SENSITIVITIES[score])
    trials = _trial_columns(curves_a, curves_b)
    ranked = {key: grids for key, grids in compared.items() if key[1] not in controls}
    ranks = _ranks(named_a, ranked, score), _ranks(named_b, ranked, score)
    rows = [
        _row(key, len(lrs_L), (grids_a[key], grids_b[key]), ranks, scores.get(key, {}) | trials.get(key, _NO_TRIALS))
        for key, lrs_L in shared.items()
    ]
    entries = pl.DataFrame(rows, schema=MOVED_COLUMNS).sort("workload", "score_a", *ENTRY[1:], nulls_last=True)
    return Moved(entries=entries, only=_only(grids_a, grids_b), workloads=workloads, num_renamed=num_renamed)


def _row(
    key: tuple[str, ...],
    num_lrs: int,
    grids: tuple[LossGrid, LossGrid],
    ranks: Sequence[Mapping[tuple[str, ...], tuple[int | None, int | None]]],
    columns: Mapping[str, Any],
) -> dict[str, Any]:
    """A row of MOVED_COLUMNS: grids and ranks are of A and B, `columns` what was scored and counted of the entry."""
    row = {**dict(zip(ENTRY, key, strict=True)), "num_lrs": num_lrs, "verdict": "not compared", **columns}
    row["num_lrs_left_out"] = sum(len(grid.lrs) - num_lrs for grid in grids)
    for side, of_side in zip("ab", ranks, strict=True):
        row[f"rank_{side}"], row[f"rank_worst_{side}"] = of_side.get(key, (None, None))
    if all(row["num_equal"] == grid.num_trials for grid in grids):
        row["verdict"] = "identical"
    return row


def of_workload(results: pl.DataFrame, label: str, name: str, side: str) -> pl.DataFrame:
    """The results of one workload, renamed. Raises UsageError if there are none."""
    chosen = results.filter(pl.col("workload") == label)
    if chosen.is_empty():
        labels = results["workload"].unique().sort().to_list()
        raise UsageError(
            f"{side} has no workload {label!r}{did_you_mean(label, labels)} (there are {'; '.join(labels)})"
        )
    return chosen.with_columns(workload=pl.lit(name))


def is_same_start(first: LossGrid, second: LossGrid) -> bool:
    """Whether both have the same seeds, and each seed the same loss at init within SAME_START."""
    return first.seeds == second.seeds and np.allclose(
        first.initial_losses, second.initial_losses, rtol=SAME_START, atol=0.0
    )


def _score_columns(
    compared: Mapping[tuple[str, ...], tuple[LossGrid, LossGrid]], score: Score
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Scores, difference, p-values and verdict of every entry compared."""
    differences = {key: _difference(score, *grids) for key, grids in compared.items()}
    p_values = corrected(list(differences.values()))
    rows = {}
    for (key, difference), p_holm in zip(differences.items(), p_values, strict=True):
        one, two = compared[key]
        is_moved = p_holm < 1 - CONFIDENCE
        rows[key] = {
            "score_a": float(score(*one.data)),
            "score_b": float(score(*two.data)),
            **difference.interval.columns("difference", "ci"),
            "p_value": difference.p_value,
            "p_holm": p_holm,
            "verdict": "not separated" if not is_moved else "higher" if difference.value > 0 else "lower",
            "compared": difference.compared,
        }
    return rows


def _difference(score: Score, first: LossGrid, second: LossGrid) -> Difference:
    """Second minus first, paired by seed where both start from the same losses."""
    compare = entry_difference if is_same_start(first, second) else unpaired_difference
    return compare(score, second, first)


def _at_lrs(grid: LossGrid, lrs_L: np.ndarray) -> LossGrid:
    """The grid with only these learning rates, of which it has all."""
    rows = np.searchsorted(grid.lrs, lrs_L)
    return replace(grid, lrs=lrs_L, losses=grid.losses[rows])


def _ranks(
    named: pl.DataFrame, compared: Mapping[tuple[str, ...], tuple[LossGrid, LossGrid]], score: str
) -> dict[tuple[str, ...], tuple[int | None, int | None]]:
    """Rank ranges among the entries compared, over the learning rates compared."""
    points = [{**dict(zip(ENTRY, key, strict=True)), "lr": lr} for key, (one, _) in compared.items() for lr in one.lrs]
    kept = named.join(
        pl.DataFrame(points, schema={**dict.fromkeys(ENTRY, pl.String), "lr": pl.Float64}), on=[*ENTRY, "lr"]
    )
    # Among fewer entries fewer knobs vary, so that the leaderboard would name entries otherwise: numbers name them.
    numbers = {key: str(number) for number, key in enumerate(compared)}
    names = [numbers[key] for key in kept.select(ENTRY).iter_rows()]
    board = leaderboard(kept.drop("knobs").with_columns(method=pl.Series(names, dtype=pl.String)), score)
    ranks = {number: ends for number, *ends in board.select("method", "rank", "rank_worst").iter_rows()}
    return {key: tuple(ranks.get(number, (None, None))) for key, number in numbers.items()}


def _trial_columns(a: pl.DataFrame, b: pl.DataFrame) -> dict[tuple[str, ...], dict[str, Any]]:
    """What became of the trials that both have, by entry."""
    point = [*ENTRY, "lr", "seed"]
    both = a.select(*point, "final_loss").join(b.select(*point, second="final_loss"), on=point).drop_nulls()
    change = (pl.col("final_loss") - pl.col("second")).abs()
    by_entry = both.group_by(ENTRY).agg(
        num_trials=pl.len().cast(pl.Int64),
        num_equal=(pl.col("final_loss") == pl.col("second")).sum().cast(pl.Int64),
        num_outcomes_differ=(pl.col("final_loss").is_infinite() != pl.col("second").is_infinite()).sum().cast(pl.Int64),
        largest_change=change.filter(change.is_finite()).max(),
    )
    return {tuple(row[name] for name in ENTRY): row for row in by_entry.iter_rows(named=True)}


def _only(a: Mapping[tuple[str, ...], LossGrid], b: Mapping[tuple[str, ...], LossGrid]) -> pl.DataFrame:
    """The entries of one side alone."""
    rows = [
        {"side": side, **dict(zip(ENTRY, key, strict=True)), "num_trials": grid.num_trials}
        for side, mine, others in (("A", a, b), ("B", b, a))
        for key, grid in mine.items()
        if key not in others
    ]
    return pl.DataFrame(rows, schema=ONLY_COLUMNS)


def _matched_workloads(a: pl.DataFrame, b: pl.DataFrame) -> dict[str, str]:
    """A's workloads that B lacks, and B's of the same name before the parenthesis, where each side has one such."""
    alone_a, alone_b = (sorted(set(mine["workload"]) - set(others["workload"])) for mine, others in ((a, b), (b, a)))
    by_name_a, by_name_b = _by_bare_name(alone_a), _by_bare_name(alone_b)
    return {
        labels[0]: by_name_b[name][0]
        for name, labels in by_name_a.items()
        if len(labels) == 1 and len(by_name_b.get(name, [])) == 1
    }


def _with_knobs_of(named_a: pl.DataFrame, named_b: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """B with A's knobs where a workload, method and optimizer is left with one entry each; and how many those are."""
    grouped = (named.group_by(ENTRY[:3]).agg(pl.col("knobs").unique()) for named in (named_a, named_b))
    keys_a, keys_b = ({row[:3]: set(row[3]) for row in knobs.iter_rows()} for knobs in grouped)
    rows = []
    for key in keys_a.keys() & keys_b.keys():
        left_a, left_b = keys_a[key] - keys_b[key], keys_b[key] - keys_a[key]
        if len(left_a) == len(left_b) == 1:
            rows.append((*key, left_b.pop(), left_a.pop()))
    schema = dict.fromkeys((*ENTRY, "matched"), pl.String)
    matched = named_b.join(pl.DataFrame(rows, schema=schema, orient="row"), on=ENTRY, how="left", maintain_order="left")
    return matched.with_columns(knobs=pl.coalesce("matched", "knobs")).drop("matched"), len(rows)


def _by_bare_name(labels: Iterable[str]) -> dict[str, list[str]]:
    """Labels by their name before the parenthesis."""
    by_name: dict[str, list[str]] = {}
    for label in labels:
        by_name.setdefault(entry_name(label), []).append(label)
    return by_name
