"""Cliffs that wander, by hand, and how far losses may lie above what the seeds at hand show, against closed forms."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from analysis.curves import LossGrid
from analysis.scores.leaderboard import leaderboard
from analysis.scores.robustness import SENSITIVITIES
from analysis.scores.seeds.cliffs import (
    best_loss_ends,
    cliff_wanders,
    loss_ends,
    seedwise_sensitivity_ends,
    sensitivity_ends,
)
from analysis.scores.table import NOT_SEPARATED, score_differences
from tests.analysis.scored_results import scored_entries, scored_table
from tests.analysis.synthetic_results import frame, row

INF = math.inf


def with_edges(edges: Sequence[int | None], lrs: list[float]) -> LossGrid:
    """Seeds that learn up to the lr at this place, None for nowhere, and diverge above."""
    losses = [[1.0 if edge is not None and place <= edge else INF for edge in edges] for place in range(len(lrs))]
    return LossGrid(
        lrs=10.0 ** np.array(lrs),
        seeds=tuple(range(len(edges))),
        losses=np.array(losses),
        initial_losses=np.full(len(edges), 4.0),
        num_lost=0,
        is_complete=True,
    )


HALF_DECADES = [-3.0, -2.5, -2.0, -1.5, -1.0]


@pytest.mark.parametrize(
    ("edges", "lrs", "wanders"),
    [
        ([0, 1, 2], HALF_DECADES, True),  # deviation 0.5, range 1
        ([1, 1, 2, 2], HALF_DECADES, False),  # one grid step is chance
        ([0, 2], [-3.0, -2.8, -2.6], False),  # deviation 0.283, range two steps
        ([0, 2], [-3.0, -2.78, -2.56], True),  # deviation 0.311
        ([0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2], HALF_DECADES, False),  # one stray seed of twelve: deviation 0.289
        ([None, 0, 2], HALF_DECADES, True),  # of the seeds that learn anywhere
        ([None, None, 2], HALF_DECADES, False),
        ([None, None], HALF_DECADES, False),
        ([2], HALF_DECADES, False),
        ([0, 0], [-1.0], False),
    ],
)
def test_a_cliff_wanders_by_hand(edges, lrs, wanders):
    assert cliff_wanders(with_edges(edges, lrs)) is wanders


def test_a_missing_trial_moves_no_cliff():
    # Without its result at the third lr seed 0 would seem to end a decade below the others, were it not left out.
    found = with_edges([3, 3, 3], HALF_DECADES)
    found.losses[2:, 0] = math.nan
    assert not cliff_wanders(found)
    found.losses[1:, 1] = math.nan  # one lr is left
    assert not cliff_wanders(found)


# Cliffs midway to the next lr: at 10^-2.75, 10^-1.75 and 10^-0.75; half a decade apart, so rounded by so much.
EDGES = [0, 2, 4]
CLIFFS = np.array([-2.75, -1.75, -0.75])
ROUNDING = 0.5 / math.sqrt(12)
BEFORE = np.array([3.0, 2.5, 2.0, 1.5, 1.0])  # falls to the top, so that an early cliff costs


def noncentral_bound(log_lr: float, cliffs: np.ndarray) -> float:
    """97.5% upper bound of the chance that a normal cliff lies below, by the noncentral t distribution."""
    count = len(cliffs)
    statistic = (log_lr - cliffs.mean()) / cliffs.std(ddof=1) * math.sqrt(count)
    ends = statistic - 6, statistic + 6
    found = optimize.root_scalar(lambda nc: stats.nct.cdf(statistic, count - 1, nc) - 0.025, bracket=ends)
    return float(special.ndtr(found.root / math.sqrt(count)))


def drawn_suites(num_seeds: int) -> np.ndarray:
    """Cliffs of further suites (seeds, suites, parameters): parameters by what the three at hand leave open."""
    rng = np.random.default_rng(3)
    deviations = CLIFFS.std(ddof=1) * np.sqrt(2 / rng.chisquare(2, 4000))
    means = CLIFFS.mean() + deviations / math.sqrt(3) * rng.standard_normal(4000) + ROUNDING * rng.standard_normal(4000)
    return means + np.hypot(deviations, ROUNDING) * rng.standard_normal((num_seeds, 300, 4000))


def falling() -> LossGrid:
    found = with_edges(EDGES, HALF_DECADES)
    found.losses[:] = np.where(np.isinf(found.losses), INF, BEFORE[:, None])
    return found


def central(values: np.ndarray) -> list[float]:
    return np.quantile(values, [0.025, 0.975]).tolist()


@pytest.mark.parametrize("log_lr", [-3.0, -2.5, -1.5])
def test_loss_at_an_lr_reaches_as_far_as_the_noncentral_t_bound_where_the_grid_is_fine(log_lr):
    log_lrs = np.linspace(-3, 0, 301)
    edges = [int(place) for place in np.searchsorted(log_lrs, CLIFFS - 1e-6) - 1]
    row = int(np.argmin(np.abs(log_lrs - log_lr)))
    chance = noncentral_bound(log_lr, CLIFFS)
    # A loss of 1 before the cliff, of 4 at init beyond; on 48 x 48 quantiles.
    ends = loss_ends(with_edges(edges, log_lrs.tolist()), row)
    assert ends is not None
    assert ends[1] == pytest.approx(4 * chance + 1 * (1 - chance), abs=0.03)


def test_beyond_every_edge_an_lr_is_worth_the_loss_at_init():
    assert loss_ends(with_edges([0, 0, 2], HALF_DECADES), 4) == (4.0, 4.0)


@pytest.mark.parametrize("row", [0, 1, 3])
def test_loss_at_an_lr_lies_where_random_cliffs_put_it(row):
    is_below = (drawn_suites(1)[0] < HALF_DECADES[row]).mean(0)
    assert loss_ends(falling(), row) == pytest.approx(central(4 * is_below + BEFORE[row] * (1 - is_below)), abs=0.05)


def test_best_loss_lies_where_the_first_of_random_cliffs_puts_it():
    best = np.append(4.0, BEFORE)[np.searchsorted(HALF_DECADES, drawn_suites(3).min(0))]
    assert best_loss_ends(falling()) == pytest.approx(central(best.mean(0)), abs=0.05)


def test_sensitivity_lies_where_the_first_of_random_cliffs_puts_it():
    # Beyond k learning rates before the first cliff: the mean of k losses and 5 - k times 4, less the k-th loss.
    of_first = [0.0, *((BEFORE[:k].sum() + 4 * (5 - k)) / 5 - BEFORE[k - 1] for k in range(1, 6))]
    scores = np.array(of_first)[np.searchsorted(HALF_DECADES, drawn_suites(3).min(0))]
    assert sensitivity_ends(falling()) == pytest.approx(central(scores.mean(0)), abs=0.03)


def test_seedwise_sensitivity_is_that_of_the_expected_curve():
    is_below = (drawn_suites(1)[0][..., None] < np.array(HALF_DECADES)).mean(0)
    curves = 4 * is_below + BEFORE * (1 - is_below)
    found = seedwise_sensitivity_ends(falling())
    assert found == pytest.approx(central(curves.mean(1) - curves.min(1)), abs=0.03)


def test_a_grid_without_divergence_has_no_cliff():
    found = with_edges([4, 4, 4], HALF_DECADES)
    assert [best_loss_ends(found), sensitivity_ends(found), loss_ends(found, 2)] == [None] * 3
    found.losses[3:] = 3.9  # nothing diverged: losses rise, at the same lr for every seed
    assert best_loss_ends(found) is None


def test_seeds_that_agree_leave_their_step_of_the_grid_open():
    """Cliffs within [-2, -1.5], so normal about -1.75 by a deviation and an error of the mean of 0.144 each."""
    found = with_edges([2, 2, 2], HALF_DECADES)
    means = np.repeat(special.ndtri((np.arange(48) + 0.5) / 48) * ROUNDING - 1.75, 48)
    below = special.ndtr((-2.0 - means) / ROUNDING)
    assert loss_ends(found, 2) == pytest.approx(central(4 * below + 1 * (1 - below)), abs=1e-9)


def test_more_seeds_and_a_cliff_further_away_add_less():
    lrs = [-4.0, -3.0, *np.arange(-2.0, 1.1, 0.5)]
    few, many = with_edges([3, 5, 7], lrs), with_edges([3, 5, 7] * 4, lrs)

    def high(grid: LossGrid, row: int) -> float:
        ends = loss_ends(grid, row)
        assert ends is not None
        return ends[1]

    assert 1 < high(many, 2) < high(few, 2)
    assert 1 < high(few, 0) < high(few, 1) < high(few, 2)


def suite(edges: dict[str, list[float]]) -> list[dict]:
    """Losses of 1, or 1.5 for the method named "worse", up to each seed's edge; they differ a little by seed."""
    losses = {method: (1.5, 0.02) if method == "worse" else (1.0, 0.01) for method in edges}
    return [
        row(method, 10.0**power, seed, losses[method][0] + losses[method][1] * seed if power <= edge else INF)
        for method, of_method in edges.items()
        for seed, edge in enumerate(of_method)
        for power in (-4, -3.5, -3, -2.5, -2, -1.5, -1)
    ]


def test_the_table_reaches_as_far_as_cliffs_and_says_why():
    cliffs = {"wanders": [-3.5, -2.5, -1.5], "stays": [-2.5, -2.5, -2.5], "whole": [-1, -1, -1]}
    table = scored_table(frame(suite(cliffs)), None, 21, "train")
    for score in ("best_loss", "lr_sensitivity", "lr_sensitivity_seedwise", "loss_at_default"):
        rows = {row["method"]: row for row in table.filter(score=score).to_dicts()}
        width = {method: row["ci_high"] - row["ci_low"] for method, row in rows.items()}
        assert width["wanders"] > max(width["stays"], 0.5), score
        assert "cliffs" not in rows["whole"]["note"]
        if score in ("best_loss", "loss_at_default"):  # sensitivities of these three seeds spread further
            assert "wider: cliffs that no seed showed" in rows["wanders"]["note"]
        else:  # losses are level up to the cliff, so that one a step lower costs them nothing
            assert width["stays"] > width["whole"], score


def test_the_board_has_the_intervals_of_the_score_table():
    data = frame(suite({"wanders": [-3.5, -2.5, -1.5], "stays": [-2.5, -2.5, -2.5]}))
    ends = ("method", "ci_low", "ci_high")
    for score in SENSITIVITIES:
        of_table = scored_table(data, None, 21, "train").filter(score=score).select(ends).sort("method")
        assert leaderboard(data, score).select(ends).sort("method").equals(of_table)


def test_what_no_seed_showed_may_undo_a_difference():
    def verdict(edges: dict[str, list[float]], score: str) -> dict:
        return score_differences(scored_entries(frame(suite(edges)), None, 21, "train"), score).row(0, named=True)

    steady = {"better": [-2.5, -2.5, -2.5], "worse": [-2.5, -2.5, -2.5]}
    assert verdict(steady, "best_loss")["verdict"] == "first better"
    found = verdict({**steady, "better": [-3.5, -2.5, -1.5]}, "best_loss")
    assert (found["verdict"], found["p_value"], found["num_seeds_needed"]) == (NOT_SEPARATED, 1.0, None)
    assert found["ci_low"] < found["difference"] < 0 < found["ci_high"]
    # What may make the worse one worse undoes nothing.
    found = verdict({**steady, "worse": [-3.5, -2.5, -1.5]}, "best_loss")
    assert found["verdict"] == "first better"
    assert found["ci_low"] < verdict(steady, "best_loss")["ci_low"]


ODD_LOSSES = st.sampled_from([0.5, 3.9, 4.0, 1e308, INF, math.nan])
CELLS = st.tuples(st.integers(0, 5), st.integers(0, 3))


@given(st.lists(st.integers(0, 5), min_size=4, max_size=4), st.dictionaries(CELLS, ODD_LOSSES, max_size=6))
@settings(deadline=None, derandomize=True)
def test_what_cliffs_leave_open_is_no_less_than_the_best_and_no_more_than_learning_nothing(edges, odd):
    found = with_edges(edges, np.arange(-3.0, 3.0).tolist())
    for cell, loss in odd.items():
        found.losses[cell] = loss
    assume(not np.isnan(found.losses).all(1).any())
    least = min(4.0, float(np.nanmin(found.losses)))
    for ends in (best_loss_ends(found), *(loss_ends(found, place) for place in range(6))):
        assert ends is None or least - 1e-9 <= ends[0] <= ends[1] <= 4.0 + 1e-9
    for ends in (sensitivity_ends(found), seedwise_sensitivity_ends(found)):
        assert ends is None or 0 <= ends[0] <= ends[1] <= 4.0 - least + 1e-9
