"""How often the intervals of the score table hold the truth. `python -m tests.analysis.score_coverage` prints it.

Scores of whole grids are simulated as in interval_coverage; scores that are one value a seed are drawn from laws that
such values have. The truth is the score's expectation over repeats with the same number of seeds (of a standard
deviation: the law's own).

A score that moves in steps of the grid takes two or three values over repeats of a suite, so whether an interval holds
the truth hangs on where between two learning rates the cliff happens to lie. Its coverage is the mean over twelve
places of the cliff, a twelfth of a decade apart (the grid repeats after one); each place has a truth of its own.

Legend: N suites, L learning rates, S seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import stats

from analysis.curves import LossGrid
from analysis.scores import robustness
from analysis.scores.robustness import Score
from analysis.scores.seeds.intervals import half_width, rounding_error, standard_error
from analysis.scores.seeds.scales import Interval
from analysis.scores.seeds.spreads import spread_ends
from analysis.scores.seeds.wandering import cliff_wanders, unseen_at, unseen_at_best
from tests.analysis.interval_coverage import LRS_L, SCENARIOS, Scenario, simulate

DEFAULT_LR = 0.03
DEFAULT_ROW = int(np.flatnonzero(np.isclose(LRS_L, DEFAULT_LR))[0])
HALF_STEP = float(np.diff(np.log10(LRS_L)).mean()) / 2
PLACES = tuple(np.arange(-6, 6) / 12)  # decades from the scenario's cliff

# Half the width of an interval, of the standard error (N,) and the number of seeds.
Half = Callable[[np.ndarray, int], np.ndarray]
# An interval around its value on the scale of what it is of, as analysis.scores.seeds.statistics has it.
Scale = Callable[[Interval], Interval]


def _decades(score: Score) -> Score:
    return lambda losses_NLS, initial_NS, lrs_L: np.log10(score(losses_NLS, initial_NS, lrs_L))


def loss_at_default(losses_NLS: np.ndarray, initial_NS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Mean over seeds of the clipped loss at DEFAULT_LR: a seed mean."""
    return np.minimum(losses_NLS[..., DEFAULT_ROW, :], initial_NS).mean(-1)


def rounded(error_N: np.ndarray, num_seeds: int) -> np.ndarray:
    """As analysis.scores.seeds.intervals.rounded_interval has it, but for shares of 0 and 1, where it is no less."""
    return half_width(rounding_error(error_N, 1 / len(LRS_L), num_seeds), num_seeds)


def plain(interval: Interval) -> Interval:
    """As it is."""
    return interval


def in_shares(interval: Interval) -> Interval:
    """Cut at 0 and 1."""
    return interval.within((0.0, 1.0))


def ends(scale: Scale, value_N: np.ndarray, half_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the intervals on a scale, (N,) each; NaN where there is none."""
    found = [scale(Interval.around(*one)) for one in zip(value_N.tolist(), half_N.tolist(), strict=True)]
    low_N, high_N = np.array([(one.low, one.high) for one in found], dtype=float).T
    return low_N, high_N


def on_grid(error_N: np.ndarray, num_seeds: int) -> np.ndarray:
    """As analysis.scores.kinds has it for learning rates and decades."""
    return half_width(error_N, num_seeds) + HALF_STEP


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridScore:
    """A score of grids as the score table has it.

    `jumps` as in analysis.scores.seeds.intervals; `unseen` is what cliffs that no seed showed may add to its value.
    """

    score: Score
    half: Half = half_width
    scale: Scale = plain
    jumps: bool = False
    unseen: Callable[[LossGrid], float] | None = None


GRID_SCORES: dict[str, GridScore] = {
    "loss_at_default": GridScore(score=loss_at_default, unseen=lambda grid: unseen_at(grid, DEFAULT_ROW)),
    "lr_sensitivity_seedwise": GridScore(score=robustness.lr_sensitivity_seedwise),
    "lr_sensitivity_windowed": GridScore(score=robustness.lr_sensitivity_windowed, jumps=True),
    "best_loss": GridScore(score=robustness.best_loss, unseen=unseen_at_best),
    "diverged_share": GridScore(score=robustness.diverged_share, half=rounded, scale=in_shares),
    "stable_decades": GridScore(score=robustness.stable_decades, half=on_grid),
    "edge_lr, decades": GridScore(score=_decades(robustness.edge_lr), half=on_grid),
    "best_lr, decades": GridScore(score=_decades(robustness.best_lr), half=on_grid),
}
_FURTHER = {"lr_sensitivity": GridScore(score=robustness.lr_sensitivity)}  # by interval_coverage at one place
# Few trials diverge where cliffs lie near the top of the grid, which shares near 0 are to be tried with.
NEAR_THE_TOP = (
    Scenario(name="cliff at lr 8, +-0.15", cliff=0.9, cliff_jitter=0.15, noise=0.05),
    Scenario(name="cliff at lr 8, +-0.5", cliff=0.9, cliff_jitter=0.5, noise=0.05),
    Scenario(name="cliff at lr 16, +-0.5", cliff=1.2, cliff_jitter=0.5, noise=0.05),
)
# Those that the flag cliff_wanders speaks of.
REACHING = sorted(name for name, of in GRID_SCORES.items() if of.unseen is not None)

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]  # (N, S), one value a seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Law:
    """What values of seeds are drawn from, its mean and standard deviation, and the scale that their mean has."""

    draw: Draw
    mean: float
    spread: float
    scale: Scale


def _log_normal(sigma: float) -> Law:
    law = stats.lognorm(sigma)
    mean, spread = float(law.mean()), float(law.std())
    scale = Interval.of_positive_mean
    return Law(draw=lambda rng, shape: rng.lognormal(0.0, sigma, shape), mean=mean, spread=spread, scale=scale)


def _beta(a: float, b: float) -> Law:
    law = stats.beta(a, b)
    mean, spread = float(law.mean()), float(law.std())
    return Law(draw=lambda rng, shape: rng.beta(a, b, shape), mean=mean, spread=spread, scale=Interval.of_share)


LAWS: dict[str, Law] = {
    "normal (final losses)": Law(
        draw=lambda rng, shape: rng.normal(1.0, 0.2, shape), mean=1.0, spread=0.2, scale=plain
    ),
    "log-normal, sigma 0.3 (steps to target)": _log_normal(0.3),
    "log-normal, sigma 0.8": _log_normal(0.8),
    "beta(8, 1) (lowest entropies)": _beta(8, 1),
    "beta(1, 20) (shares near 0)": _beta(1, 20),
    "binomial of 19 at 0.3 (share of trials)": Law(
        draw=lambda rng, shape: rng.binomial(19, 0.3, shape) / 19,
        mean=0.3,
        spread=float(np.sqrt(0.3 * 0.7 / 19)),
        scale=Interval.of_share,
    ),
    "Poisson of mean 1 of 500 (rare spikes)": Law(
        draw=lambda rng, shape: rng.poisson(1.0, shape) / 500, mean=1 / 500, spread=1 / 500, scale=Interval.of_share
    ),
}


def grid_coverage(name: str, scenario: Scenario, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """Share of simulated suites whose interval holds the expected score; those without an interval do not count."""
    places = PLACES if GRID_SCORES[name].half is not half_width else (0.0,)
    each, num_batches = num_suites // len(places), max(2, num_suites // 200 // len(places), 4 // len(places))
    moved = [dataclasses.replace(scenario, cliff=scenario.cliff + place) for place in places]
    found = [_coverage_at(name, one, num_seeds, num_suites=each, num_batches=num_batches, seed=seed) for one in moved]
    return float(np.mean(found))


def placed_coverage(name: str, scenario: Scenario, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """`grid_coverage`, of any score over all PLACES of the cliff: what holds wherever a suite's grid happens to lie."""
    moved = [dataclasses.replace(scenario, cliff=scenario.cliff + place) for place in PLACES]
    each = num_suites // len(PLACES)
    return float(
        np.mean([_coverage_at(name, one, num_seeds, num_suites=each, num_batches=4, seed=seed) for one in moved])
    )


def _coverage_at(
    name: str, scenario: Scenario, num_seeds: int, *, num_suites: int, num_batches: int, seed: int
) -> float:
    """Where the cliff lies as the scenario has it; num_batches: thousands of suites behind the expected score."""
    rng = np.random.default_rng([seed, num_seeds])
    truth = expected(rng, (GRID_SCORES | _FURTHER)[name].score, scenario, num_seeds, num_batches=num_batches)
    return float(np.nanmean(holds(name, simulate(rng, scenario, num_suites, num_seeds), truth)))


def expected(rng: np.random.Generator, score: Score, scenario: Scenario, num_seeds: int, *, num_batches: int) -> float:
    """Mean score over so many thousand suites, without those that have none."""
    batches = [np.nanmean(score(*simulate(rng, scenario, 1000, num_seeds), LRS_L)) for _ in range(num_batches)]
    return float(np.mean(batches))


def holds(name: str, suites: tuple[np.ndarray, np.ndarray], truth: float, *, with_unseen: bool = True) -> np.ndarray:
    """1 where the interval of a suite holds the truth, 0 where not, NaN where there is none: (N,).

    `with_unseen`: what cliffs that no seed showed may add counts, as in the score table.
    """
    of = (GRID_SCORES | _FURTHER)[name]
    value_N, error_N = of.score(*suites, LRS_L), standard_error(of.score, *suites, LRS_L, jumps=of.jumps)
    low_N, high_N = ends(of.scale, value_N, of.half(error_N, suites[0].shape[-1]))
    low_N, high_N = low_N - 1e-9, high_N + 1e-9
    if with_unseen and of.unseen is not None:
        high_N = np.maximum(high_N, value_N + [of.unseen(_grid(*suite)) for suite in zip(*suites, strict=True)])
    holds_N = (low_N <= truth) & (truth <= high_N)
    return np.where(np.isfinite(value_N + error_N), holds_N, np.nan)


def flagged(suites: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """True where the flag cliff_wanders is raised: (N,)."""
    return np.array([cliff_wanders(_grid(*suite)) for suite in zip(*suites, strict=True)])


def _grid(losses_LS: np.ndarray, initial_S: np.ndarray) -> LossGrid:
    seeds = tuple(range(len(initial_S)))
    return LossGrid(
        lrs=LRS_L, seeds=seeds, losses=losses_LS, initial_losses=initial_S, num_lost=0, is_complete=True
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flagged:
    """What the flag cliff_wanders says and mends, as shares of all suites; misses by score."""

    raised: float
    missed_by_spread: dict[str, float]  # the interval of the spread over seeds alone misses the truth
    missed: dict[str, float]  # the interval of the score table does
    missed_unflagged: dict[str, float]  # and nothing says so


def flag_record(scenario: Scenario, num_seeds: int, *, num_suites: int, seed: int) -> Flagged:
    """How often the flag is raised, and how often the intervals that it widens miss."""
    rng = np.random.default_rng([seed, num_seeds])
    truths = {name: expected(rng, GRID_SCORES[name].score, scenario, num_seeds, num_batches=4) for name in REACHING}
    suites = simulate(rng, scenario, num_suites, num_seeds)
    raised_N = flagged(suites)
    by_spread = {name: holds(name, suites, truths[name], with_unseen=False) == 0 for name in REACHING}
    missed = {name: holds(name, suites, truths[name]) == 0 for name in REACHING}
    return Flagged(
        raised=float(raised_N.mean()),
        missed_by_spread={name: float(missed_N.mean()) for name, missed_N in by_spread.items()},
        missed={name: float(missed_N.mean()) for name, missed_N in missed.items()},
        missed_unflagged={name: float((missed_N & ~raised_N).mean()) for name, missed_N in missed.items()},
    )


def mean_coverage(law: str, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """Share of suites whose interval holds the mean of the law, for a score that is the mean of one value a seed."""
    of = LAWS[law]
    values_N1S = of.draw(np.random.default_rng([seed, num_seeds]), (num_suites, num_seeds))[:, None, :]
    initial_NS, lrs_L = np.ones((num_suites, num_seeds)), np.ones(1)
    value_N = robustness.seed_mean(values_N1S, initial_NS, lrs_L)
    half_N = half_width(standard_error(robustness.seed_mean, values_N1S, initial_NS, lrs_L), num_seeds)
    low_N, high_N = ends(of.scale, value_N, half_N)
    return float(((low_N <= of.mean) & (of.mean <= high_N)).mean())


def spread_coverage(law: str, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """Share of suites whose interval of the spread over seeds holds the law's standard deviation."""
    of = LAWS[law]
    low_N, high_N = spread_ends(of.draw(np.random.default_rng([seed, num_seeds]), (num_suites, num_seeds)))
    return float(((low_N <= of.spread) & (of.spread <= high_N)).mean())


def tables(*, num_suites: int, seed: int, show: Callable[[str], None]) -> None:
    """Shows every coverage, row by row, as Markdown tables."""
    counts = (3, 5, 10)
    head = " | ".join(f"{count} seeds" for count in counts)
    show(f"| score | scenario | {head} |\n| --- | --- |" + " ---: |" * len(counts))
    for name in GRID_SCORES:
        for scenario in (*SCENARIOS, *(NEAR_THE_TOP if name == "diverged_share" else ())):
            found = [grid_coverage(name, scenario, count, num_suites=num_suites, seed=seed) for count in counts]
            show(f"| {name} | {scenario.name} | {' | '.join(f'{one:.3f}' for one in found)} |")
    show(f"\n| values of a seed | interval of the | {head} |\n| --- | --- |" + " ---: |" * len(counts))
    for law in LAWS:
        for what, coverage in (("mean", mean_coverage), ("spread", spread_coverage)):
            found = [coverage(law, count, num_suites=10 * num_suites, seed=seed) for count in counts]
            show(f"| {law} | {what} | {' | '.join(f'{one:.3f}' for one in found)} |")
    show("\nMissed by the spread over seeds alone, by the interval of the score table, and by it without a flag:\n")
    show("| cliff_wanders | seeds | raised | " + " | ".join(REACHING) + " |\n| --- | ---: |" + " ---: |" * 3)
    for scenario in SCENARIOS:
        for count in counts:
            record = flag_record(scenario, count, num_suites=num_suites, seed=seed)
            found = (record.missed_by_spread, record.missed, record.missed_unflagged)
            cells = [", ".join(f"{missed[name]:.3f}" for missed in found) for name in REACHING]
            show(f"| {scenario.name} | {count} | {record.raised:.3f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Coverage of the 95% intervals of the score table, as Markdown.")
    parser.add_argument("--num-suites", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tables(num_suites=options.num_suites, seed=options.seed, show=print)
