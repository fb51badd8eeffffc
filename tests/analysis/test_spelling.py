"""Results whose learning rates were spelled in several ways have the scores of one spelling."""

import numpy as np
import polars as pl
import pytest

from analysis.scores.knob_maps import knob_maps
from analysis.scores.leaderboard import leaderboard
from analysis.scores.table import score_table
from analysis.spelling import with_one_spelling
from tests.analysis.scored_results import scored_entries
from tests.analysis.synthetic_results import frame, row, subject

LRS = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
LOSSES = {
    "softmax": [2.50, 1.90, 1.50, 1.30, 1.60, 2.70],
    "relu_kernel": [2.60, 2.10, 1.70, 1.50, 1.60, 1.90],
    "qk_norm": [2.55, 2.00, 1.60, 1.40, 1.50, 1.70],
}


def spelled(method: str, seed: int, lr: float) -> float:
    """As text has it, as a product, and for one seed of two as float32."""
    if method == "relu_kernel":
        return lr * (1 + 2e-16)
    return float(np.float32(lr)) if method == "qk_norm" and seed else lr


def results(*, is_spelled: bool) -> pl.DataFrame:
    return frame(
        [
            row(method, spelled(method, seed, lr) if is_spelled else lr, seed, loss + 0.04 * seed, initial_loss=3.0)
            for method, losses in LOSSES.items()
            for lr, loss in zip(LRS, losses, strict=True)
            for seed in (0, 1)
        ]
    )


def test_a_board_does_not_depend_on_the_spelling():
    board = leaderboard(results(is_spelled=True))
    assert board["method"].to_list() == ["qk_norm", "relu_kernel", "softmax"]
    assert board["lr_sensitivity"].to_list() == pytest.approx([0.3917, 0.4000, 0.6167], abs=5e-5)
    assert board["best_loss"].to_list() == pytest.approx([1.42, 1.52, 1.32])
    assert not {"other_grid", "incomplete"} & set(",".join(board["flags"]).split(","))
    assert board.equals(leaderboard(results(is_spelled=False)))


def test_neither_do_maps_scores_and_what_figures_are_drawn_from():
    data, plain = results(is_spelled=True), results(is_spelled=False)
    for one, two in zip(knob_maps(data, "lr").values(), knob_maps(plain, "lr").values(), strict=True):
        assert one.x_values.tolist() == two.x_values.tolist() == LRS
        assert one.losses.tolist() == two.losses.tolist()
    tables = [score_table(scored_entries(frame_, None, 1, "train"), "train") for frame_ in (data, plain)]
    assert tables[0].equals(tables[1])
    assert subject(data).results["lr"].unique().sort().to_list() == LRS


def test_frames_are_brought_into_the_spelling_of_both():
    one, two = (pl.DataFrame({"lr": [value, 1.0]}) for value in (0.0003, 0.00030000000000000003))
    found = with_one_spelling(one, two)
    assert found[0] is one
    assert found[1]["lr"].to_list() == [0.0003, 1.0]
