"""What people read of a board on MLflow: few digits beside metrics that keep them all."""

import polars as pl

from bench.results.publish import board_texts


def test_scores_have_the_digits_of_their_interval_and_losses_three_with_their_rate():
    board = pl.DataFrame(
        {
            "lr_sensitivity": [1.3456789, 0.0163411789, 2.0],
            "ci_low": [0.9412345, 0.01572829, None],
            "ci_high": [1.7723456, 0.01695405, None],
            "best_loss": [0.2412345678, 0.0069561889, None],
            "best_lr": [0.01, 0.0031622776, None],
        }
    )
    assert board_texts(board) == {
        "LR sensitivity": ["1.35 [0.94, 1.77]", "0.01634 [0.01573, 0.01695]", "2.00"],
        "Best loss": ["0.241 at 0.01", "0.00696 at 0.00316", "–"],
    }


def test_boards_of_searches_have_no_such_texts():
    assert board_texts(pl.DataFrame({"method": ["softmax"], "stable_lr": [0.1]})) == {}
