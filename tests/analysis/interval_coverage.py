"""How often the intervals hold the truth, by simulated suites. `python -m tests.analysis.interval_coverage` prints it.

A suite is 19 learning rates x S seeds of one method: the loss falls along a logistic curve in log10 lr; each seed has
its own loss at init, best loss, onset of learning and cliff; past its cliff a seed diverges, or, within a quarter of a
decade, half of the time ends somewhere around its initial loss. Every final loss carries noise of its own. The truth is
the score's expectation over repeats with the same number of seeds, taken from many more suites.

Legend: N suites, L learning rates, S seeds, B bootstrap resamples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.scores.robustness import SENSITIVITIES, Score
from analysis.scores.seeds.intervals import half_width, leave_one_out, single_seed_scores, wider_error

LRS_L = np.array([m * 10.0**k for k in range(-5, 2) for m in (1, 3, 5) if m * 10.0**k <= 10])


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Mean log10 lr of the cliff; how seeds differ: standard deviations of it (decades) and of the relative noise.

    onset: decades from the cliff down to where half is learned.
    """

    name: str
    cliff: float
    cliff_jitter: float
    noise: float
    onset: float = 2.4


SCENARIOS = (
    Scenario(name="still cliff, little noise", cliff=-0.6, cliff_jitter=0.05, noise=0.02),
    Scenario(name="cliff +-0.15 decades", cliff=-0.6, cliff_jitter=0.15, noise=0.05),
    Scenario(name="cliff +-0.15, noisy", cliff=-0.6, cliff_jitter=0.15, noise=0.3),
    Scenario(name="cliff +-0.3 decades", cliff=-0.6, cliff_jitter=0.3, noise=0.05),
    Scenario(name="cliff +-0.5, noisy", cliff=-0.6, cliff_jitter=0.5, noise=0.1),
)


def simulate(
    rng: np.random.Generator, scenario: Scenario, num_suites: int, num_seeds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Final losses (N, L, S), +inf where diverged, and initial losses (N, S)."""
    shape_NS, shape_NLS = (num_suites, num_seeds), (num_suites, len(LRS_L), num_seeds)
    initial_NS = 3.2 + 0.1 * rng.standard_normal(shape_NS)
    best_NS = 0.3 + scenario.noise * np.abs(rng.standard_normal(shape_NS))
    onset_NS = scenario.cliff - scenario.onset + 0.15 * rng.standard_normal(shape_NS)
    cliff_NS = scenario.cliff + scenario.cliff_jitter * rng.standard_normal(shape_NS)
    log_lrs_L1 = np.log10(LRS_L)[:, None]
    learned_NLS = 1 / (1 + np.exp(-3 * (log_lrs_L1 - onset_NS[:, None])))
    losses_NLS = initial_NS[:, None] - (initial_NS - best_NS)[:, None] * learned_NLS
    losses_NLS = losses_NLS * np.exp(0.5 * scenario.noise * rng.standard_normal(shape_NLS))
    beyond_NLS = log_lrs_L1 - cliff_NS[:, None]
    survives_NLS = (beyond_NLS < 0.25) & (rng.random(shape_NLS) < 0.5)
    spoiled_NLS = np.where(survives_NLS, initial_NS[:, None] * rng.uniform(0.5, 1.2, shape_NLS), np.inf)
    return np.where(beyond_NLS > 0, spoiled_NLS, losses_NLS), initial_NS


def bounds_of_candidates(
    rng: np.random.Generator, score: Score, losses_NLS: np.ndarray, initial_NS: np.ndarray, num_resamples: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(low, high) of every candidate interval, each (N,)."""
    num_seeds = losses_NLS.shape[-1]
    value_N = score(losses_NLS, initial_NS, LRS_L)
    left_out_NS = leave_one_out(score, losses_NLS, initial_NS, LRS_L)
    alone_NS = single_seed_scores(score, losses_NLS, initial_NS, LRS_L)
    errors = {
        "ours": wider_error(left_out_NS, alone_NS),
        "jackknife": left_out_NS.std(-1) * np.sqrt(num_seeds - 1),
        "single seeds": alone_NS.std(-1, ddof=1) / np.sqrt(num_seeds),
    }
    halves = {name: half_width(error, num_seeds) for name, error in errors.items()}
    bounds = {name: (value_N - half, value_N + half) for name, half in halves.items()}
    picks_BS = rng.integers(0, num_seeds, (num_resamples, num_seeds))
    resampled_NB = np.stack([score(losses_NLS[..., pick], initial_NS[..., pick], LRS_L) for pick in picks_BS], -1)
    low_N, high_N = np.quantile(resampled_NB, [0.025, 0.975], axis=-1)
    return {**bounds, "percentile": (low_N, high_N), "BCa": _bca(value_N, left_out_NS, resampled_NB)}


def coverage(
    score: Score, scenario: Scenario, num_seeds: int, *, num_suites: int, num_resamples: int, seed: int
) -> dict[str, float]:
    """Share of suites whose interval holds the truth, by candidate."""
    rng = np.random.default_rng([seed, num_seeds])
    truth = expectation(rng, score, scenario, num_seeds, num_suites=20 * num_suites)
    suites = simulate(rng, scenario, num_suites, num_seeds)
    bounds = bounds_of_candidates(rng, score, *suites, num_resamples)
    return {name: float(((low <= truth) & (truth <= high)).mean()) for name, (low, high) in bounds.items()}


def expectation(
    rng: np.random.Generator, score: Score, scenario: Scenario, num_seeds: int, *, num_suites: int
) -> float:
    """Mean score over many suites, some at a time to spare memory."""
    batches = [
        score(*simulate(rng, scenario, 1000, num_seeds), LRS_L).mean() for _ in range(max(1, num_suites // 1000))
    ]
    return float(np.mean(batches))


def _bca(value_N: np.ndarray, left_out_NS: np.ndarray, resampled_NB: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated bootstrap. Source: Efron 1987; acceleration from the jackknife."""
    num_resamples = resampled_NB.shape[-1]
    below_N = ((resampled_NB < value_N[:, None]) + 0.5 * (resampled_NB == value_N[:, None])).mean(-1)
    bias_N = stats.norm.ppf(np.clip(below_N, 0.5 / num_resamples, 1 - 0.5 / num_resamples))
    pull_NS = left_out_NS.mean(-1, keepdims=True) - left_out_NS
    scale_N = 6 * (pull_NS**2).sum(-1) ** 1.5
    acceleration_N = (pull_NS**3).sum(-1) / np.where(scale_N > 0, scale_N, 1)
    ends = []
    ordered_NB = np.sort(resampled_NB, -1)
    for normal in stats.norm.ppf([0.025, 0.975]):
        level_N = stats.norm.cdf(bias_N + (bias_N + normal) / (1 - acceleration_N * (bias_N + normal)))
        place_N = np.clip((level_N * (num_resamples - 1)).round().astype(int), 0, num_resamples - 1)
        ends.append(ordered_NB[np.arange(len(value_N)), place_N])
    return ends[0], ends[1]


def table(*, num_suites: int, num_resamples: int, seed: int, show: Callable[[str], None]) -> None:
    """Shows the coverage of every candidate, row by row, as a Markdown table."""
    names = ["ours", "jackknife", "single seeds", "percentile", "BCa"]
    show("| score | scenario | seeds | " + " | ".join(names) + " |")
    show("| --- | --- | ---: |" + " ---: |" * len(names))
    for score_name, score in SENSITIVITIES.items():
        for scenario in SCENARIOS:
            for num_seeds in (3, 5, 10):
                found = coverage(
                    score, scenario, num_seeds, num_suites=num_suites, num_resamples=num_resamples, seed=seed
                )
                cells = " | ".join(f"{found[name]:.3f}" for name in names)
                show(f"| {score_name} | {scenario.name} | {num_seeds} | {cells} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Coverage of 95% intervals in simulated suites, as a Markdown table.")
    parser.add_argument("--num-suites", type=int, default=2000)
    parser.add_argument("--num-resamples", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table(num_suites=options.num_suites, num_resamples=options.num_resamples, seed=options.seed, show=print)
