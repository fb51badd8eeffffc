"""How often an A/A control is told apart on bootstrapped boards: `python -m tests.analysis.box_controls box_small`.

A board has replicates of the design drawn anew with replacement; in each that was drawn, with probability a half the
method and its control change names, which makes their difference chance alone. Told apart: the 95% interval of their
difference leaves out 0, as that of every score that boards compare.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from analysis.scores.box.board import score_box
from analysis.scores.box.losses import BoxLosses, box_losses
from analysis.scores.box.numbers import BOX_SCORES

RESULTS = Path(__file__).parents[2] / "suites" / "results"
NUM_BOARDS = 200


def committed(suite: str) -> BoxLosses:
    """The losses of a committed box."""
    trials = pl.read_parquet(RESULTS / suite / "box_trials.parquet")
    places = trials.select("trial_id", "point", "workload", "method", "optimizer", "knobs")
    points = trials.select("point", "replicate").unique().sort("point")
    (losses,) = box_losses(trials.drop("point", "replicate"), places, points)
    return losses


def bootstrapped(losses: BoxLosses, pair: tuple[str, str], rng: np.random.Generator) -> BoxLosses:
    """A board of a method and its control alone."""
    places = [losses.methods.index(method) for method in pair]
    numbers = np.unique(losses.replicates_N)
    rows_N, replicates_N, swaps_N = [], [], []
    for number, drawn in enumerate(rng.choice(numbers, len(numbers))):
        own = np.flatnonzero(losses.replicates_N == drawn)
        rows_N.extend(own)
        replicates_N.extend([number] * len(own))
        swaps_N.extend([rng.random() < 0.5] * len(own))
    swap_N1 = np.array(swaps_N)[:, None]
    first_NS, second_NS = (losses.losses_MNS[place][rows_N] for place in places)
    loss_MNS = np.stack([np.where(swap_N1, second_NS, first_NS), np.where(swap_N1, first_NS, second_NS)])
    return dataclasses.replace(
        losses,
        methods=pair,
        points=tuple(range(len(rows_N))),
        losses_MNS=loss_MNS,
        initial_MS=losses.initial_MS[places],
        replicates_N=np.array(replicates_N),
        diverged_MNS=losses.diverged_MNS[places][:, rows_N],
        num_lost_M=losses.num_lost_M[places],
    )


def told_apart(
    losses: BoxLosses, pair: tuple[str, str], scores: Sequence[str], num_boards: int, seed: int = 0
) -> dict[str, float]:
    """The share of boards whose difference of a score has a p-value below 0.05, by score."""
    counts = dict.fromkeys(scores, 0)
    for number in range(num_boards):
        board = score_box(bootstrapped(losses, pair, np.random.default_rng([seed, number])), {pair[1]: pair[0]})
        for score in scores:
            counts[score] += board.difference(score, 1, 0).p_value < 0.05
    return {score: count / num_boards for score, count in counts.items()}


if __name__ == "__main__":
    (suite,) = sys.argv[1:]
    for score, share in told_apart(committed(suite), ("softmax", "softmax_control"), [*BOX_SCORES], NUM_BOARDS).items():
        print(f"{score}: told apart on {share:.1%} of {NUM_BOARDS} boards")
