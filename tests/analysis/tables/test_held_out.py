"""The tables of held-out measures: which rows and columns, in which order, how they are written."""

import polars as pl
import pytest

from analysis.scores.leaderboard import leaderboard
from analysis.tables.forms.html import group_html
from analysis.tables.forms.latex import group_latex
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.table import Table
from analysis.tables.held_out import held_out_group
from tests.analysis.scores.test_generalisation import trial
from tests.analysis.synthetic_results import METHODS, frame, results, with_held_out

HOSTILE = "<script>a_b</script>|&%"


def tables(board: pl.DataFrame) -> tuple[Table, ...]:
    group = held_out_group(board)
    assert group is not None
    return group.tables


def test_only_workloads_with_held_out_data_have_a_table():
    data = [
        results(num_seeds=2),
        with_held_out(results(num_seeds=2)).with_columns(workload=pl.lit("language_modeling")),
    ]
    data[1] = data[1].with_columns(trial_id=pl.col("trial_id") + "b")
    (table,) = tables(leaderboard(pl.concat(data)))
    assert table.heading == "Generalisation on language_modeling"
    assert sorted(cells[0] for cells in table.texts) == sorted(METHODS)


def test_table_is_sorted_by_held_out_loss_and_rounds_to_the_interval():
    rows = [
        trial(method, lr, seed, 1.0, held_out + 0.01 * seed, 0.5)
        for method, held_out in (("worse", 2.0), ("better", 1.0))
        for lr in (0.1, 1.0)
        for seed in (0, 1, 2)
    ]
    (table,) = tables(leaderboard(frame(rows)))
    # Half width: 4.303 * 0.01 / sqrt(3) = 0.0248.
    assert [row[:3] for row in table.texts] == [
        ("better", "0.1", "1.010 [0.985, 1.035]"),
        ("worse", "0.1", "2.010 [1.985, 2.035]"),
    ]


def test_optimizers_and_knobs_are_columns_where_they_vary():
    rows = [trial("m", lr, 0, 1.0, 1.5, 0.5, optimizer=name) for lr in (0.1, 1.0) for name in ("sgd", "adamw")]
    (table,) = tables(leaderboard(frame(rows)))
    assert table.titles[:3] == ("Method", "Optimizer", "Best lr")
    assert {row[1] for row in table.texts} == {"sgd", "adamw"}


def test_without_held_out_data_there_is_nothing():
    assert held_out_group(leaderboard(results(num_seeds=2))) is None
    assert held_out_group(leaderboard(frame([]))) is None


@pytest.mark.parametrize("write", [group_markdown, group_html, group_latex])
def test_hostile_names_are_escaped(write):
    rows = [trial(HOSTILE, lr, seed, 1.0, 1.5 + seed, 0.5, workload=HOSTILE) for lr in (0.1, 1.0) for seed in (0, 1)]
    text = write(held_out_group(leaderboard(frame(rows))))
    assert "<script" not in text
    assert text


@pytest.mark.parametrize(("loss", "words"), [("train", "by its training loss"), ("validation", "by its held-out loss")])
def test_note_says_which_loss_chose_the_rate(loss, words):
    group = held_out_group(leaderboard(with_held_out(results(num_seeds=2)), loss=loss))
    assert group is not None
    assert words in group.note
