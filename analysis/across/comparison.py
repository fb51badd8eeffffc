"""Our scores beside published ones: matched by workload and method, ranked and correlated."""

from __future__ import annotations

import itertools

import polars as pl

from analysis.across.disagreement import rank_agreement
from analysis.curves import label_of, require_columns
from analysis.scores.flags import has_flag
from analysis.scores.leaderboard import LEADERBOARD_COLUMNS
from bench.errors import UsageError

REFERENCE_COLUMNS: tuple[str, ...] = ("workload", "method", "lr_sensitivity", "source", "note")

_GROUP = ["workload", "optimizer", "knobs"]
_AT_CHANCE = has_flag("at_chance")
_NOT_COUNTED = pl.col("at_chance") | pl.col("is_variant") | pl.col("lr_sensitivity").is_null()


def compare(leaderboard: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Ours beside the published numbers: one row an entry whose workload and method are in `references`.

    Columns: workload, method, optimizer, knobs, lr_sensitivity, ci_low, ci_high, our_rank, paper_lr_sensitivity,
    paper_rank, at_chance, is_variant, source, note. A label such as `window_softmax(width=4)` matches a reference of
    exactly that name, else the one of the name before the parenthesis; so does that of a workload. Beside an entry that
    bears the published name such a one is a variant: a published number counts once. Both ranks are by value alone
    among the rows compared, 1 most robust; null for a variant, and for an entry of ours at chance, whose sensitivity
    says nothing. Raises UsageError if no entry has a published number.
    """
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    require_columns(references, REFERENCE_COLUMNS, "the references frame")
    joined = _matched(leaderboard, references)
    if joined.is_empty() and not leaderboard.is_empty():
        published, ours = (", ".join(frame["workload"].unique().sort()) for frame in (references, leaderboard))
        raise UsageError(f"no method of {ours} is among the published numbers; required one of {published}")
    return joined.select(
        *_GROUP,
        "method",
        "lr_sensitivity",
        "ci_low",
        "ci_high",
        _rank("lr_sensitivity").alias("our_rank"),
        "paper_lr_sensitivity",
        _rank("paper_lr_sensitivity").alias("paper_rank"),
        _AT_CHANCE.alias("at_chance"),
        "is_variant",
        "source",
        "note",
    ).sort(*_GROUP, "lr_sensitivity", "method", nulls_last=True)


def rank_correlations(compared: pl.DataFrame) -> pl.DataFrame:
    """How far our order of methods agrees with the paper's: one row a (workload, optimizer, knobs).

    `compared` is the frame of `compare`. Columns: workload, optimizer, knobs, spearman and kendall (tau-b), both in
    [-1, 1] and null for fewer than three methods or equal scores, num_methods. Entries at chance and variants are left
    out.
    """
    needed = (*_GROUP, "lr_sensitivity", "paper_lr_sensitivity", "at_chance", "is_variant")
    require_columns(compared, needed, "the comparison frame")
    rows = []
    for key, group in compared.group_by(_GROUP, maintain_order=True):
        rows_of_key = group.filter(~_NOT_COUNTED)
        agreement = rank_agreement(rows_of_key["lr_sensitivity"], rows_of_key["paper_lr_sensitivity"])
        rows.append((*key, *agreement, rows_of_key.height))
    schema = dict.fromkeys(_GROUP, pl.String) | {"spearman": pl.Float64, "kendall": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, "num_methods": pl.Int64}, orient="row")


def unranked(compared: pl.DataFrame) -> str:
    """In words which entries of the frame of `compare` have no rank; "" if all have."""
    named = {why: list[str]() for why in ("at chance", "without a score", "beside an entry of the published name")}
    for row in compared.filter(_NOT_COUNTED).iter_rows(named=True):
        at_chance, without, beside = named
        why = at_chance if row["at_chance"] else beside if row["is_variant"] else without
        named[why].append(f"{label_of(row[name] for name in ('method', 'optimizer', 'knobs'))} on {row['workload']}")
    return "\n".join(
        f"{why}, so without a rank and left out of the correlations: {'; '.join(names)}"
        for why, names in named.items()
        if names
    )


def _rank(score: str) -> pl.Expr:
    return pl.when(~_AT_CHANCE & ~pl.col("is_variant")).then(score).rank("min").over(_GROUP).cast(pl.Int64)


def _matched(leaderboard: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Each entry with its nearest reference: exact labels go before bare names, the method's before the workload's."""
    entries = leaderboard.with_row_index("entry")
    paper = references.select(*REFERENCE_COLUMNS[:2], pl.col("lr_sensitivity").alias("paper_lr_sensitivity"))
    paper = paper.with_columns(references.select("source", "note"))
    bare = {name: pl.col(name).str.extract(r"^([^(]*)", 1) for name in ("workload", "method")}
    keys = itertools.product((pl.col("method"), bare["method"]), (pl.col("workload"), bare["workload"]))
    candidates = [
        entries.select("entry", method=method, workload=workload, distance=pl.lit(distance))
        for distance, (method, workload) in enumerate(keys)
    ]
    nearest = (
        pl.concat(candidates).join(paper, on=["workload", "method"]).sort("distance").unique("entry", keep="first")
    )
    nearest = nearest.rename({"workload": "paper_workload", "method": "paper_method"})
    joined = entries.join(nearest, on="entry")
    nearest_of_all = pl.col("distance").min().over(*_GROUP, "paper_method")
    return joined.with_columns(is_variant=pl.col("distance") > nearest_of_all)
