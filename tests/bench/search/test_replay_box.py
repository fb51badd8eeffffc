"""What the replay of searches on a recorded box rests on: a surface that is known, and the committed replay."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.search.samplers import Unit
from bench.search.tune_box import TuneBox
from tests.bench.search.replay_box import BUDGETS, NUM_REPEATS, REPLAYED, recorded, repeats, replayed, replays, summary


@dataclass(frozen=True)
class Box:
    """A number, and a list of two."""

    names: tuple[str, ...] = ("x", "kind")
    counts: tuple[int, ...] = (0, 2)
    num_settings: float = math.inf

    def values_at(self, point: Unit) -> dict[str, Any]:
        return {"x": round(point[0], 4), "kind": point[1] > 0.5}


@pytest.fixture(scope="module")
def surface() -> tuple[np.ndarray, np.ndarray]:
    """512 points, and a bowl around 0.7 of the number for the second value of the list; that of the other is flat."""
    units = np.random.default_rng(0).random((512, 2))
    regret = np.clip(4 * (units[:, 0] - 0.7) ** 2 + 0.5 * (units[:, 1] < 0.5), 0, 1)
    return units, regret - regret.min()


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "cmaes"])
def test_regret_falls_and_every_setting_is_told_once(surface, sampler):
    units, regret = surface
    found = replayed(sampler, 0, Box(), units, regret, 24)
    assert (np.diff(found) <= 0).all()
    assert len(found) == 24
    np.testing.assert_array_equal(found, replayed(sampler, 0, Box(), units, regret, 24))


@pytest.mark.whole
def test_repeats_of_all_samplers_start_alike_and_tpe_ends_nearer(surface):
    units, regret = surface
    rows = repeats("m", Box(), units, regret, 1e-4, ["random", "tpe"], range(6))
    firsts = rows.pivot("sampler", index="repeat", values="regret_16")
    assert firsts["random"].to_list() == firsts["tpe"].to_list()
    means = {sampler: rows.filter(sampler=sampler)["regret_64"].mean() for sampler in ("random", "tpe")}
    assert means["tpe"] < means["random"]
    assert summary(rows).filter(sampler="random")["beyond_random"].to_list() == [0.0] * len(BUDGETS)


@pytest.mark.whole
def test_the_committed_replay_is_that_of_the_committed_box():
    """One repeat of a method, by samplers that rounding does not sway."""
    committed = replays("box_small")
    assert dict(committed.group_by("sampler").len().iter_rows()) == dict.fromkeys(REPLAYED, 7 * NUM_REPEATS)
    found = repeats("relu_kernel", *recorded("box_small", "relu_kernel"), ["random", "qmc", "cmaes"], [3])
    expected = found.select("method", "sampler", "repeat").join(
        committed, on=["method", "sampler", "repeat"], maintain_order="left"
    )
    assert found["num_to_target"].to_list() == expected["num_to_target"].to_list()
    for budget in BUDGETS:
        assert found[f"regret_{budget}"].to_list() == pytest.approx(expected[f"regret_{budget}"].to_list(), abs=1e-6)


def test_the_default_sampler_is_the_best_on_the_other_methods_whichever_is_held_out():
    rows = replays("box_small")
    for held_out in rows["method"].unique():
        others = rows.filter(pl.col("method") != held_out).group_by("sampler").agg(pl.col("regret_32").mean())
        assert others.sort("regret_32")["sampler"][0] == TuneBox().sampler
