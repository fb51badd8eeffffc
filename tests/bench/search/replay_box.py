"""Searches over a box replayed on a recorded one: `python -m tests.bench.search.replay_box SUITE METHOD` prints rows.

The search asks anywhere in the box and is told the loss of the nearest recorded setting that it has not been told of,
by distance in the unit cube, a list apart where it differs: as good as training it, for a design so dense. Regret is
the share that the best setting so far loses of what the best of the design learns. Repeats have the same first round
under every sampler, so that differences from random draws are of pairs.

Legend: N points, K knobs, S seeds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from bench.search.base import Point
from bench.search.samplers import SAMPLERS, SamplerName, Space, num_objectives
from bench.search.tune_box import TuneBox
from bench.suite import find_suite, load_suite
from bench.suite.box import Box

RESULTS = Path(__file__).parents[3] / "suites" / "results"
BUDGETS = (16, 32, 48, 64)  # settings
NUM_REPEATS = 20
REPLAYED = [name for name in SAMPLERS if num_objectives(name) == 1]  # a setting's loss here is its mean over seeds
NEAR = 0.05  # of the least loss: the number of settings until the loss is within it is counted

COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("method", "sampler"), pl.String),
    "repeat": pl.Int64,
    **{f"regret_{budget}": pl.Float64 for budget in BUDGETS},
    "num_to_target": pl.Int64,  # settings until the loss was within NEAR of the design's least; null: never
}


def asked_places(search: TuneBox, units_NK: np.ndarray, losses_NS: np.ndarray, initial_S: np.ndarray) -> np.ndarray:
    """Which recorded point answers each setting that a search asks for, in order, each point once.

    losses_NS, initial_S: of every point and at init, a column a seed of the search.
    """
    space = search.space
    counts_K = np.array(space.counts)
    acts_NK = np.array([[value is not None for value in space.values_at(tuple(unit)).values()] for unit in units_NK])
    placed_NK = np.where(counts_K > 0, (np.floor(units_NK * counts_K) + 0.5) / np.maximum(counts_K, 1), units_NK)
    placed_NK = np.where(acts_NK, placed_NK, 0.0)  # as the search places knobs that do not act
    is_free_N, points, places = np.ones(len(losses_NS), dtype=bool), list[Point[tuple[float, ...]]](), list[int]()
    while (ask := search.next(points)) is not None:
        for unit in dict.fromkeys(unit for unit, _ in ask.settings):
            gaps_NK = np.where(counts_K > 0, placed_NK != np.array(unit), np.abs(placed_NK - np.array(unit)))
            nearest = int(np.where(is_free_N, (gaps_NK**2).sum(1), np.inf).argmin())
            is_free_N[nearest] = False
            places.append(nearest)
            for seed, final, initial in zip(search.seeds, losses_NS[nearest], initial_S, strict=True):
                points.append(Point(value=unit, seed=seed, final_loss=float(final), initial_loss=float(initial)))
    return np.array(places)


def replayed(
    sampler: SamplerName, seed: int, space: Space, units_NK: np.ndarray, regret_N: np.ndarray, budget: int
) -> np.ndarray:
    """The least regret after each of so many settings that a search asks for, (budget,); of one of REPLAYED."""
    assert sampler in REPLAYED, f"{sampler} is told the worst seed's loss, too, which a replay of means lacks"
    search = TuneBox(sampler=sampler, sampler_seed=seed, budget=budget, seeds=(0,), space=space)
    return np.minimum.accumulate(regret_N[asked_places(search, units_NK, regret_N[:, None], np.ones(1))])


def repeats(
    method: str,
    space: Space,
    units_NK: np.ndarray,
    regret_N: np.ndarray,
    near: float,
    samplers: Sequence[SamplerName],
    seeds: Sequence[int],
) -> pl.DataFrame:
    """COLUMNS, a row a sampler and seed. near: the regret of a loss within NEAR of the least."""
    rows = []
    for sampler in samplers:
        for seed in seeds:
            found = replayed(sampler, seed, space, units_NK, regret_N, max(BUDGETS))
            reached = np.flatnonzero(found <= near)
            regrets = {f"regret_{budget}": float(found[budget - 1]) for budget in BUDGETS}
            first = int(reached[0]) + 1 if len(reached) else None
            rows.append({"method": method, "sampler": sampler, "repeat": seed, **regrets, "num_to_target": first})
    return pl.DataFrame(rows, schema=COLUMNS)


def recorded_losses(suite_name: str, method: str) -> tuple[Box, np.ndarray, np.ndarray, np.ndarray]:
    """The box of a suite; points, (N, K), a method's committed losses, (N, S), at most those at init, (S,)."""
    suite = load_suite(find_suite(suite_name))
    assert suite.box is not None
    trials = pl.read_parquet(RESULTS / suite_name / "box_trials.parquet").filter(method=method)
    failed = (pl.col("outcome") == "diverged") | pl.col("final_loss").is_nan()
    initial = pl.col("initial_loss").median().over("seed")
    loss = pl.when(failed).then(initial).otherwise(pl.min_horizontal("final_loss", initial))
    trials = trials.with_columns(loss=loss, initial=initial)
    of_seeds = trials.pivot("seed", index="point", values="loss").sort("point")
    seeds = [name for name in of_seeds.columns if name != "point"]
    starts = dict(trials.select(pl.col("seed").cast(pl.String), "initial").unique().iter_rows())
    units_NK = np.array([point.unit for point in suite.box_points])[of_seeds["point"].to_numpy()]
    return suite.box, units_NK, of_seeds.select(seeds).to_numpy(), np.array([starts[seed] for seed in seeds])


def recorded(suite_name: str, method: str) -> tuple[Space, np.ndarray, np.ndarray, float]:
    """The box of a suite; points, regrets and the regret of a loss near the least, of a method's committed trials."""
    box, units_NK, losses_NS, initial_S = recorded_losses(suite_name, method)
    least = losses_NS.mean(1).min()
    return box, units_NK, regrets(losses_NS, initial_S), NEAR * float(least / (initial_S.mean() - least))


def regrets(losses_NS: np.ndarray, initial_S: np.ndarray) -> np.ndarray:
    """The share that each point's mean loss over seeds loses of what the best learns, (N, S), (S,) -> (N,), 0 to 1."""
    losses_N = losses_NS.mean(1)
    return np.clip((losses_N - losses_N.min()) / (initial_S.mean() - losses_N.min()), 0, 1)


def replays(suite_name: str) -> pl.DataFrame:
    """The committed replay of a box, COLUMNS."""
    return pl.read_csv(RESULTS / suite_name / "replay.csv", schema_overrides=COLUMNS)


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """A row a sampler and budget: mean regret over methods and repeats, and that minus random's of the same pairs.

    The interval is of the means of methods, which differ more than repeats do.
    """
    from analysis.scores.seeds.intervals import mean_interval

    found = []
    for (sampler,), own in rows.group_by("sampler", maintain_order=True):
        pairs = own.join(rows.filter(sampler="random"), on=("method", "repeat"), suffix="_random")
        for budget in BUDGETS:
            name = f"regret_{budget}"
            by_method = pairs.group_by("method", maintain_order=True)
            beyond = by_method.agg((pl.col(name) - pl.col(f"{name}_random")).mean())[name].to_numpy()
            interval = mean_interval(beyond).columns("beyond_random", "ci")
            found.append({"sampler": sampler, "budget": budget, "regret": own[name].mean(), **interval})
    return pl.DataFrame(found)


def to_target(rows: pl.DataFrame) -> pl.DataFrame:
    """A row a method and a column a sampler: the median number of settings until near the least; inf: most never."""
    counted = pl.col("num_to_target").cast(pl.Float64).fill_null(math.inf).median()
    medians = rows.group_by("method", "sampler", maintain_order=True).agg(counted)
    return medians.pivot("sampler", index="method", values="num_to_target")


if __name__ == "__main__":
    suite_name, method, *samplers = sys.argv[1:]
    table = repeats(method, *recorded(suite_name, method), samplers or REPLAYED, range(NUM_REPEATS))
    print(table.write_csv(), end="")
