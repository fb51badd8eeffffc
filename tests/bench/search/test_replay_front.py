"""The replay of fronts: hypervolumes that are counted, searches on a known surface, and the committed replay."""

import numpy as np
import polars as pl
import pytest

from bench.search.tune_box import TuneBox
from tests.bench.search.replay_box import recorded_losses
from tests.bench.search.replay_front import (
    BUDGETS,
    COMPARED,
    NUM_REPEATS,
    SUITES,
    difference,
    hypervolume,
    missing,
    repeats,
    replays,
)
from tests.bench.search.test_replay_box import Box


def test_the_hypervolume_is_the_number_of_cells_that_some_point_dominates():
    rng = np.random.default_rng(0)
    for number in (1, 2, 5, 20):
        first, second = rng.integers(0, 12, (2, number))  # some at the ends, or beyond them
        cells = np.array([[((first <= x) & (second <= y)).any() for y in range(8)] for x in range(10)])
        assert hypervolume(first, second, 10, 8) == cells.sum()


def test_the_missing_share_of_two_points_by_hand():
    losses_NS = np.array([[1.0, 3.0], [2.0, 2.0], [4.0, 4.0]])  # means 2, 2, 4 and worst 3, 2, 4
    initial_S = np.array([4.0, 6.0])  # mean 5, worst 6
    assert missing(losses_NS, initial_S, np.array([0, 1, 2])) == 0
    assert missing(losses_NS, initial_S, np.array([0])) == pytest.approx(1 - 3 * 3 / (3 * 4))
    assert missing(losses_NS, initial_S, np.array([2])) == pytest.approx(1 - 1 * 2 / 12)


def test_repeats_of_all_samplers_start_alike_and_lack_less_and_less():
    units_NK = np.random.default_rng(0).random((512, 2))
    bowl_N = 4 * (units_NK[:, 0] - 0.7) ** 2 + 0.5 * (units_NK[:, 1] < 0.5)
    spread_N = 0.2 * units_NK[:, 0]  # the worst seed is better at small values, the mean at 0.7
    losses_NS = np.clip(np.stack([bowl_N - spread_N, bowl_N + spread_N], 1), 0, 2)
    rows = repeats("m", Box(), units_NK, losses_NS, np.array([2.0, 2.0]), ["random", "nsga2"], [0, 1])
    lacks = rows.select(f"missing_{budget}" for budget in BUDGETS).to_numpy()
    assert (np.diff(lacks) <= 0).all()
    assert (lacks[:, -1] < lacks[:, 0]).all()
    np.testing.assert_array_equal(lacks[:2, 0], lacks[2:, 0])
    regret = rows.select(f"regret_{budget}" for budget in BUDGETS).to_numpy()
    assert (np.diff(regret) <= 0).all()
    assert ((regret >= 0) & (regret <= 1)).all()
    assert difference(rows, "missing_128", "nsga2", "nsga2")["beyond"] == 0


@pytest.mark.parametrize("suite", SUITES)
def test_the_committed_replay_has_all_repeats_from_the_same_starts(suite):
    rows = replays(suite)
    assert dict(rows.group_by("sampler").len().iter_rows()) == dict.fromkeys(COMPARED, 7 * NUM_REPEATS)
    firsts = rows.pivot("sampler", index=("method", "repeat"), values="missing_16")
    assert firsts["random"].to_list() == firsts["tpe"].to_list() == firsts["nsga2"].to_list()
    assert rows.select(pl.col("^(missing|regret)_.*$").is_between(0, 1).all()).row(0) == (True,) * 2 * len(BUDGETS)


@pytest.mark.parametrize("name", ["missing", "regret"])
def test_nsga2_is_better_than_both_others_from_64_settings_on(name):
    """As suites/README.md says it."""
    separated = set()
    for suite in SUITES:
        rows = replays(suite)
        means = rows.group_by("sampler").agg(pl.col(f"^{name}_.*$").mean())
        of_budget = {budget: dict(means.select("sampler", f"{name}_{budget}").iter_rows()) for budget in BUDGETS}
        assert of_budget[32]["nsga2"] > of_budget[32]["tpe"]
        for budget in (64, 128):
            assert min(of_budget[budget], key=lambda one: of_budget[budget][one]) == "nsga2"
        found = {other: difference(rows, f"{name}_128", "nsga2", other) for other in ("random", "tpe")}
        separated |= {(suite, other) for other, one in found.items() if one["ci_high"] < 0}
    assert separated == {("box_small", "random"), ("box_optimizers", "tpe")}
    assert TuneBox().budget // 5 == 48  # with the five seeds of commands


@pytest.mark.whole
def test_the_committed_replay_is_that_of_the_committed_box():
    found = repeats("softmax", *recorded_losses("box_small", "softmax"), ["random", "nsga2"], [3])
    names = [f"{name}_{budget}" for name in ("missing", "regret") for budget in BUDGETS]
    committed = found.select("method", "sampler", "repeat").join(
        replays("box_small"), on=["method", "sampler", "repeat"], maintain_order="left"
    )
    np.testing.assert_allclose(found.select(names).to_numpy(), committed.select(names).to_numpy(), atol=1e-6)
