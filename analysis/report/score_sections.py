"""The section 'Other scores' of a report: what the leaderboard does not show, and whether scores agree on the order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import polars as pl

from analysis.across.disagreement import score_correlations
from analysis.across.learned import ranking_table
from analysis.report.section import Section
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.scores.parts import ScoredEntry
from analysis.scores.table import SCORE_DIFFERENCE_COLUMNS, score_differences, score_table
from analysis.tables.forms.table import Group
from analysis.tables.scores import aggregate_tables, correlation_tables, rank_tables, scores_tables

_SCORES_NOTE = (
    "Brackets: 95% interval over seeds. –: not defined (scores.csv says why). ≥: censored, stable up to the top of the "
    "grid; ≤ and ≥ in brackets: there the grid ends, and not the interval. *: at chance, it hardly learned, so its "
    "numbers say little."
)
_UNTRACED_NOTE = " The command bench scores adds what traces tell."
_TRACED_NOTE = " Scores from traces are of the training loss."
_RANKS_NOTE = (
    "1 + the number of entries with a better value; what is at chance or learned little, by its flags, is left out. "
    "Ranks are of point values: "
)
_DIFFERENCES_NOTE = "score_differences.csv says which of them the seeds tell apart."
MOST_PAIRS = 5_000  # of entries of a workload, in a report; of 500 entries the file would have 200 MB
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


def other_scores(entries: Sequence[ScoredEntry], loss: str) -> Section:
    """The section, its tables, and scores.csv, score_differences.csv and score_correlations.csv."""
    table = score_table(entries, loss)
    ranking = ranking_table(table, entries)
    correlations = score_correlations(ranking).filter(pl.col("spearman").is_not_null())
    tested = table.filter(pl.col("higher_is_better").is_not_null() & pl.col("value").is_not_null())
    names = tested["score"].unique(maintain_order=True)
    num_pairs = max((math.comb(number, 2) for number in Counter(entry.key[0] for entry in entries).values()), default=0)
    are_paired = num_pairs <= MOST_PAIRS
    differences = (score_differences(entries, name) for name in names) if are_paired else ()
    none_note = f"of {num_pairs:,} pairs of entries `bench scores --differences SCORE` tests those of one score."
    frames = {
        "scores.csv": table,
        "score_differences.csv": pl.concat([pl.DataFrame(schema=SCORE_DIFFERENCE_COLUMNS), *differences]),
        "score_correlations.csv": correlations,
    }
    more = _TRACED_NOTE if any(entry.is_traced for entry in entries) else _UNTRACED_NOTE
    groups = (
        Group(tables=tuple(scores_tables(table)), note=_SCORES_NOTE + more),
        Group(tables=tuple(rank_tables(ranking)), note=_RANKS_NOTE + (_DIFFERENCES_NOTE if are_paired else none_note)),
        Group(tables=tuple(correlation_tables(correlations)), note=_CORRELATION_NOTE),
        Group(tables=tuple(aggregate_tables(ranking)), note=_AGGREGATE_NOTE),
    )
    present = table.filter(pl.col("value").is_not_null())["score"].unique(maintain_order=True)
    definitions = {name: SCORE_KINDS[name].definition for name in present if name not in BOARD_SCORES}
    return Section(title="Other scores", groups=groups, data=frames, definitions=definitions)
