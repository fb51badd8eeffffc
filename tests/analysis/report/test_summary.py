"""The leaderboard in words."""

import math

import polars as pl
import pytest

from analysis.report.fates import fates
from analysis.report.summary import summary_sentences
from analysis.scores.leaderboard import leaderboard
from tests.analysis.synthetic_results import METHODS, frame, results, row


@pytest.fixture(scope="module")
def board() -> pl.DataFrame:
    return leaderboard(results(num_seeds=3))


def with_rows(
    board: pl.DataFrame, ranks: list[int | None], flags: list[str], worst: list[int | None] | None = None
) -> pl.DataFrame:
    """The first rows of a board with these ends of their rank ranges, equal where `worst` is None, and flags.

    None of their trials blew up.
    """
    ends = {"rank": ranks, "rank_worst": ranks if worst is None else worst}
    columns = {name: pl.Series(values, dtype=pl.Int64) for name, values in ends.items()}
    return board.head(len(ranks)).with_columns(**columns, flags=pl.Series(flags), blown_up_share=0.0, stuck_share=0.0)


def test_who_is_tied_is_named(board):
    first, second, third = board["method"].to_list()[:3]
    value, low, high = (board[name][0] for name in ("lr_sensitivity", "ci_low", "ci_high"))
    told = summary_sentences(with_rows(board, [1, 1, 3], ["", "", ""], [2, 2, 3]))
    assert told == [
        f"{first} has the least LR sensitivity ({value:.2f}, 95% interval {low:.2f} to {high:.2f}); its seeds do not "
        f"tell it apart from {second}."
    ]
    assert third not in told[0]
    assert "most robust" not in told[0]


def test_all_tied(board):
    (told,) = summary_sentences(with_rows(board, [1, 1, 1], ["", "", ""], [3, 3, 3]))
    assert told.endswith("; its seeds do not tell it apart from any of the other 2.")


def test_alone_at_the_top(board):
    second, third = board["method"].to_list()[1:3]
    (told,) = summary_sentences(with_rows(board, [1, 2, 3], ["", "", ""]))
    assert told.endswith(
        f"; it is the most robust to the learning rate: its seeds tell it apart from {second} and {third}."
    )


def test_ties_that_no_rank_of_1_names_are_counted(board):
    # The second is behind some other entry, and yet not told apart from the first.
    (told,) = summary_sentences(with_rows(board, [1, 2, 1, 4], ["", "", "", ""], [3, 3, 3, 4]))
    assert told.endswith(f"apart from 2 of the other 3, {board['method'][2]} among them.")


def test_who_has_one_seed_or_others_is_named(board):
    second, third = board["method"].to_list()[1:3]
    (told,) = summary_sentences(with_rows(board, [1, 2, None], ["", "unpaired", "few_seeds"]))
    assert told.endswith(
        f": its seeds tell it apart from {second}. {third} has one seed: no rank, no difference can be tested. "
        f"Compared unpaired, by seeds that the others do not have: {second}."
    )


def test_an_entry_with_one_seed_is_not_the_best_beside_others(board):
    (told,) = summary_sentences(with_rows(board, [None, 1, 2], ["few_seeds", "", ""]))
    assert told.startswith(f"{board['method'][1]} has the least LR sensitivity")


def test_entries_that_learned_too_little_are_not_called_robust(board):
    first, second, third = board["method"].to_list()[:3]
    (told,) = summary_sentences(with_rows(board, [None, 1, 2], ["at_chance", "", "learned_little"]))
    assert told.startswith(f"{second} is the only entry that learned")
    assert told.endswith(f" Too little learned for a low value to say much: {first} and {third}.")


def test_nothing_learned(board):
    (told,) = summary_sentences(with_rows(board, [None, None], ["at_chance", "at_chance"]))
    assert told == "None of 2 entries learned enough to be called robust."


def test_one_seed_tests_nothing():
    data = frame([row(method, lr, 0, loss * lr) for method, loss in (("a", 1.0), ("b", 2.0)) for lr in (0.1, 1.0)])
    (told,) = summary_sentences(leaderboard(data))
    assert "95% interval" not in told
    assert told.endswith("; with one seed no difference can be tested.")


def test_trials_that_ended_above_their_loss_at_init_are_counted():
    losses = {
        "softmax": [[2.6, 2.63, 2.66], [1.9, 1.93, 1.96], [2.2, 2.23, 2.26], [5231, 48210, 2.9]],
        "relu_kernel": [[2.8, 2.83, 2.86], [2.1, 2.13, 2.16], [1.95, 1.98, 2.01], [2.05, 2.08, 2.11]],
    }
    lrs = (0.001, 0.003, 0.01, 0.03)
    rows = [
        row(method, lr, seed, loss)
        for method, of_method in losses.items()
        for lr, of_lr in zip(lrs, of_method, strict=True)
        for seed, loss in enumerate(of_lr)
    ]
    (told,) = summary_sentences(leaderboard(frame(rows)))
    assert told.endswith(" Ended above their loss at init: 2 of softmax's 12 trials (largest 48,210).")


def test_many_names_are_counted():
    data = frame(
        [row(f"m{place}", lr, seed, lr + seed / 10) for place in range(9) for lr in (0.1, 1.0) for seed in (0, 1)]
        + [row("z", lr, seed, math.inf if lr == 1.0 else 0.1) for lr in (0.1, 1.0) for seed in (0, 1)]
    )
    (told,) = summary_sentences(leaderboard(data))
    assert "m1, m2, m3, m4 and 4 more." in told


def test_optimizers_and_knobs_stand_in_parentheses(board):
    first, second = board["method"].to_list()[:2]
    two = with_rows(board, [1, 1], ["", ""], [2, 2]).with_columns(
        optimizer=pl.Series(["sgd", "adamw"]), knobs=pl.lit("clip=1.0")
    )
    (told,) = summary_sentences(two)
    assert told.startswith(f"{first} (sgd, clip=1.0) has the least LR sensitivity")
    assert told.endswith(f"apart from {second} (adamw, clip=1.0).")


def test_workloads_are_named_where_there_are_several(board):
    two = pl.concat([board, board.with_columns(workload=pl.lit("other"))])
    told = summary_sentences(two)
    assert [sentence.partition(":")[0] for sentence in told] == ["On in_context_regression", "On other"]
    assert len(METHODS) == board.height


def test_a_control_is_not_spoken_of(board):
    with_control = with_rows(board, [1, None, 2], ["", "control", ""])
    without = with_rows(board, [1, 2, 2], ["", "", ""])[[0, 2]]
    assert summary_sentences(with_control) == summary_sentences(without)


def test_one_learning_rate_is_a_reason_and_not_a_lack_of_learning():
    one = [row("one", 0.1, seed, 0.5) for seed in range(2)]
    several = [row("several", lr, seed, loss) for lr, loss in ((0.01, 3.0), (0.1, 1.0)) for seed in range(2)]
    (told,) = summary_sentences(leaderboard(frame(one)))
    assert told == "An LR sensitivity takes two learning rates; 1 entry had one."
    (told,) = summary_sentences(leaderboard(frame(one + several)))
    assert told.endswith(" At one learning rate alone, so without an LR sensitivity: one.")
    (told,) = fates(frame(one), leaderboard(frame(one)))
    assert told == "one: 0 of 2 trials diverged; at one learning rate alone there is no sensitivity to it."
