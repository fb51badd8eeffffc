"""Cliffs that wander, by hand, and how far losses may lie above what the seeds at hand show, against closed forms."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from analysis.curves import LossGrid
from analysis.scores.robustness import best_loss
from analysis.scores.seeds.wandering import cliff_wanders, unseen_at, unseen_at_best
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


# Cliffs midway to the next lr: at 10^-2.75, 10^-1.75 and 10^-0.75.
EDGES = [0, 2, 4]
CLIFFS = np.array([-2.75, -1.75, -0.75])


def noncentral_bound(log_lr: float, cliffs: np.ndarray) -> float:
    """97.5% upper bound of the chance that a normal cliff lies below, by the noncentral t distribution."""
    count = len(cliffs)
    statistic = (log_lr - cliffs.mean()) / cliffs.std(ddof=1) * math.sqrt(count)
    ends = statistic - 6, statistic + 6
    found = optimize.root_scalar(lambda nc: stats.nct.cdf(statistic, count - 1, nc) - 0.025, bracket=ends)
    return float(special.ndtr(found.root / math.sqrt(count)))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_loss_at_an_lr_reaches_as_far_as_the_noncentral_t_bound(place):
    found = with_edges(EDGES, HALF_DECADES)
    chance = noncentral_bound(HALF_DECADES[place], CLIFFS)
    value = float(np.minimum(found.losses[place], 4.0).mean())
    # A loss of 1 before the cliff, of 4 at init beyond; on 48 x 48 quantiles.
    assert unseen_at(found, place) == pytest.approx(4 * chance + 1 * (1 - chance) - value, abs=0.03)


def test_beyond_every_edge_an_lr_is_worth_the_loss_at_init():
    found = with_edges([0, 0, 2], HALF_DECADES)
    assert cliff_wanders(found)
    assert unseen_at(found, 4) == 0.0


def test_best_loss_reaches_as_far_as_the_first_of_all_cliffs_by_random_draws():
    # Losses fall from 3 at the smallest lr to 1 at the largest, so that an early cliff costs.
    found = with_edges(EDGES, HALF_DECADES)
    before = np.array([3.0, 2.5, 2.0, 1.5, 1.0])
    found.losses[:] = np.where(np.isinf(found.losses), INF, before[:, None])
    rng = np.random.default_rng(3)
    deviations = CLIFFS.std(ddof=1) * np.sqrt(2 / rng.chisquare(2, 4000))
    means = CLIFFS.mean() + deviations / math.sqrt(3) * rng.standard_normal(4000)
    first = (means + deviations * rng.standard_normal((3, 300, 4000))).min(0)
    best = np.append(4.0, before)[np.searchsorted(HALF_DECADES, first)]
    # The curve of means is 3 at the smallest lr and clipped above, where seed 0 diverges.
    assert unseen_at_best(found) == pytest.approx(np.quantile(best.mean(0), 0.975) - 3.0, abs=0.03)


def test_a_steady_cliff_adds_nothing():
    found = with_edges([2, 2, 3], HALF_DECADES)
    assert unseen_at_best(found) == 0.0
    assert {unseen_at(found, place) for place in range(5)} == {0.0}


def test_more_seeds_and_a_cliff_further_away_add_less():
    lrs = [-4.0, -3.0, *np.arange(-2.0, 1.1, 0.5)]
    few, many = with_edges([3, 5, 7], lrs), with_edges([3, 5, 7] * 4, lrs)
    assert 0 < unseen_at(many, 2) < unseen_at(few, 2)
    assert 0 < unseen_at(few, 0) < unseen_at(few, 1) < unseen_at(few, 2)


def suite(edges: dict[str, list[float]]) -> list[dict]:
    """Losses of 1, or 1.5 for the method named "worse", up to each seed's edge; they differ a little by seed."""
    losses = {method: (1.5, 0.02) if method == "worse" else (1.0, 0.01) for method in edges}
    return [
        row(method, 10.0**power, seed, losses[method][0] + losses[method][1] * seed if power <= edge else INF)
        for method, of_method in edges.items()
        for seed, edge in enumerate(of_method)
        for power in (-4, -3.5, -3, -2.5, -2, -1.5, -1)
    ]


def test_the_table_reaches_up_and_says_why():
    data = frame(suite({"wanders": [-3.5, -2.5, -1.5], "stays": [-2.5, -2.5, -2.5]}))
    table = scored_table(data, None, 21, "train").filter(score="best_loss")
    wanders, stays = table.filter(method="wanders").row(0, named=True), table.filter(method="stays").row(0, named=True)
    assert wanders["value"] == stays["value"]
    assert wanders["ci_low"] == stays["ci_low"]
    assert wanders["ci_high"] > stays["ci_high"] + 0.5
    assert wanders["note"] == "upper end: cliffs that no seed showed"
    assert stays["note"] == ""


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
def test_what_lies_unseen_is_finite_and_no_more_than_learning_nothing(edges, odd):
    found = with_edges(edges, np.arange(-3.0, 3.0).tolist())
    for cell, loss in odd.items():
        found.losses[cell] = loss
    assume(not np.isnan(found.losses).all(1).any())
    best = min(4.0, float(best_loss(*found.data)))
    assert 0 <= unseen_at_best(found) <= 4.0 - best + 1e-9
    for place in range(6):
        value = float(np.nanmean(np.minimum(found.losses[place], 4.0)))
        assert 0 <= unseen_at(found, place) <= 4.0 - value + 1e-9
