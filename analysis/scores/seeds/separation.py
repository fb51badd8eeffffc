"""How many seeds would tell neighbours of a leaderboard apart: a power estimate from what the seeds differ by now."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

from analysis.curves import Entries, entries_by_workload, label_of
from analysis.scores.robustness import SENSITIVITIES, Score, is_at_chance
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import Difference, entry_difference
from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.lazy import polars as pl
from bench.lazy import special

POWER = 0.8
MAX_SEEDS = 100

SEPARATION_COLUMNS: dict[str, type] = {
    **dict.fromkeys(("workload", "better", "worse"), str),
    **dict.fromkeys(("difference", "ci_low", "ci_high"), float),
    "compared": str,
    "num_seeds": int,
    "num_seeds_needed": int,
    "seeds_needed": str,
}


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Two entries next to each other in order, the better first; `difference` is second minus first."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    difference: Difference


def seeds_to_separate(results: pl.DataFrame, score: str = "lr_sensitivity") -> pl.DataFrame:
    """SEPARATION_COLUMNS, one row a pair of neighbours in the order by `score`, one of SENSITIVITIES.

    `results` as `curves` takes them. Neighbours have workload, optimizer and knobs in common, so a row is about two
    methods; those that are not among `comparable_entries` are left out. difference is the worse minus the better,
    ci_low and ci_high bound its 95% interval, not corrected for the number of pairs; `compared` says whether it is
    paired by seed or unpaired, and num_seeds then is that of the entry with fewer. num_seeds_needed is `seeds_needed`
    (null beyond 100, or with fewer than two seeds), seeds_needed the same in words.
    """
    boards = map(comparable_entries, entries_by_workload(results))
    rows = [_row(pair) for entries in boards for pair in neighbours(entries, SENSITIVITIES[score])]
    return pl.DataFrame(rows, schema=SEPARATION_COLUMNS)


def comparable_entries(entries: Entries) -> Entries:
    """The entries that can have a rank, in the same order: not at chance, and with two learning rates at least."""
    return {key: grid for key, grid in entries.items() if len(grid.lrs) > 1 and not is_at_chance(*grid.data)}


def neighbours(entries: Entries, score: Score) -> list[Neighbours]:
    """Every entry but the last with the next in ascending order of the score, among those of one optimizer and knobs.

    Ties are in the order of the keys.
    """
    values = {key: float(score(*grid.data)) for key, grid in entries.items()}
    ordered = sorted(entries, key=lambda key: (key[2:], values[key], key))
    return [
        Neighbours(first=first, second=second, difference=entry_difference(score, entries[second], entries[first]))
        for first, second in itertools.pairwise(ordered)
        if first[2:] == second[2:]
    ]


def is_separated(pair: Neighbours) -> bool:
    """True where the 95% interval of the difference excludes 0."""
    return pair.difference.p_value < 1 - CONFIDENCE


def seeds_needed(difference: float, error: float, num_seeds: int) -> int | None:
    """Least number of seeds at which a 95% interval of the difference excludes 0 with 80% power; None beyond 100.

    Power of the two-sided paired t-test if the true difference is the one found, and its standard error falls from the
    one found at `num_seeds` as 1 / sqrt(seeds). Both are guesses from few seeds, so read it as an order of magnitude.
    """
    if error == 0:
        return 2 if difference else None
    return _least_seeds(abs(difference) / error / np.sqrt(num_seeds), 1 - CONFIDENCE)


def seeds_for(difference: float, spread: float, num_pairs: int) -> int | None:
    """Seeds to plan for before a run: the least number that finds this difference with 80% power; None beyond 100.

    `spread` is the standard deviation over seeds of the difference of two methods, paired by seed: guess it from a
    pilot (`score_differences` has it) or from a like suite. Two-sided paired t-test at 5% over `num_pairs`, the first
    and strictest step of Holm's correction, so that it holds for the hardest of several pairs too. Raises UsageError
    for a spread or number that no run can have.
    """
    if not (np.isfinite(difference) and np.isfinite(spread) and spread >= 0):
        raise UsageError(f"difference and spread must be finite and the spread >= 0, got {difference} and {spread}")
    if num_pairs < 1:
        raise UsageError(f"the number of pairs must be at least 1, got {num_pairs}")
    if spread == 0:
        return 2 if difference else None
    return _least_seeds(abs(difference) / spread, (1 - CONFIDENCE) / num_pairs)


def _least_seeds(effect: float, level: float) -> int | None:
    """Least number of seeds at which a two-sided paired t-test at this level has 80% power; None beyond MAX_SEEDS.

    `effect` is the difference over its standard deviation between seeds.
    """
    enough = np.flatnonzero(effect >= _least_effects(level))
    return int(enough[0]) + 2 if len(enough) else None


@functools.cache
def _least_effects(level: float) -> np.ndarray:
    """The least effect that 2, 3, ... MAX_SEEDS seeds find with 80% power, by bisection, as the power grows with it."""
    counts = np.arange(2, MAX_SEEDS + 1)
    critical = -special.stdtrit(counts - 1, level / 2)
    low, high = np.zeros(len(counts)), 10 * critical
    for _ in range(60):
        middle = (low + high) / 2
        # The other tail, below -critical, would be an interval on the wrong side of 0: no separation.
        missed = special.nctdtr(counts - 1, middle * np.sqrt(counts), critical)
        is_enough = ~(missed > 1 - POWER)  # NaN where so large an effect is missed never
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    return high


def _row(pair: Neighbours) -> dict[str, object]:
    difference = pair.difference
    error = difference.standard_error
    needed = None if error is None else seeds_needed(difference.value, error, difference.num_seeds)
    return {
        "workload": pair.first[0],
        "better": label_of(pair.first[1:]),
        "worse": label_of(pair.second[1:]),
        **difference.interval.columns("difference", "ci"),
        "compared": difference.compared,
        "num_seeds": difference.num_seeds,
        "num_seeds_needed": needed,
        "seeds_needed": "unknown" if error is None else f"more than {MAX_SEEDS}" if needed is None else str(needed),
    }
