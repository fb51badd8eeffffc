"""The section 'Other scores' of a report: what the leaderboard does not show, and whether scores agree on the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.across.disagreement import score_correlations, score_ranks
from analysis.across.learned import ranking_costs, ranking_table
from analysis.across.profiles import MAX_FACTOR, factors_to_best, profile_integral
from analysis.across.rank_tests import RankTest, rank_test
from analysis.curves import ENTRY, entry_label
from analysis.report.section import Told, told
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.scores.parts import ScoredEntry
from analysis.scores.table import score_differences, score_table_of
from analysis.tables.table import PlainTable
from analysis.text import decimals, lr_text, number

_COLUMNS_A_TABLE = 5
_RANKS_A_TABLE = 9
_HEADLINE = "lr_sensitivity"

_SCORES_NOTE = (
    "Brackets: 95% interval over seeds. –: not defined (scores.csv says why). ≥: censored, stable up to the top of the "
    "grid. *: at chance, it hardly learned, so its numbers say little."
)
_UNTRACED_NOTE = " The command bench scores adds what traces tell."
_TRACED_NOTE = " Scores from traces are of the training loss."
_RANKS_NOTE = (
    "1 + the number of entries with a better value; what is at chance or learned little, by its flags, is left out. "
    "Ranks are of point values: score_differences.csv says which of them the seeds tell apart."
)
_CORRELATION_NOTE = (
    "How far a score orders the methods that learned as LR sensitivity does: 1 alike, -1 the other way round; every "
    "other pair of scores is in score_correlations.csv."
)
_AGGREGATE_NOTE = (
    "Mean rank over workloads, 1 best; where a method is at chance or learned little, it ranks last. Ranks that differ "
    "by less than the critical difference are not separated (Friedman's and Nemenyi's test, Demšar 2006). p is exact, "
    "or by the chi-square distribution where the orders of so many methods and workloads are too many to count. "
    "Profile: mean height over factors 1 to 4 of the share of workloads on which the score is within the factor of the "
    "best (Dolan & Moré 2002; Dahl et al. 2023), 1 if best everywhere."
)


def other_scores(entries: Sequence[ScoredEntry], loss: str) -> Told | None:
    """The section, its tables, and scores.csv, score_differences.csv and score_correlations.csv."""
    table = score_table_of(entries, loss)
    ranking = ranking_table(table, entries)
    correlations = score_correlations(ranking).filter(pl.col("spearman").is_not_null())
    tested = table.filter(pl.col("higher_is_better").is_not_null() & pl.col("value").is_not_null())
    names = tested["score"].unique(maintain_order=True)
    frames = {
        "scores.csv": table,
        "score_differences.csv": pl.concat([score_differences(entries, name) for name in names]),
        "score_correlations.csv": correlations,
    }
    more = _TRACED_NOTE if any(entry.is_traced for entry in entries) else _UNTRACED_NOTE
    groups = [
        (scores_tables(table), _SCORES_NOTE + more),
        (rank_tables(ranking), _RANKS_NOTE),
        (correlation_tables(correlations), _CORRELATION_NOTE),
        (aggregate_tables(ranking), _AGGREGATE_NOTE),
    ]
    present = table.filter(pl.col("value").is_not_null())["score"].unique(maintain_order=True)
    definitions = {name: SCORE_KINDS[name].definition for name in present if name not in BOARD_SCORES}
    return told("Other scores", groups, frames, (), definitions)


def scores_tables(table: pl.DataFrame) -> list[PlainTable]:
    """Per workload, entries x the scores that the leaderboard lacks, a few a table; those without values left out."""
    tables = []
    for workload, rows in _by_workload(table.filter(~pl.col("score").is_in(BOARD_SCORES))):
        present = rows.filter(pl.col("value").is_not_null())["score"].unique(maintain_order=True).to_list()
        for start in range(0, len(present), _COLUMNS_A_TABLE):
            heading = f"Other scores on {workload}{', continued' if start else ''}"
            tables.append(_scores_table(heading, rows, present[start : start + _COLUMNS_A_TABLE]))
    return tables


def rank_tables(ranking: pl.DataFrame) -> list[PlainTable]:
    """Per workload with two entries at least that learned: entries x scores, the rank under each, a few a table.

    Takes the frame of `ranking_table`, as `aggregate_tables` does.
    """
    tables = []
    for workload, rows in _by_workload(score_ranks(ranking)):
        names, labels = rows["score"].unique(maintain_order=True).to_list(), _labels(rows)
        entries = _by_entry(rows)
        for start in range(0, len(names) if len(entries) > 1 else 0, _RANKS_A_TABLE):
            part = names[start : start + _RANKS_A_TABLE]
            cells = tuple((labels[key], *(_rank(_only(of_entry, name)) for name in part)) for key, of_entry in entries)
            titles = ("Method", *(SCORE_KINDS[name].title for name in part))
            heading = f"Rank under each score on {workload}{', continued' if start else ''}"
            tables.append(PlainTable(heading=heading, titles=titles, rows=cells))
    return tables


def correlation_tables(correlations: pl.DataFrame) -> list[PlainTable]:
    """Per workload, the correlation of every other score's ranks with those of the LR sensitivity, lowest first."""
    tables = []
    with_headline = correlations.filter(
        (pl.col("first") == _HEADLINE) | (pl.col("second") == _HEADLINE), pl.col("spearman").is_not_null()
    )
    for workload, rows in _by_workload(with_headline):
        cells = tuple(
            (
                SCORE_KINDS[row["second"] if row["first"] == _HEADLINE else row["first"]].title,
                number(row["spearman"], 2),
                number(row["kendall"], 2),
                str(row["num_methods"]),
            )
            for row in rows.iter_rows(named=True)
        )
        heading = f"Rank correlation with LR sensitivity on {workload}"
        tables.append(PlainTable(heading=heading, titles=("Score", "Spearman", "Kendall", "Methods"), rows=cells))
    return tables


def aggregate_tables(ranking: pl.DataFrame) -> list[PlainTable]:
    """Mean ranks and profiles over the workloads under each score that allows them; none with a single workload."""
    found = ranking_costs(ranking)
    names = _labels(found)
    labels = pl.Series([names[key] for key in found.select(*ENTRY[1:]).iter_rows()], dtype=pl.String)
    found = found.with_columns(method=labels)
    tables = []
    for (score,), rows in found.group_by("score", maintain_order=True):
        num_everywhere = rows.group_by("method").agg(pl.col("workload").n_unique())
        num_workloads = rows["workload"].n_unique()
        if num_workloads > 1 and num_everywhere.filter(workload=num_workloads).height > 2:
            tables.append(_aggregate_table(SCORE_KINDS[str(score)].title, rank_test(rows), rows))
    return tables


def _aggregate_table(title: str, test: RankTest, rows: pl.DataFrame) -> PlainTable:
    has_factors = rows["unit"][0] in ("loss", "steps", "s") and not (rows["cost"] <= 0).any()
    integrals: dict[str, float] = {}
    if has_factors:
        found = profile_integral(factors_to_best(rows), 1.0, MAX_FACTOR)
        integrals = dict(found.select("method", "integral").iter_rows())
    cells = tuple(
        (method, number(mean_rank, 2), number(integrals[method] if has_factors else None, 2))
        for method, mean_rank in test.mean_ranks.iter_rows()
    )
    heading = (
        f"{title} over {test.num_workloads} workloads: Friedman p {test.p_value:.2g} "
        f"({'exact' if test.p_is_exact else 'chi-square'}), critical difference "
        f"{test.critical_difference:.2f}"
    )
    return PlainTable(heading=heading, titles=("Method", "Mean rank", "Profile"), rows=cells)


def _scores_table(heading: str, rows: pl.DataFrame, names: list[str]) -> PlainTable:
    places, labels = {name: _places(rows.filter(score=name)) for name in names}, _labels(rows)
    cells = tuple(
        (
            labels[key] + ("*" if of_entry["at_chance"][0] else ""),
            *(_cell(_only(of_entry, name), places[name]) for name in names),
        )
        for key, of_entry in _by_entry(rows)
    )
    titles = ("Method", *(SCORE_KINDS[name].title for name in names))
    return PlainTable(heading=heading, titles=titles, rows=cells)


def _places(rows: pl.DataFrame) -> int:
    return decimals(rows["value"].drop_nulls(), 3)


def _cell(row: dict[str, Any] | None, places: int) -> str:
    if row is None or row["value"] is None:
        return "–"
    is_lr = row["unit"] == "lr"
    value, low, high = (
        "" if end is None else lr_text(end) if is_lr else number(end, places)
        for end in (row["value"], row["ci_low"], row["ci_high"])
    )
    marked = ("≥ " if row["note"].startswith("censored") else "") + value
    return f"{marked} [{low}, {high}]" if low else marked


def _rank(row: dict[str, Any] | None) -> str:
    return "–" if row is None or row["rank"] is None else str(row["rank"])


def _only(rows: pl.DataFrame, score: str) -> dict[str, Any] | None:
    found = rows.filter(score=score)
    return found.row(0, named=True) if found.height else None


def _by_entry(rows: pl.DataFrame) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    return list(rows.group_by(*ENTRY[1:], maintain_order=True))


def _by_workload(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return (
        [] if rows.is_empty() else [(str(key[0]), part) for key, part in rows.group_by("workload", maintain_order=True)]
    )


def _labels(rows: pl.DataFrame) -> dict[tuple[Any, ...], str]:
    """What to call every entry of the rows: optimizer and knobs only where there are several."""
    keys = rows.select(*ENTRY[1:]).unique(maintain_order=True)
    several = [name == "method" or keys[name].n_unique() > 1 for name in keys.columns]
    return {
        key: entry_label(*(part if use else "" for part, use in zip(key, several, strict=True)))
        for key in keys.iter_rows()
    }
