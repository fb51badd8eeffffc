"""Fronts of loss against robustness, replayed: `python -m tests.bench.search.replay_front SUITE METHOD` prints rows.

As bench.search.tune_box's nsga2 has them: the mean loss over seeds against the loss of the worst seed. The search is
told both of the nearest recorded setting that is left (replay_box); what counts is the hypervolume that the settings so
far dominate, up to the losses at init, and which share it lacks of that of all recorded settings. Repeats have the same
first round under every sampler, so that differences between samplers are of pairs.

Legend: N points, S seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.scores.seeds.intervals import mean_interval
from bench.search.samplers import SamplerName, Space
from bench.search.tune_box import TuneBox
from tests.bench.search.replay_box import RESULTS, asked_places, recorded_losses, regrets

SUITES = ("box_small", "box_optimizers")
BUDGETS = (16, 32, 64, 128)  # settings
NUM_REPEATS = 20
COMPARED: tuple[SamplerName, ...] = ("random", "tpe", "nsga2")

COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("method", "sampler"), pl.String),
    "repeat": pl.Int64,
    **{f"missing_{budget}": pl.Float64 for budget in BUDGETS},  # share of the hypervolume
    **{f"regret_{budget}": pl.Float64 for budget in BUDGETS},  # of the least mean, as replay_box has it
}


def hypervolume(first_N: np.ndarray, second_N: np.ndarray, first_end: float, second_end: float) -> float:
    """The area that points dominate of two losses, up to an end of each. Points beyond an end dominate nothing."""
    area, least = 0.0, second_end
    for first, second in sorted(zip(first_N.tolist(), second_N.tolist(), strict=True)):
        if first < first_end and second < least:
            area += (first_end - first) * (least - second)
            least = second
    return area


def missing(losses_NS: np.ndarray, initial_S: np.ndarray, places: np.ndarray) -> float:
    """The share that these points lack of the hypervolume of all, of the mean over seeds and the worst seed's loss."""
    both = losses_NS.mean(1), losses_NS.max(1)
    ends = float(initial_S.mean()), float(initial_S.max())
    return 1 - hypervolume(both[0][places], both[1][places], *ends) / hypervolume(*both, *ends)


def repeats(
    method: str,
    space: Space,
    units_NK: np.ndarray,
    losses_NS: np.ndarray,
    initial_S: np.ndarray,
    samplers: Sequence[SamplerName],
    numbers: Sequence[int],
) -> pl.DataFrame:
    """COLUMNS, a row a sampler and repeat."""
    seeds, rows, regret_N = tuple(range(losses_NS.shape[1])), [], regrets(losses_NS, initial_S)
    for sampler in samplers:
        for number in numbers:
            budget = max(BUDGETS) * len(seeds)
            search = TuneBox(sampler=sampler, sampler_seed=number, budget=budget, seeds=seeds, space=space)
            places = asked_places(search, units_NK, losses_NS, initial_S)
            found = {f"missing_{one}": missing(losses_NS, initial_S, places[:one]) for one in BUDGETS}
            found |= {f"regret_{one}": float(regret_N[places[:one]].min()) for one in BUDGETS}
            rows.append({"method": method, "sampler": sampler, "repeat": number, **found})
    return pl.DataFrame(rows, schema=COLUMNS)


def replays(suite_name: str) -> pl.DataFrame:
    """The committed replay of a box, COLUMNS."""
    return pl.read_csv(RESULTS / suite_name / "replay_front.csv", schema_overrides=COLUMNS)


def difference(rows: pl.DataFrame, name: str, sampler: str, other: str) -> dict[str, float]:
    """A sampler's number minus the other's, of pairs, `beyond`, with its 95% interval over methods, `ci`."""
    pairs = rows.filter(sampler=sampler).join(rows.filter(sampler=other), on=("method", "repeat"), suffix="_other")
    by_method = pairs.group_by("method", maintain_order=True).agg((pl.col(name) - pl.col(f"{name}_other")).mean())
    return mean_interval(by_method[name].to_numpy()).columns("beyond", "ci")


if __name__ == "__main__":
    suite_name, method, *samplers = sys.argv[1:]
    table = repeats(method, *recorded_losses(suite_name, method), samplers or COMPARED, range(NUM_REPEATS))
    print(table.write_csv(), end="")
