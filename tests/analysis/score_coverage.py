"""How often the intervals of the score table hold the truth. `python -m tests.analysis.score_coverage` prints it.

Scores of whole grids are simulated as in interval_coverage; scores that are one value a seed are drawn from laws that
such values have. The truth is the score's expectation over repeats with the same number of seeds (of a standard
deviation: the law's own).

Legend: N suites, L learning rates, S seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats

from analysis.scores import robustness
from analysis.scores.intervals import half_width, standard_error
from analysis.scores.robustness import Score
from tests.analysis.interval_coverage import LRS_L, SCENARIOS, Scenario, simulate

DEFAULT_LR = 0.03
STEP = float(np.diff(np.log10(LRS_L)).max())


def _decades(score: Score) -> Score:
    return lambda losses_NLS, initial_NS, lrs_L: np.log10(score(losses_NLS, initial_NS, lrs_L))


def loss_at_default(losses_NLS: np.ndarray, initial_NS: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Mean over seeds of the clipped loss at DEFAULT_LR: a seed mean."""
    row = int(np.flatnonzero(np.isclose(lrs_L, DEFAULT_LR))[0])
    return np.minimum(losses_NLS[..., row, :], initial_NS).mean(-1)


# Score and half of its step, as analysis.scores.kinds has them.
GRID_SCORES: dict[str, tuple[Score, float]] = {
    "loss_at_default": (loss_at_default, 0.0),
    "lr_sensitivity_seedwise": (robustness.lr_sensitivity_seedwise, 0.0),
    "lr_sensitivity_windowed": (robustness.lr_sensitivity_windowed, 0.0),
    "best_loss": (robustness.best_loss, 0.0),
    "diverged_share": (robustness.diverged_share, 0.5 / len(LRS_L)),
    "stable_decades": (robustness.stable_decades, STEP / 2),
    "edge_lr, decades": (_decades(robustness.edge_lr), STEP / 2),
    "best_lr, decades": (_decades(robustness.best_lr), STEP / 2),
}

# One value a seed: (N, S) draws, and the mean and standard deviation of the law.
Law = tuple[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float, float]
LAWS: dict[str, Law] = {
    "normal (final losses)": (lambda rng, shape: rng.normal(1.0, 0.2, shape), 1.0, 0.2),
    "log-normal, sigma 0.3 (steps to target)": (
        lambda rng, shape: rng.lognormal(0.0, 0.3, shape),
        float(stats.lognorm.mean(0.3)),
        float(stats.lognorm.std(0.3)),
    ),
    "log-normal, sigma 0.8": (
        lambda rng, shape: rng.lognormal(0.0, 0.8, shape),
        float(stats.lognorm.mean(0.8)),
        float(stats.lognorm.std(0.8)),
    ),
    "binomial of 19 at 0.3 (share of trials)": (
        lambda rng, shape: rng.binomial(19, 0.3, shape) / 19,
        0.3,
        float(np.sqrt(0.3 * 0.7 / 19)),
    ),
    "Poisson of mean 1 (rare spikes)": (lambda rng, shape: rng.poisson(1.0, shape).astype(float), 1.0, 1.0),
}


def grid_coverage(name: str, scenario: Scenario, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """Share of simulated suites whose interval holds the expected score; those without an interval do not count."""
    score, half_step = GRID_SCORES[name]
    rng = np.random.default_rng([seed, num_seeds])
    truth = np.mean(
        [np.nanmean(score(*simulate(rng, scenario, 1000, num_seeds), LRS_L)) for _ in range(max(4, num_suites // 200))]
    )
    suites = simulate(rng, scenario, num_suites, num_seeds)
    value_N, error_N = score(*suites, LRS_L), standard_error(score, *suites, LRS_L)
    known_N = np.isfinite(value_N + error_N)
    half_N = half_width(error_N, num_seeds) + half_step
    return float((np.abs(value_N - truth) <= half_N)[known_N].mean())


def mean_coverage(law: str, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """Share of suites whose interval holds the mean of the law, for a score that is the mean of one value a seed."""
    draw, mean, _ = LAWS[law]
    values_N1S = draw(np.random.default_rng([seed, num_seeds]), (num_suites, num_seeds))[:, None, :]
    initial_NS, lrs_L = np.ones((num_suites, num_seeds)), np.ones(1)
    value_N = robustness.seed_mean(values_N1S, initial_NS, lrs_L)
    half_N = half_width(standard_error(robustness.seed_mean, values_N1S, initial_NS, lrs_L), num_seeds)
    return float((np.abs(value_N - mean) <= half_N).mean())


def spread_coverage(law: str, num_seeds: int, *, num_suites: int, seed: int) -> float:
    """Share of suites whose chi-square interval holds the law's standard deviation; the formula of spread_interval."""
    draw, _, spread = LAWS[law]
    value_N = draw(np.random.default_rng([seed, num_seeds]), (num_suites, num_seeds)).std(-1, ddof=1)
    low, high = np.sqrt((num_seeds - 1) / stats.chi2.ppf([0.975, 0.025], num_seeds - 1))
    return float(((low * value_N <= spread) & (spread <= high * value_N)).mean())


def tables(*, num_suites: int, seed: int, show: Callable[[str], None]) -> None:
    """Shows every coverage, row by row, as Markdown tables."""
    counts = (3, 5, 10)
    head = " | ".join(f"{count} seeds" for count in counts)
    show(f"| score | scenario | {head} |\n| --- | --- |" + " ---: |" * len(counts))
    for name in GRID_SCORES:
        for scenario in SCENARIOS:
            found = [grid_coverage(name, scenario, count, num_suites=num_suites, seed=seed) for count in counts]
            show(f"| {name} | {scenario.name} | {' | '.join(f'{one:.3f}' for one in found)} |")
    show(f"\n| values of a seed | interval of the | {head} |\n| --- | --- |" + " ---: |" * len(counts))
    for law in LAWS:
        for what, coverage in (("mean", mean_coverage), ("spread", spread_coverage)):
            found = [coverage(law, count, num_suites=10 * num_suites, seed=seed) for count in counts]
            show(f"| {law} | {what} | {' | '.join(f'{one:.3f}' for one in found)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Coverage of the 95% intervals of the score table, as Markdown.")
    parser.add_argument("--num-suites", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tables(num_suites=options.num_suites, seed=options.seed, show=print)
