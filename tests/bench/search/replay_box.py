"""Optuna's samplers replayed on a recorded box: `python -m tests.bench.search.replay_box SUITE TRIALS` prints a table.

TRIALS is box_trials.csv of a report of the suite. A sampler asks anywhere in the box and is told the loss of the
nearest recorded setting that it has not been told of, by distance in the unit cube, a list apart where it differs: as
good as training it, for a design so dense. Regret is the share that the best setting so far loses of what the best of
the design learns. Every sampler is repeated with the same seeds, so that differences from random draws are of pairs.

Legend: N points, K knobs, B budgets, R repeats.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
import polars as pl

from analysis.scores.intervals import mean_interval
from bench.results.box import box_knobs, units_frame
from bench.search.quiet import quiet_optuna
from bench.suite import find_suite, load_suite

BUDGETS = (8, 16, 32, 64, 128)
NUM_REPEATS = 20
STARTUP = 10  # random draws before a sampler decides, as Optuna's defaults have

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(scramble=True, seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(multivariate=True, n_startup_trials=STARTUP, seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(n_startup_trials=STARTUP, seed=seed),
}


def replayed(
    name: str, seed: int, units_NK: np.ndarray, counts: Sequence[int], regret_N: np.ndarray, budget: int
) -> np.ndarray:
    """The least regret after each of so many settings that one of SAMPLERS asks for, (budget,).

    counts: the number of values of each knob that is a list, else 0.
    """
    names = [f"knob_{place}" for place in range(len(counts))]
    space: dict[str, optuna.distributions.BaseDistribution] = {
        knob: optuna.distributions.CategoricalDistribution(range(count))
        if count
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for knob, count in zip(names, counts, strict=True)
    }
    kinds_K = np.array(counts)
    places_NK = np.where(kinds_K > 0, np.floor(units_NK * np.maximum(kinds_K, 1)), units_NK)
    is_free_N, found = np.ones(len(regret_N), dtype=bool), []
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=SAMPLERS[name](seed))
        for _ in range(budget):
            trial = study.ask(space)
            asked_K = np.array([trial.params[knob] for knob in names], dtype=float)
            gaps_NK = np.where(kinds_K > 0, places_NK != asked_K, np.abs(places_NK - asked_K))
            distance_N = np.where(is_free_N, (gaps_NK**2).sum(1), np.inf)
            nearest = int(distance_N.argmin())
            is_free_N[nearest] = False
            study.tell(trial, float(regret_N[nearest]))
            found.append(float(regret_N[nearest]))
    return np.minimum.accumulate(found)


def comparison(
    names: Sequence[str],
    units_NK: np.ndarray,
    counts: Sequence[int],
    regret_N: np.ndarray,
    budgets: Sequence[int],
    num_repeats: int,
) -> pl.DataFrame:
    """One row a sampler and budget: mean regret over repeats, and that minus random's of the same repeat, with ends."""
    places = np.array(budgets) - 1
    of_RB = {
        name: np.stack(
            [replayed(name, seed, units_NK, counts, regret_N, max(budgets))[places] for seed in range(num_repeats)]
        )
        for name in dict.fromkeys(("random", *names))
    }
    rows = []
    for name, regrets_RB in of_RB.items():
        for place, budget in enumerate(budgets):
            beyond = mean_interval(regrets_RB[:, place] - of_RB["random"][:, place])
            mean = float(regrets_RB[:, place].mean())
            rows.append({"sampler": name, "budget": budget, "regret": mean, **beyond.columns("beyond_random", "ci")})
    return pl.DataFrame(rows)


def main(suite_name: str, path: Path) -> None:
    """Print the comparison for every method of a recorded box."""
    suite = load_suite(find_suite(suite_name))
    knobs = box_knobs(suite)
    units = units_frame(suite)
    trials = pl.read_csv(path).with_columns(pl.col("final_loss", "initial_loss").cast(pl.Float64, strict=False))
    failed = pl.col("outcome") == "diverged"
    loss = pl.when(failed).then("initial_loss").otherwise(pl.min_horizontal("final_loss", "initial_loss"))
    settings = trials.group_by("method", "point").agg(loss.mean().alias("loss"), pl.col("initial_loss").mean())
    for (method,), rows in settings.sort("method", "point").group_by("method", maintain_order=True):
        joined = rows.join(units, on="point", maintain_order="left")
        losses, initial = joined["loss"].to_numpy(), float(np.median(joined["initial_loss"].to_numpy()))
        regret = np.clip((losses - losses.min()) / (initial - losses.min()), 0, 1)
        units_NK = joined.select([knob.name for knob in knobs]).to_numpy()
        budgets = [budget for budget in BUDGETS if budget <= len(regret) / 4]
        counts = [len(knob.choices) for knob in knobs]
        found = comparison([*SAMPLERS], units_NK, counts, regret, budgets, NUM_REPEATS)
        print(found.insert_column(0, pl.lit(method).alias("method")).write_csv(include_header=False), end="")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
