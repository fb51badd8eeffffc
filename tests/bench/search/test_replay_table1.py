"""Searches on the recorded dense study; the figures are printed by `python -m tests.bench.search.replay_table1`."""

import random

import numpy as np
import pytest

from bench.search.base import Search, replay
from bench.search.edge import Edge
from bench.search.sensitivity import Sensitivity
from bench.search.tune import Tune
from tests.bench.search.replay_table1 import (
    coverage,
    dense_score,
    edge_repeats,
    recorded,
    same_ranking,
    sensitivity_repeats,
    tune_repeats,
    values,
)

GRID = values(recorded()["softmax"])
SEARCHES = (
    Edge(grid=GRID, budget=38),
    Sensitivity(grid=GRID, budget=31),
    Tune(grid=GRID, budget=30),
)


@pytest.mark.whole
def test_edge_is_near_the_dense_one_for_two_fifths_of_the_trials():
    repeats = edge_repeats(10)
    assert len(repeats) == 70
    assert max(abs(repeat.error) for repeat in repeats) <= 0.15
    assert max(repeat.answer.num_trials for repeat in repeats) <= 38


@pytest.mark.slow
@pytest.mark.parametrize("grid", [True, False])
def test_interval_of_the_edge_covers_the_true_one(grid: bool):
    shares = coverage(50, grid)
    assert len(shares) == 7
    assert np.mean(list(shares.values())) >= 0.9
    assert min(shares.values()) >= 0.8  # 0.9 within two binomial errors of 50 searches


@pytest.mark.slow
def test_sensitivity_is_near_the_dense_one_for_a_third_of_the_trials():
    """Not in every repeat; the module's table has the figures."""
    repeats = sensitivity_repeats(recorded(), 5, tolerance=0.01, budget=31)
    known = recorded()
    errors = np.array([repeat.error for repeat in repeats]).reshape(7, 5)
    assert max(repeat.answer.num_trials for repeat in repeats) <= 31
    assert (np.abs(errors) <= 0.05).mean() >= 0.95
    assert np.sqrt((errors**2).mean(1)).max() <= 0.05
    scores = np.array([repeat.answer.value for repeat in repeats]).reshape(7, 5)
    dense = np.array([dense_score(points) for points in known.values()])
    order = np.argsort(dense)
    assert (np.argsort(scores.mean(1)) == order).all()  # two pairs are 0.055 and 0.024 apart: not in each repeat
    apart = [(a, b) for a in range(7) for b in range(7) if dense[a] + 0.1 < dense[b]]
    assert np.mean([scores[a] < scores[b] for a, b in apart]) >= 0.99


@pytest.mark.slow
def test_sensitivity_that_spends_a_third_of_the_trials_ranks_as_the_dense_one():
    repeats = sensitivity_repeats(recorded(), 20, tolerance=0.01, budget=31)
    assert max(repeat.answer.num_trials for repeat in repeats) <= 31
    assert max(abs(repeat.error) for repeat in repeats) <= 0.05
    assert same_ranking(repeats) == 1.0


@pytest.mark.slow
def test_tuning_is_near_the_best_dense_loss():
    repeats = tune_repeats(5)
    assert max(repeat.answer.num_trials for repeat in repeats) <= 30
    # 130 of 140 in 20 repeats: of sigma-reparam two rates are nearly as good, and half of its replays choose the other.
    assert np.mean([repeat.error <= 0.05 for repeat in repeats]) >= 0.9
    missed = {repeat.method for repeat in repeats if repeat.error > 0.05}
    assert missed <= {"sigma_reparam_qk"}


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
@pytest.mark.parametrize(
    "method", [pytest.param("softmax", marks=pytest.mark.repetition), "qk_layernorm_weight_clipped"]
)
def test_a_search_killed_after_any_round_goes_on_as_if_it_was_not(search: Search, method: str):
    known = recorded()[method]
    rounds, points, missing = replay(search, known)
    assert missing == ()
    shuffle = random.Random(3)
    for number, ask in enumerate(rounds):
        so_far = [known[setting] for earlier in rounds[:number] for setting in earlier.settings]
        shuffle.shuffle(so_far)
        assert search.next(so_far) == ask
        half = ask.settings[: len(ask.settings) // 2]  # of this round, some trials were finished
        found = {(point.value, point.seed): point for point in so_far} | {setting: known[setting] for setting in half}
        again, complete, missing = replay(search, found)
        assert again == rounds[: number + 1]
        assert len(complete) == len(so_far)
        assert missing == ask.settings[len(half) :]
    answer = search.answer(points)
    shuffle.shuffle(points)
    assert search.answer(points) == answer
    assert search.next(points) is None


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
def test_only_grid_values_are_asked_and_each_once(search: Search):
    rounds, points, _ = replay(search, recorded()["relu_kernel"])
    settings = [setting for ask in rounds for setting in ask.settings]
    assert len(set(settings)) == len(settings) == len(points) <= search.budget
    assert {value for value, _ in settings} <= set(GRID)
