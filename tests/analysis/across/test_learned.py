"""One rule of who did not learn, for comparisons and reports alike."""

import math

import polars as pl
import pytest

from analysis.across.conditions import conditions
from analysis.across.learned import ranking_costs, ranking_table, why_not_learned
from analysis.across.ranking import across_board
from analysis.scores.leaderboard import leaderboard
from analysis.scores.table import measured_entries, score_table
from analysis.tables.scores import aggregate_tables
from tests.analysis.across.side_frames import AT_CHANCE, LITTLE, side

MIXED = {"a": 0.2, "b": AT_CHANCE, "c": LITTLE, "d": 0.5}


def test_reasons_are_the_flags_of_the_leaderboard():
    data = pl.concat([side(MIXED), side({"a": 0.2, "b": 0.3, "c": 0.4, "d": LITTLE}, workload="v", floor=0.9)])
    found = why_not_learned(measured_entries(data, None, "train"))
    flags = {(row["workload"], row["method"]): row["flags"].split(",") for row in leaderboard(data).to_dicts()}
    assert {key[:2] for key, reason in found.items() if reason} == {
        ("in_context_regression", "b"), ("in_context_regression", "c"), ("v", "d"),
    }  # fmt: skip
    assert all(not reason or reason in flags[key[0], key[1]] for key, reason in found.items())


def test_what_did_not_learn_costs_most_and_the_score_table_is_otherwise_as_it_was():
    entries = measured_entries(side(MIXED), None, "train")
    table = score_table(entries, "train")
    ranking = ranking_table(table, entries)
    assert ranking.drop("at_chance").equals(table.drop("at_chance"))
    assert dict(table.select("method", "at_chance").iter_rows()) == {"a": False, "b": True, "c": False, "d": False}
    assert dict(ranking.select("method", "at_chance").iter_rows()) == {"a": False, "b": True, "c": True, "d": False}
    found = dict(ranking_costs(ranking).filter(score="lr_sensitivity").select("method", "cost").iter_rows())
    assert found == pytest.approx({"a": 0.2, "b": math.inf, "c": math.inf, "d": 0.5})


def test_a_report_and_a_comparison_of_the_same_runs_rank_alike():
    data = pl.concat([side(MIXED, workload="u"), side({"a": 0.2, "b": 0.3, "c": 0.1, "d": LITTLE}, workload="v",
                                                      floor=0.9)])  # fmt: skip
    entries = measured_entries(data, None, "train")
    tables = aggregate_tables(ranking_table(score_table(entries, "train"), entries))
    (of_report,) = [table for table in tables if table.heading.startswith("LR sensitivity over")]
    compared = across_board(conditions({"one": data}, "train"), "lr_sensitivity")
    expected = {row["method"]: f"{row['mean_rank']:.2f}" for row in compared.methods.to_dicts()}
    assert (
        {row[0]: row[1] for row in of_report.texts} == expected == {"a": "1.50", "b": "3.25", "c": "2.25", "d": "3.00"}
    )
