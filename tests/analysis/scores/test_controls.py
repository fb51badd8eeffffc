"""A/A controls: on the board without a rank, compared with their method alone, and the floor said in words."""

import polars as pl
import pytest

from analysis.report.sections import report_sections
from analysis.scores.controls import floor_sentences
from analysis.scores.flags import flags_of
from analysis.scores.leaderboard import leaderboard
from analysis.tables.leaderboard import FORMATS, reading_note
from tests.analysis.synthetic_results import frame, row, subject

CONTROLS = {"softmax_control": "softmax"}
LRS = (0.01, 0.1, 1.0)
# By seed the loss at each rate; the control ends above softmax by 0.3, 0.6 and 0 at the last rate.
SOFTMAX = {0: (2.0, 1.0, 3.0), 1: (2.1, 1.1, 3.1), 2: (2.2, 1.0, 3.2)}
ABOVE = {0: 0.3, 1: 0.6, 2: 0.0}


def rows(method: str, above: dict[int, float], num_seeds: int = 3):
    return [
        row(method, lr, seed, loss + (above[seed] if lr == LRS[-1] else 0))
        for seed, losses in SOFTMAX.items()
        for lr, loss in zip(LRS, losses, strict=True)
        if seed < num_seeds
    ]


def with_control(num_seeds: int = 3):
    worse = [row("other", lr, seed, 3.5 if lr < 1 else 2.5) for lr in LRS for seed in range(num_seeds)]
    plain = rows("softmax", dict.fromkeys(range(3), 0.0), num_seeds)
    return frame(plain + rows("softmax_control", ABOVE, num_seeds) + worse)


def test_the_floor_is_the_difference_of_the_scores():
    """A rise of 0.3, 0.6 and 0 at one of three rates: 0.1, 0.2 and 0 of the sensitivity, 0.1 in the mean.

    The standard error over three seeds is 0.1 / sqrt(3), times Student's t of 4.3027 for two degrees of freedom.
    """
    board = leaderboard(with_control(), controls=CONTROLS)
    found = {entry["method"]: entry for entry in board.iter_rows(named=True)}
    control = found["softmax_control"]
    assert control["control_of"] == "softmax"
    assert control["floor"] == pytest.approx(0.1)
    assert control["floor_ci_high"] - 0.1 == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    assert found["softmax"]["control_of"] == ""
    assert found["softmax"]["floor"] is None


def test_a_control_has_no_rank_and_leaves_the_others_theirs():
    data = with_control()
    board = leaderboard(data, controls=CONTROLS)
    (control,) = board.filter(method="softmax_control").iter_rows(named=True)
    assert (control["rank"], control["rank_worst"]) == (None, None)
    assert "control" in flags_of(control["flags"])
    names = ["method", "rank", "rank_worst", "flags"]
    without = leaderboard(data.filter(pl.col("method") != "softmax_control"))
    assert board.filter(pl.col("method") != "softmax_control").select(names).equals(without.select(names))


def test_the_floor_is_said_under_the_board():
    board = leaderboard(with_control(), controls=CONTROLS)
    words = "A/A: softmax and softmax_control, which has the same function, differ by 0.1 [-0.15, 0.35]"
    assert words in reading_note(board)
    assert "smaller differences mean nothing" in reading_note(board)
    assert "softmax\\_control, which has the same function" in FORMATS["markdown"](board)
    assert "A/A" not in reading_note(leaderboard(with_control()))


def test_one_seed_has_a_floor_without_an_interval():
    (sentence,) = floor_sentences(leaderboard(with_control(num_seeds=1), controls=CONTROLS))
    assert "differ by 0.1 (one seed: no interval)" in sentence


def test_a_control_without_its_method_has_no_floor():
    board = leaderboard(frame(rows("softmax_control", ABOVE)), controls=CONTROLS)
    assert board["floor"].to_list() == [None]
    assert floor_sentences(board) == []


def test_no_section_compares_methods_with_a_control():
    """Else softmax and its control would ask for more seeds than there can be."""
    data = with_control()
    (guards, *_) = report_sections(subject(data, controls=CONTROLS))
    assert "softmax_control" not in guards.files["seeds_to_separate.csv"]
    (without, *_) = report_sections(subject(data))
    assert "softmax_control" in without.files["seeds_to_separate.csv"]


def test_a_control_is_no_method_of_the_matrix_of_optimizers():
    other = with_control().with_columns(pl.col("trial_id") + "-other", optimizer=pl.lit("other"))
    data = pl.concat([with_control(), other])
    sections = report_sections(subject(data, controls=CONTROLS))
    (matrix,) = (each.data["optimizer_matrix.csv"] for each in sections if "optimizer_matrix.csv" in each.data)
    assert set(matrix["method"]) == {"softmax", "other"}
