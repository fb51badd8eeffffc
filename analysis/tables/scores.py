"""The scores that a leaderboard does not show, ranks under each, how far scores agree, and ranks over workloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.across.disagreement import score_ranks
from analysis.across.learned import ranking_costs
from analysis.across.profiles import MAX_FACTOR, factors_to_best, profile_integral
from analysis.across.rank_tests import RankTest, rank_test
from analysis.curves import ENTRY, groups_of, short_labels
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.tables.forms.rows import fixed, table_of, text
from analysis.tables.forms.table import NOTHING, Cell, Number, Table, columns, in_parts
from analysis.text import decimals

_COLUMNS_A_TABLE = 5
_RANKS_A_TABLE = 10
_HEADLINE = "lr_sensitivity"


def scores_tables(table: pl.DataFrame) -> list[Table]:
    """Per workload, entries x the scores that the leaderboard lacks, a few a table; those without values left out."""
    tables = []
    for (workload,), rows in groups_of(table.filter(~pl.col("score").is_in(BOARD_SCORES)), "workload"):
        present = rows.filter(pl.col("value").is_not_null())["score"].unique(maintain_order=True).to_list()
        for part, continued in in_parts(present, _COLUMNS_A_TABLE):
            tables.append(_scores_table(f"Other scores on {workload}{continued}", rows, part))
    return tables


def rank_tables(ranking: pl.DataFrame) -> list[Table]:
    """Per workload with two entries at least that learned: entries x scores, the place under each, a few a table.

    A place in the order of the scores alone; a leaderboard's rank is the range that the seeds leave possible.

    Takes the frame of `ranking_table`, as `aggregate_tables` does.
    """
    tables = []
    for (workload,), rows in groups_of(score_ranks(ranking), "workload"):
        names, labels = rows["score"].unique(maintain_order=True).to_list(), _labels(rows)
        entries = groups_of(rows, *ENTRY[1:])
        for part, continued in in_parts(names if len(entries) > 1 else (), _RANKS_A_TABLE):
            cells = tuple((labels[key], *(_rank(_only(of_entry, name)) for name in part)) for key, of_entry in entries)
            heading = f"Order under each score, separated or not, on {workload}{continued}"
            tables.append(Table(heading=heading, columns=columns("Method", *map(_title, part)), rows=cells))
    return tables


def correlation_tables(correlations: pl.DataFrame) -> list[Table]:
    """Per workload, the correlation of every other score's ranks with those of the LR sensitivity, lowest first."""
    with_headline = correlations.filter(
        (pl.col("first") == _HEADLINE) | (pl.col("second") == _HEADLINE), pl.col("spearman").is_not_null()
    )
    return [
        table_of(
            f"Rank correlation with LR sensitivity on {workload}",
            rows,
            ("Score", lambda row: _title(row["second"] if row["first"] == _HEADLINE else row["first"])),
            ("Spearman", fixed("spearman", 2)),
            ("Kendall", fixed("kendall", 2)),
            ("Methods", text("num_methods")),
        )
        for (workload,), rows in groups_of(with_headline, "workload")
    ]


def aggregate_tables(ranking: pl.DataFrame) -> list[Table]:
    """Mean ranks and profiles over the workloads under each score that allows them; none with a single workload."""
    costs = ranking_costs(ranking)
    labels = pl.Series(short_labels(costs), dtype=pl.String)
    tables = []
    for (score,), rows in costs.with_columns(method=labels).group_by("score", maintain_order=True):
        num_everywhere = rows.group_by("method").agg(pl.col("workload").n_unique())
        num_workloads = rows["workload"].n_unique()
        if num_workloads > 1 and num_everywhere.filter(workload=num_workloads).height > 2:
            tables.append(_aggregate_table(_title(str(score)), rank_test(rows), rows))
    return tables


def score_cell(row: dict[str, Any], places: int, mark: str = "") -> Number:
    """The value of a row of the score table and its interval; learning rates in three significant digits.

    `places`: decimals where there is no interval.
    """
    return Number(
        value=row["value"],
        low=row["ci_low"],
        high=row["ci_high"],
        censored=row["ci_censored"],
        decimals=None if row["unit"] == "lr" else places,
        before="≥ " if row["value"] is not None and row["note"].startswith("censored") else "",
        mark=mark,
    )


def score_decimals(rows: pl.DataFrame) -> int:
    """Decimals that show the largest value of these rows of the score table in three significant digits."""
    return decimals(rows["value"].drop_nulls(), 3)


def _aggregate_table(title: str, test: RankTest, rows: pl.DataFrame) -> Table:
    integrals: dict[str, float] = {}
    if rows["unit"][0] in ("loss", "steps", "s") and not (rows["cost"] <= 0).any():  # costs that have factors
        integrals = profile_integral(factors_to_best(rows), 1.0, MAX_FACTOR)
    heading = (
        f"{title} over {test.num_workloads} workloads: Friedman p {test.p_value:.2g} "
        f"({'exact' if test.p_is_exact else 'chi-square'}), critical difference "
        f"{test.critical_difference:.2f}"
    )
    return table_of(
        heading,
        test.mean_ranks,
        ("Method", text("method")),
        ("Mean rank", fixed("mean_rank", 2)),
        ("Profile", lambda row: Number(value=integrals[row["method"]] if integrals else None, decimals=2)),
    )


def _scores_table(heading: str, rows: pl.DataFrame, names: Sequence[str]) -> Table:
    places, labels = {name: score_decimals(rows.filter(score=name)) for name in names}, _labels(rows)
    cells = tuple(
        (
            labels[key] + ("*" if of_entry["at_chance"][0] else ""),
            *(_cell(_only(of_entry, name), places[name]) for name in names),
        )
        for key, of_entry in groups_of(rows, *ENTRY[1:])
    )
    return Table(heading=heading, columns=columns("Method", *map(_title, names)), rows=cells)


def _title(score: str) -> str:
    return SCORE_KINDS[score].title


def _cell(row: dict[str, Any] | None, places: int) -> Cell:
    return NOTHING if row is None else score_cell(row, places)


def _rank(row: dict[str, Any] | None) -> Cell:
    return Number(value=None if row is None else row["rank"], decimals=0)


def _only(rows: pl.DataFrame, score: str) -> dict[str, Any] | None:
    of_score = rows.filter(score=score)
    return of_score.row(0, named=True) if of_score.height else None


def _labels(rows: pl.DataFrame) -> dict[tuple[Any, ...], str]:
    """`short_labels` by method, optimizer and knobs."""
    return dict(zip(rows.select(*ENTRY[1:]).iter_rows(), short_labels(rows), strict=True))
