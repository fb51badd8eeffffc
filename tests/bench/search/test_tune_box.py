"""Tuning a box whose best setting is known, by every sampler."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench.search.base import Ask, Point, replay
from bench.search.samplers import SAMPLERS, SamplerName, Unit
from bench.search.tune_box import TuneBox
from tests.repetitions import one_of_each_kind

INITIAL = 3.0


@dataclass(frozen=True)
class Box:
    """Two numbers, a list of two, and a number that acts with the first value of the list alone."""

    names: tuple[str, ...] = ("x", "y", "kind", "z")
    counts: tuple[int, ...] = (0, 0, 2, 0)
    num_settings: float = math.inf

    def values_at(self, point: Unit) -> dict[str, Any]:
        x, y, kind, z = point
        first = kind < 0.5
        return {"x": round(x, 3), "y": round(y, 3), "kind": "ab"[not first], "z": round(z, 3) if first else None}


@dataclass(frozen=True)
class Few:
    """Twelve settings."""

    names: tuple[str, ...] = ("n", "kind")
    counts: tuple[int, ...] = (0, 3)
    num_settings: float = 12

    def values_at(self, point: Unit) -> dict[str, Any]:
        return {"n": int(4 * point[0]), "kind": int(3 * point[1])}


def bowl(unit: Unit, seed: int) -> float:
    """Least, 0.4 and a little by seed, at x = 0.7, y = 0.3 with the first value of the list; diverged above x = 0.9."""
    x, y, kind, z = unit
    depth = 8 * (x - 0.7) ** 2 + 2 * (y - 0.3) ** 2 + 0.5 * (kind > 0.5) + 0.1 * z
    return math.inf if x > 0.9 else 0.4 + 0.01 * seed + min(depth, 2.0)


def search(**parameters: Any) -> TuneBox:
    return TuneBox(**{"budget": 96, "seeds": (0, 1), "space": Box(), **parameters})


def run(
    tuned: TuneBox, loss: Callable[[Unit, int], float] = bowl, lost: Callable[[int], bool] = lambda number: False
) -> tuple[list[Ask[Unit]], list[Point[Unit]]]:
    """Rounds and points of a whole search; `lost` says which trial, by its number, is lost. Checks every ask."""
    rounds: list[Ask[Unit]] = []
    points: list[Point[Unit]] = []
    while (ask := tuned.next(points)) is not None:
        asked = {str(tuned.space.values_at(point.value)) for point in points}
        new = [str(tuned.space.values_at(unit)) for unit, seed in ask.settings if seed == tuned.seeds[0]]
        assert len(set(new)) == len(new)
        assert not asked & set(new)
        rounds.append(ask)
        for unit, seed in ask.settings:
            final, initial = (math.nan, math.nan) if lost(len(points)) else (loss(unit, seed), INITIAL)
            points.append(Point(value=unit, seed=seed, final_loss=final, initial_loss=initial))
        assert len(points) <= tuned.budget
    return rounds, points


@pytest.mark.parametrize("sampler", one_of_each_kind(["tpe", "gp", "cmaes", "nsga2"], ["tpe"]))
def test_samplers_come_nearer_than_the_design_they_start_from(sampler: SamplerName):
    tuned = search(sampler=sampler, budget=48 if sampler == "gp" else 96)
    _, points = run(tuned)
    answer = tuned.answer(points)
    first = min(bowl(unit, 0) for unit in tuned.first_settings)
    assert answer.value - 0.405 < 0.5 * (first - 0.4)
    assert answer.low < answer.value < answer.high
    assert (answer.num_trials, answer.best["kind"], answer.note) == (tuned.budget, "a", "the budget is spent")
    assert answer.num_trials_to_target is not None
    assert 32 < answer.num_trials_to_target <= tuned.budget


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2", "random", "qmc"])
def test_rounds_follow_from_points_in_any_order(sampler: SamplerName):
    tuned = search(sampler=sampler, budget=64)
    rounds, points = run(tuned)
    assert [len(ask.settings) for ask in rounds] == [32, 16, 16]
    assert tuned.first_settings == tuple(unit for unit, seed in rounds[0].settings if seed == 0)
    mixed = [points[place] for place in np.random.default_rng(0).permutation(48)]
    assert tuned.next(mixed) == rounds[2]


@pytest.mark.parametrize("sampler", ["cmaes", "nsga2"])
def test_a_search_stopped_after_any_trial_asks_for_what_is_missing_and_ends_the_same(sampler: SamplerName):
    """Ten moments; what came back in part of a round is not lost."""
    tuned = search(sampler=sampler)
    rounds, points = run(tuned)
    known = {(point.value, point.seed): point for point in points}
    for kept in np.random.default_rng(1).choice(len(points), 10, replace=False).tolist():
        there = dict(list(known.items())[:kept])
        asked, _, missing = replay(tuned, there)
        assert asked == rounds[: len(asked)]
        assert missing == tuple(one for one in asked[-1].settings if one not in there)
    assert replay(tuned, known) == (rounds, points, ())


@pytest.mark.whole
def test_another_process_asks_for_the_same():
    code = (
        "import json; from tests.bench.search.test_tune_box import SAMPLERS, search, run\n"
        "print(json.dumps([run(search(sampler=name, budget=48))[0][1].settings for name in SAMPLERS]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [run(search(sampler=name, budget=48))[0][1].settings for name in SAMPLERS]
    assert json.loads(done.stdout) == json.loads(json.dumps(here))


@pytest.mark.whole
def test_seed_and_sampler_matter():
    asked = {
        (sampler, seed): run(search(sampler=sampler, sampler_seed=seed, budget=48))[0][1].settings
        for sampler in SAMPLERS
        for seed in (0, 1)
    }
    assert len(set(asked.values())) == len(asked)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2", "random", "qmc"])
def test_a_box_of_few_settings_is_asked_for_once_each(sampler: SamplerName):
    tuned = search(sampler=sampler, space=Few(), startup=4, batch=3, budget=90)
    _, points = run(tuned, lambda unit, seed: unit[0] + unit[1])
    assert len(points) <= 24
    assert tuned.answer(points).note == f"{sampler} asks for no setting that there was not"
    assert len({str(Few().values_at(point.value)) for point in points}) == len(points) // 2 >= 7


def test_knobs_that_do_not_act_stand_at_zero():
    _, points = run(search(sampler="tpe"))
    assert {point.value[3] for point in points if point.value[2] > 0.5} == {0.0}
    assert len({point.value[3] for point in points if point.value[2] < 0.5}) > 8
    assert {point.value[2] for point in points} == {0.25, 0.75}


def test_the_answer_is_the_mean_over_seeds_of_the_least_that_did_not_diverge():
    def loss(unit: Unit, seed: int) -> float:
        return math.inf if unit[0] > 0.5 and seed == 1 else 0.2 if unit[0] > 0.5 else 1.0 + seed

    tuned = search(budget=48)
    answer = tuned.answer(run(tuned, loss)[1])
    assert answer.value == pytest.approx(1.5)
    assert answer.best["x"] <= 0.5
    assert answer.high - answer.value == pytest.approx(12.706205 * math.sqrt(0.5 / 2), rel=1e-5)


def test_a_loss_at_init_that_a_knob_moves_counts_by_its_median():
    tuned = search(budget=32)
    units = tuned.first_settings
    points = [
        Point(value=unit, seed=seed, final_loss=math.inf, initial_loss=1e6 if place == 0 else INITIAL)
        for place, unit in enumerate(units)
        for seed in (0, 1)
    ]
    assert tuned.answer(points).value == INITIAL


def test_lost_trials_are_left_out_and_not_asked_again():
    tuned = search()
    answer = tuned.answer(run(tuned, lost=lambda number: number % 5 == 3)[1])
    assert answer.value < 0.8
    gone = tuned.answer(run(tuned, lost=lambda number: True)[1])
    assert math.isnan(gone.value)
    assert (gone.best, gone.num_trials_to_target, gone.num_trials) == ({}, None, 96)


def risky(unit: Unit, seed: int) -> float:
    """The mean is least at x = 0, where the two seeds are farthest apart: mean 1 + x, worst 1 + x + 2 (1 - x)."""
    x = round(unit[0], 3)
    return 1 + x + (2 * seed - 1) * 2 * (1 - x)


def test_the_front_holds_what_no_setting_betters_in_mean_and_worst_loss():
    tuned = search(sampler="nsga2", budget=160)
    rounds, points = run(tuned, risky)
    answer = tuned.answer(points)
    of_unit = {unit: [risky(unit, seed) for seed in (0, 1)] for ask in rounds for unit, _ in ask.settings}
    both = {unit: (sum(losses) / 2, max(losses)) for unit, losses in of_unit.items()}
    undominated = {
        one
        for one in both.values()
        if not any(other != one and all(map(float.__le__, other, one)) for other in both.values())
    }
    assert [(one.mean, one.worst) for one in answer.front] == sorted(undominated)
    assert len(answer.front) > 3, "what is gained in the mean is lost in the worst"
    assert answer.front[0].mean == answer.value


@pytest.mark.parametrize("sampler", one_of_each_kind(["nsga2", "tpe", "cmaes"], ["nsga2", "tpe"]))
def test_nsga2_alone_is_told_how_far_the_worst_seed_lies_from_the_mean(sampler: SamplerName):
    """Two losses of one mean everywhere, 1 + x, whose seeds agree or lie y above and below it."""

    def asked(loss: Callable[[Unit, int], float]) -> list[object]:
        return [ask.settings for ask in run(search(sampler=sampler), loss)[0]]

    of_level = asked(lambda unit, seed: 1 + round(unit[0], 3))
    of_spread = asked(lambda unit, seed: 1 + round(unit[0], 3) + (2 * seed - 1) * round(unit[1], 3))
    assert of_level[0] == of_spread[0]
    assert (of_level == of_spread) == (sampler != "nsga2")


def test_a_generation_is_of_settings_that_came_back_whole():
    """Every seventh trial lost: what comes back in part is not told, and the search goes on to its end."""
    tuned = search(sampler="nsga2", budget=160)
    rounds, points = run(tuned, lost=lambda number: number % 7 == 0)
    lost = {point.value for point in points if point.is_lost}
    assert 0 < len(lost) < len({point.value for point in points})
    assert len(points) == tuned.budget
    known = {(point.value, point.seed): point for point in points}
    assert replay(tuned, known) == (rounds, points, ())


def test_settings_with_a_seed_lost_or_diverged_are_not_on_the_front():
    def loss(unit: Unit, seed: int) -> float:
        return math.inf if seed and unit[0] > 0.5 else bowl(unit, seed)

    tuned = search(sampler="nsga2")
    _, points = run(tuned, loss, lost=lambda number: number % 7 == 0)
    lost = {point.value for point in points if point.is_lost}
    spoiled = [tuned.space.values_at(unit) for unit in lost]
    front = tuned.answer(points).front
    assert front
    assert all(one.values["x"] <= 0.5 for one in front)
    assert not any(one.values | {"z": one.values.get("z")} in spoiled for one in front)


def test_other_samplers_have_no_front():
    tuned = search(sampler="random", budget=48)
    assert tuned.answer(run(tuned)[1]).front == ()
