"""Whether scores agree: the ranks of methods under each score, and the rank correlation of any two scores.

A conclusion that holds under one score alone is a conclusion about that score. Legend: N entries.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl

from analysis.curves import ENTRY, require_columns
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.parts import NO_TRACES

SCORE_RANK_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys((*ENTRY, "score"), pl.String),
    "value": pl.Float64,
    "rank": pl.Int64,
}

SCORE_CORRELATION_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "first", "second"), pl.String),
    **dict.fromkeys(("spearman", "kendall"), pl.Float64),
    "num_methods": pl.Int64,
}

_NEEDED = (*ENTRY, "score", "value", "higher_is_better", "at_chance", "note")


def costs(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of `score_table` whose score has a direction, with `cost`: lower is better, +inf is worst.

    cost is the value, negated where higher is better; +inf where the method never got there (SCORE_KINDS says for which
    scores that is why there is no value); null where there is no value for lack of data. Scores without any value on a
    workload are left out.
    """
    require_columns(table, _NEEDED, "the score table")
    never = pl.col("score").is_in([name for name, kind in SCORE_KINDS.items() if kind.null_is_worst])
    value = pl.when(pl.col("higher_is_better")).then(-pl.col("value")).otherwise(pl.col("value"))
    never_there = pl.col("value").is_null() & never & (pl.col("note") != NO_TRACES)
    return table.filter(
        pl.col("higher_is_better").is_not_null(), pl.col("value").is_not_null().any().over("workload", "score")
    ).with_columns(cost=pl.when(never_there).then(math.inf).otherwise(value))


def score_ranks(table: pl.DataFrame) -> pl.DataFrame:
    """SCORE_RANK_COLUMNS: 1 + the number of entries of the workload with a better value of the score.

    Takes the frame of `score_table`; scores that have no better and worse are left out, and so are entries at chance.
    An entry that never got there (no stable lr, target not reached) ranks last; without data the rank is null. Ranks
    are of point values: `score_differences` says which of them the seeds tell apart.
    """
    learned = costs(table).filter(~pl.col("at_chance"))
    ranked = learned.with_columns(rank=pl.col("cost").rank("min").over("workload", "score").cast(pl.Int64))
    return ranked.select(*SCORE_RANK_COLUMNS)


def score_correlations(table: pl.DataFrame, score: str | None = None) -> pl.DataFrame:
    """SCORE_CORRELATION_COLUMNS: how far any two scores, or any with `score`, order the entries of a workload alike.

    Lowest agreement first. Spearman's rho and Kendall's tau-b in [-1, 1] over the entries that both rank, better
    matched with better; null for fewer than three entries, or where one score ranks all alike.
    """
    ranks = score_ranks(table).filter(pl.col("rank").is_not_null())
    rows = []
    for (workload,), of_workload in ranks.group_by("workload", maintain_order=True):
        by_score = {str(key[0]): rows for key, rows in of_workload.partition_by("score", as_dict=True).items()}
        for first, second in itertools.combinations(by_score, 2):
            if score not in (None, first, second):
                continue
            both = by_score[first].join(by_score[second], on=ENTRY)
            rows.append((workload, first, second, *rank_agreement(both["rank"], both["rank_right"]), both.height))
    correlations = pl.DataFrame(rows, schema=SCORE_CORRELATION_COLUMNS, orient="row")
    return correlations.sort("workload", "spearman", nulls_last=True, maintain_order=True)


def rank_agreement(first: pl.Series, second: pl.Series) -> tuple[float | None, float | None]:
    """Spearman's rho and Kendall's tau-b of paired values; None for fewer than three, or all alike on one side.

    Computed here because importing scipy.stats takes longer than all other scores of a suite. Source: Spearman 1904,
    the correlation of ranks, where ties share their mean rank; Kendall 1945, tau-b.
    """
    if len(first) < 3 or first.n_unique() < 2 or second.n_unique() < 2:
        return None, None
    ranks_N2 = np.column_stack([one.rank("average").to_numpy() for one in (first, second)])
    return float(np.corrcoef(ranks_N2, rowvar=False)[1, 0]), _kendall(ranks_N2)


def _kendall(ranks_N2: np.ndarray) -> float:
    """(concordant - discordant pairs) / sqrt(pairs untied on the one side, times those on the other), in [-1, 1]."""
    orders_NN2 = np.sign(ranks_N2[:, None] - ranks_N2)  # each pair twice
    balance = orders_NN2.prod(axis=-1).sum() / 2
    untied_2 = np.abs(orders_NN2).sum(axis=(0, 1)) / 2
    return float(np.clip(balance / np.sqrt(untied_2[0]) / np.sqrt(untied_2[1]), -1, 1))
