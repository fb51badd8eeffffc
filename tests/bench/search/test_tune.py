"""Tuning a curve whose best value is known."""

import math

import numpy as np
import optuna
import pytest

from bench.search.base import show
from bench.search.tune import Tune
from tests.bench.search.curves_by_hand import INITIAL, run, step, valley


@pytest.mark.parametrize("sampler_seed", [0, 1, 2])
def test_best_value_of_avalley_is_found(sampler_seed: int):
    search = Tune(budget=30, sampler_seed=sampler_seed)
    rounds, points = run(search, valley)
    answer = search.answer(points)
    listed = ", ".join(f"{show(value)} (seed 0)" for value in search.decade_values(1))
    assert rounds[0].why == f"one value a decade: {listed}"
    assert answer.value <= 1.1 * 0.42
    assert abs(math.log10(answer.best_value / 0.02)) < 0.25
    assert answer.low <= answer.value <= answer.high
    assert answer.num_trials == 30
    assert answer.num_trials_to_target is not None
    assert 1 <= answer.num_trials_to_target <= 30


def test_answer_is_the_mean_over_all_seeds_with_a_t_interval():
    search = Tune(budget=30)
    _, points = run(search, valley)
    answer = search.answer(points)
    losses = np.array([point.final_loss for point in points if point.value == answer.best_value])
    assert len(losses) == 5
    assert answer.value == pytest.approx(losses.mean(), abs=1e-12)
    assert answer.high - answer.value == pytest.approx(2.776445 * losses.std(ddof=1) / math.sqrt(5), rel=1e-5)


def test_settings_that_stay_worse_get_one_seed():
    search = Tune(budget=30)
    _, points = run(search, valley)
    counts = {value: sum(point.value == value for point in points) for value in {p.value for p in points}}
    assert all(count == 1 for value, count in counts.items() if valley(value, 0) > 2 * valley(0.02, 0))
    assert max(counts.values()) == 5


def test_sampler_seed_matters():
    asked = [tuple(ask.settings for ask in run(Tune(sampler_seed=seed), valley)[0]) for seed in (0, 1)]
    assert asked[0][0] == asked[1][0]
    assert asked[0][1] != asked[1][1]


def test_rounds_of_a_narrow_range_ask_for_each_value_once():
    """Among so few values of three digits the sampler proposes some again, which `run` refuses."""
    search = Tune(low=0.02, high=0.021, batch=8, budget=40)
    _, points = run(search, valley)
    assert {point.value for point in points} == {0.02, *(round(0.02 + place / 1e4, 4) for place in range(1, 11))}


def test_optuna_says_nothing_and_keeps_its_verbosity(capfd: pytest.CaptureFixture[str]):
    before = optuna.logging.get_verbosity()
    run(Tune(), valley)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_a_setting_with_a_diverged_seed_is_not_the_answer():
    def loss(value: float, seed: int) -> float:
        return math.inf if value > 0.5 or (value > 0.05 and seed == 1) else 0.3 if value > 0.05 else 0.5

    search = Tune(budget=40)
    _, points = run(search, loss)
    answer = search.answer(points)
    assert answer.best_value <= 0.05
    assert answer.value == pytest.approx(0.5)


def test_lost_trials_are_not_asked_again():
    search = Tune(budget=36)
    _, points = run(search, valley, lost=lambda number: number % 5 == 3)
    assert search.answer(points).value <= 1.1 * 0.42


def test_everything_lost_has_no_answer():
    search = Tune(budget=20)
    _, points = run(search, valley, lost=lambda number: True)
    answer = search.answer(points)
    assert math.isnan(answer.value)
    assert math.isnan(answer.best_value)
    assert answer.num_trials_to_target is None


def test_everything_diverged_answers_the_loss_at_init():
    search = Tune(budget=20)
    _, points = run(search, step(0.0))
    answer = search.answer(points)
    assert answer.value == INITIAL


def test_one_seed():
    search = Tune(seeds=(2,), budget=20)
    _, points = run(search, valley)
    answer = search.answer(points)
    assert answer.value <= 1.1 * 0.42
    assert (answer.low, answer.high) == (-math.inf, math.inf)
