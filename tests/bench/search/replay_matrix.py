"""`Sensitivity` replayed on the recorded optimizer matrix. `python -m tests.bench.search.replay_matrix` prints it.

The study is suites/results/optimizer_matrix: 7 methods x 9 optimizers, each a dense curve of 13 learning rates x 5
seeds. In the order of their names, every other curve from the first on is of the development half, on which the
constants of bench.search.completion and the rule to stop were chosen; the others are held out. Repeats are orders of
the seeds, as in tests.bench.search.replay_table1; a third of a curve's trials is 21.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

import suites
from bench.search.base import Point
from tests.bench.search.replay_table1 import Known, Repeat, sensitivity_repeats, summary

PATH = Path(str(suites.__path__[0])) / "results" / "optimizer_matrix" / "curves.csv"
HALVES = ("development", "held out")


def recorded(half: str) -> dict[str, Known]:
    """The points of each curve of one of HALVES, by method and optimizer."""
    frame = pl.read_csv(PATH, schema_overrides={"final_loss": pl.Float64, "initial_loss": pl.Float64})
    found: dict[str, Known] = {}
    for row in frame.sort("method", "optimizer", "lr", "seed").iter_rows(named=True):
        point = Point(value=row["lr"], seed=row["seed"], final_loss=row["final_loss"], initial_loss=row["initial_loss"])
        found.setdefault(f"{row['method']} {row['optimizer']}", {})[point.value, point.seed] = point
    return {name: found[name] for name in sorted(found)[HALVES.index(half) :: 2]}


def total(repeats: list[Repeat]) -> str:
    """One line for all curves: how far the scores were off, what they cost, how many intervals hold the dense score."""
    errors = np.array([repeat.error for repeat in repeats])
    num_trials = np.array([repeat.answer.num_trials for repeat in repeats])
    holds = [r.answer.low <= r.answer.value - r.error <= r.answer.high for r in repeats]
    return (
        f"{len(repeats)} repeats: {(np.abs(errors) <= 0.05).mean():.3f} within 0.05, "
        f"root mean square {np.sqrt((errors**2).mean()):.3f}, worst {np.abs(errors).max():.3f}, "
        f"{num_trials.min()} to {num_trials.max()} trials, mean {num_trials.mean():.1f}; "
        f"{np.mean(holds):.3f} of the intervals hold the dense score"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    if not PATH.exists():
        raise SystemExit(f"nothing to replay: there is no {PATH}")
    for half in HALVES:
        for tolerance in (0.05, 0.01):
            repeats = sensitivity_repeats(recorded(half), arguments.repeats, tolerance=tolerance, budget=21)
            print(f"Sensitivity, {half}, tolerance {tolerance}, at most 21 of 65 trials, errors in units of loss\n")
            print(f"{summary(repeats, 0.05)}\n\n{total(repeats)}\n")


if __name__ == "__main__":
    main()
