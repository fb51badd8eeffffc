"""Adaptive searches replayed on a recorded dense study. `python -m tests.bench.search.replay_table1` prints the tables.

The study is suites/results/paper_table1: 7 methods x 19 learning rates x 5 seeds, so that searches may ask for those
values alone. A search is deterministic, so it is repeated with the seeds in another order (and, for `Tune`, another
`sampler_seed`): the order decides which seeds its first rounds see. Dense figures are those of all 95 trials.

`simulated` makes new seeds from a recorded method: their edges are logistic with the location and scale that the
dense study has; below its edge a seed has the losses of a recorded seed, drawn anew for each value, at the nearest
recorded value at which one did not diverge, with 5% of noise; above, it diverges. The true edge is the location.

Legend: L learning rates, S seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import suites
from analysis.scores.robustness import clipped_curve, lr_sensitivity
from bench.search.base import Answer, Point, Search, Setting, loss_grid, replay
from bench.search.edge import Edge
from bench.search.sensitivity import Sensitivity
from bench.search.tune import Tune

Known = dict[Setting, Point]

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """One replayed search: its answer, and the error against the dense study."""

    method: str
    answer: Answer
    error: float


def recorded() -> dict[str, Known]:
    """The points of each method of the recorded study, methods by name."""
    path = Path(str(suites.__path__[0])) / "results" / "paper_table1" / "curves.csv"
    frame = pl.read_csv(path, schema_overrides={"final_loss": pl.Float64, "initial_loss": pl.Float64})
    frame = frame.filter(pl.col("method") != "softmax_control")  # the seven of the table
    found: dict[str, Known] = {}
    for row in frame.sort("method", "lr", "seed").iter_rows(named=True):
        point = Point(value=row["lr"], seed=row["seed"], final_loss=row["final_loss"], initial_loss=row["initial_loss"])
        found.setdefault(row["method"], {})[point.value, point.seed] = point
    return found


def values(known: Mapping[Setting, Point]) -> tuple[float, ...]:
    return tuple(sorted({value for value, _ in known}))


def dense_score(known: Known) -> float:
    grid = loss_grid(list(known.values()))
    assert grid is not None
    return float(lr_sensitivity(*grid.data))


def dense_curve(known: Known) -> dict[float, float]:
    grid = loss_grid(list(known.values()))
    assert grid is not None
    return dict(zip(grid.lrs.tolist(), clipped_curve(grid.losses, grid.initial_losses).tolist(), strict=True))


def orders(num: int) -> list[tuple[int, ...]]:
    """Orders of the five seeds, the first as they are."""
    shuffled = [tuple(np.random.default_rng(number).permutation(SEEDS).tolist()) for number in range(1, num)]
    return [SEEDS, *shuffled]


def finished(search: Search, known: Known) -> Answer:
    """The answer of a search on a study that knows all that it asks for."""
    _, points, missing = replay(search, known)
    assert missing == ()
    return search.answer(points)


def edge_repeats(num: int) -> list[Repeat]:
    """Errors in decades against the same estimator on all 95 trials."""
    found = []
    for method, known in recorded().items():
        for seeds in orders(num):
            search = Edge(grid=values(known), budget=38, seeds=seeds)
            answer, dense = finished(search, known), search.answer(list(known.values()))
            found.append(Repeat(method=method, answer=answer, error=math.log10(answer.value / dense.value)))
    return found


def sensitivity_repeats(studies: Mapping[str, Known], num: int, *, tolerance: float, budget: int) -> list[Repeat]:
    """Errors in units of loss against the score of all trials."""
    return [
        Repeat(method=method, answer=answer, error=answer.value - dense_score(known))
        for method, known in studies.items()
        for seeds in orders(num)
        for search in [Sensitivity(grid=values(known), budget=budget, seeds=seeds, tolerance=tolerance)]
        for answer in [finished(search, known)]
    ]


def tune_repeats(num: int) -> list[Repeat]:
    """Errors as a fraction of the least dense loss, of the dense loss at the value that was found."""
    found = []
    for method, known in recorded().items():
        curve = dense_curve(known)
        for number, seeds in enumerate(orders(num)):
            search = Tune(grid=values(known), budget=30, seeds=seeds, sampler_seed=number)
            _, points, _ = replay(search, known)
            answer = search.answer(points)
            error = curve[answer.best_value] / min(curve.values()) - 1
            found.append(Repeat(method=method, answer=answer, error=error))
    return found


def simulated(known: Known, search: Edge, rng: np.random.Generator) -> tuple[Answer, float]:
    """The answer of a search for the edge of new seeds of a method, and the true edge; see the module's docstring."""
    fitted = dataclasses.replace(search, seeds=SEEDS).posterior(list(known.values()))
    assert fitted is not None
    location, scale = fitted.location(0.5), fitted.scale
    edges = dict(zip(search.seeds, location + scale * rng.logistic(size=len(search.seeds)), strict=True))
    finite = {v: [p for p in known.values() if p.value == v and p.final_loss < math.inf] for v in values(known)}
    recorded_values = np.array([value for value, there in finite.items() if there])
    initial = {seed: known[values(known)[0], int(rng.choice(SEEDS))].initial_loss for seed in search.seeds}
    points: list[Point] = []
    while (ask := search.next(points)) is not None:
        for value, seed in ask.settings:
            nearest = float(recorded_values[np.abs(np.log(recorded_values / value)).argmin()])
            there = finite[nearest][int(rng.integers(len(finite[nearest])))]
            loss = initial[seed] * there.final_loss / there.initial_loss * math.exp(0.05 * rng.standard_normal())
            final_loss = math.inf if math.log10(value) > edges[seed] else loss
            points.append(Point(value=value, seed=seed, final_loss=final_loss, initial_loss=initial[seed]))
    return search.answer(points), float(10**location)


def coverage(num: int, grid: bool) -> dict[str, float]:
    """How often the interval of a simulated search holds the true edge, for each method."""
    found = {}
    for method, known in recorded().items():
        rng = np.random.default_rng(7)
        search = Edge(grid=values(known) if grid else (), budget=38)
        runs = [simulated(known, search, rng) for _ in range(num)]
        found[method] = sum(answer.low <= true <= answer.high for answer, true in runs) / num
    return found


def same_ranking(repeats: list[Repeat]) -> float:
    """Share of the repeats in which the methods come in the order of their dense scores."""
    known = recorded()
    by_dense = sorted(known, key=lambda method: dense_score(known[method]))
    scores = {method: [repeat.answer.value for repeat in repeats if repeat.method == method] for method in by_dense}
    rows = list(zip(*(scores[method] for method in by_dense), strict=True))
    return sum(list(row) == sorted(row) for row in rows) / len(rows)


def summary(repeats: list[Repeat], limit: float) -> str:
    """A Markdown table: for each method, how far the searches were off and what they cost."""
    lines = [
        f"| method | mean error | worst | share within {limit} | trials |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for method in dict.fromkeys(repeat.method for repeat in repeats):
        errors = np.array([repeat.error for repeat in repeats if repeat.method == method])
        num_trials = np.mean([repeat.answer.num_trials for repeat in repeats if repeat.method == method])
        worst, within = errors[np.abs(errors).argmax()], (np.abs(errors) <= limit).mean()
        lines.append(f"| {method} | {errors.mean():+.3f} | {worst:+.3f} | {within:.2f} | {num_trials:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--simulations", type=int, default=50)
    arguments = parser.parse_args()
    print(f"Edge, at most 38 of 95 trials, errors in decades\n\n{summary(edge_repeats(arguments.repeats), 0.15)}\n")
    for grid in (True, False):
        shares = coverage(arguments.simulations, grid)
        listed = ", ".join(f"{method} {share:.2f}" for method, share in shares.items())
        kind = "the recorded values" if grid else "any value"
        print(f"Intervals that hold the true edge, {kind}: {np.mean(list(shares.values())):.3f} ({listed})\n")
    for tolerance in (0.05, 0.01):
        repeats = sensitivity_repeats(recorded(), arguments.repeats, tolerance=tolerance, budget=31)
        print(f"Sensitivity, tolerance {tolerance}, at most 31 of 95 trials, errors in units of loss\n")
        print(f"{summary(repeats, 0.05)}\n\nranking equal to the dense one: {same_ranking(repeats):.2f}\n")
    print(
        f"Tune, 30 trials, errors relative to the best dense loss\n\n{summary(tune_repeats(arguments.repeats), 0.05)}"
    )


if __name__ == "__main__":
    main()
