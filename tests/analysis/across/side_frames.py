"""Results whose learning-rate sensitivities are given: two learning rates, the second that much worse on average."""

from collections.abc import Mapping

import polars as pl

from tests.analysis.synthetic_results import frame, row

INITIAL = 4.0
AT_CHANCE, LITTLE = "at chance", "little"


def side(
    sensitivities: Mapping[str, float | str],
    *,
    floor: float = 1.0,
    num_seeds: int = 2,
    noise: float = 0.0,
    **columns: object,
) -> pl.DataFrame:
    """RESULT_COLUMNS of one workload, the sensitivity by method, 1.5 at most; `columns` are the same on every row.

    Losses are `floor` at lr 0.1 and floor + 2 x sensitivity at lr 1, of even seeds `noise` more and of odd ones less.
    A method AT_CHANCE ends near the loss at init everywhere, one that learned LITTLE three quarters of the way up.
    """
    rows = []
    for method, value in sensitivities.items():
        for seed in range(num_seeds):
            sign = 1 if seed % 2 == 0 else -1
            rises = {AT_CHANCE: (3.9, 3.95), LITTLE: (3.0, 3.1)}
            low, high = rises[value] if isinstance(value, str) else (floor, floor + 2 * value + sign * noise)
            rows += [
                row(method, lr, seed, loss, initial_loss=INITIAL, **columns) for lr, loss in ((0.1, low), (1.0, high))
            ]
    return frame(rows)
