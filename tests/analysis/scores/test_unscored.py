"""Entries that no score can be computed of stand on the board, last, and change nothing for the others."""

import math

import polars as pl
import pytest

from analysis.across.comparison import compare, rank_correlations, unranked
from analysis.across.optimizer_matrix import optimizer_matrix
from analysis.across.optimizer_matrix import rank_correlations as optimizer_correlations
from analysis.figures.knobs import optimizer_matrix_chart
from analysis.report.fates import fates
from analysis.report.folder import write_report
from analysis.report.summary import summary_sentences
from analysis.scores.knobs import knob_sensitivity
from analysis.scores.leaderboard import leaderboard
from analysis.tables.leaderboard import FORMATS
from tests.analysis.synthetic_results import frame, row, subject, traces

LRS = {0.01: 3.0, 0.1: 1.0, 1.0: 2.5}


def learning(method, **more):
    return [row(method, lr, seed, loss + 0.1 * seed, **more) for lr, loss in LRS.items() for seed in range(3)]


def diverging(method, initial_loss=math.nan, step=0, **more):
    return [
        row(method, lr, seed, math.inf, initial_loss=initial_loss, diverged_step=step, **more)
        for lr in LRS
        for seed in range(3)
    ]


def crashing(method, **more):
    return [row(method, lr, seed, None, **more) for lr in LRS for seed in range(3)]


GOOD = [*learning("softmax"), *learning("relu_kernel")]
BAD = [*diverging("mine:Nan"), *crashing("mine:Crash")]


def test_entries_that_came_to_nothing_stand_last_without_rank_and_score_and_the_others_keep_theirs():
    board, without = leaderboard(frame([*BAD, *GOOD])), leaderboard(frame(GOOD))
    assert board.head(2).equals(without)
    columns = ("method", "rank", "lr_sensitivity", "diverged_share", "num_seeds", "num_trials", "flags")
    shown = board.tail(2).select(columns)
    assert shown.rows() == [
        ("mine:Crash", None, None, None, 0, 0, "no_result"),
        ("mine:Nan", None, None, 1.0, 3, 9, "no_init_loss"),
    ]


def test_one_trial_without_a_finite_loss_at_init_takes_the_score_of_its_entry_alone():
    bad = [*learning("m")[:-1], row("m", 1.0, 2, math.inf, initial_loss=math.inf, diverged_step=0)]
    board = leaderboard(frame([*GOOD, *bad]))
    assert board.head(2).equals(leaderboard(frame(GOOD)))
    assert board.row(2, named=True)["diverged_share"] == pytest.approx(1 / 9)


def test_when_and_why_in_words():
    data = frame([*GOOD, *BAD, *diverging("mine:Late", initial_loss=4.0, step=7)])
    assert fates(data, leaderboard(data)) == [
        "mine:Late: 9 of 9 trials diverged at step 7.",
        "mine:Crash: 9 of 9 trials crashed, so there is no score.",
        "mine:Nan: 9 of 9 trials diverged at step 0; the loss is not finite before any update, so there is no score.",
    ]
    assert fates(frame(GOOD), leaderboard(frame(GOOD))) == []


def test_a_loss_at_init_that_nobody_told_is_not_called_infinite():
    data = frame([row("m", lr, 0, loss, initial_loss=None) for lr, loss in LRS.items()])
    (sentence,) = fates(data, leaderboard(data))
    assert sentence == "m: 0 of 3 trials diverged; the loss is not known before any update, so there is no score."


def test_the_summary_names_them():
    (sentence,) = summary_sentences(leaderboard(frame([*GOOD, *BAD])))
    assert sentence.endswith("Without a score: mine:Crash and mine:Nan.")
    (sentence,) = summary_sentences(leaderboard(frame(BAD)))
    assert sentence == "None of 2 entries learned enough to be called robust. Without a score: mine:Crash and mine:Nan."


@pytest.mark.parametrize("rows", [[*GOOD, *BAD], BAD, diverging("m"), crashing("m")])
@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_the_board_has_them(rows, form):
    assert FORMATS[form](leaderboard(frame(rows)))


@pytest.mark.parametrize(
    "rows",
    [
        [*GOOD, *BAD],
        pytest.param(BAD, marks=pytest.mark.repetition),
        pytest.param(crashing("m"), marks=pytest.mark.repetition),
    ],
)
def test_a_report_is_written_and_says_why(rows, tmp_path):
    data = frame(rows)
    shown = subject(data, traces(frame(GOOD)))
    write_report(shown, tmp_path, formats=())
    for name in ("index.html", "report.md", "leaderboard.md"):
        assert "so there is no score" in (tmp_path / name).read_text(encoding="utf-8")


def test_values_of_a_knob_without_a_loss_at_init_are_left_out_of_its_score_with_a_flag():
    scored = [one for value in (0.5, 1.0) for one in learning("softmax", init_scale=value)]
    more = [*scored, *diverging("softmax", init_scale=1e28)]
    whole, cut = (knob_sensitivity(frame(rows), "init_scale") for rows in (scored, more))
    assert cut.drop("flags").equals(whole.drop("flags"))
    assert "no_init_loss" in cut["flags"][0]
    assert "no_init_loss" not in whole["flags"][0]


def test_they_are_left_out_of_comparisons_with_published_numbers_and_among_optimizers():
    of_each = [(*learning("softmax", optimizer=name), *diverging("m", optimizer=name)) for name in ("sgd", "adamw")]
    rows = [one for of_optimizer in of_each for one in of_optimizer]
    board = leaderboard(frame(rows))
    matrix = optimizer_matrix(board)
    assert matrix.filter(method="m")["method_rank"].to_list() == [None, None]
    assert optimizer_correlations(board)["num_methods"].to_list() == [1]
    assert "no score" in optimizer_matrix_chart(matrix, title="t").to_json()
    published = pl.DataFrame(
        [("in_context_regression", method, score, "s", "") for method, score in (("softmax", 1.0), ("m", 2.0))],
        schema=["workload", "method", "lr_sensitivity", "source", "note"],
        orient="row",
    )
    compared = compare(board, published)
    assert compared.filter(method="m")["our_rank"].to_list() == [None, None]
    assert set(rank_correlations(compared)["num_methods"]) == {1}
    assert unranked(compared).startswith("without a score, so without a rank")
