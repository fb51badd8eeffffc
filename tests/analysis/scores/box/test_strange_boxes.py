"""Every number of a box keeps to what it can be and is no surer than it may be, whatever the box holds."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from analysis.scores.box.board import box_board, box_differences, score_box
from analysis.scores.box.curves import budget_curves, overtakings, share_curves
from analysis.scores.box.losses import BoxLosses
from analysis.scores.box.numbers import BOX_SCORES
from analysis.scores.seeds.intervals import unseen_share


def box_of(losses_MNS: np.ndarray, num_replicates: int, initial: float = 4.0) -> BoxLosses:
    num_methods, num_points, num_seeds = losses_MNS.shape
    return BoxLosses(
        workload="w",
        optimizer="adamw",
        knobs="",
        methods=tuple("abc"[:num_methods]),
        seeds=tuple(range(num_seeds)),
        points=tuple(range(num_points)),
        losses_MNS=np.minimum(losses_MNS, initial),
        initial_MS=np.full((num_methods, num_seeds), initial),
        replicates_N=np.arange(num_points) * num_replicates // num_points,
        diverged_MNS=np.isinf(losses_MNS),
        num_lost_M=np.zeros(num_methods, dtype=int),
    )


def patterns(rng: np.random.Generator, num_points: int, num_seeds: int) -> dict[str, np.ndarray]:
    """Losses of a method by name, (N, S); NaN where a trial is missing."""
    plain = rng.uniform(0.05, 3.9, (num_points, num_seeds))
    lone = np.full_like(plain, 4.0)
    lone[0] = 0.1
    begun = plain.copy()
    begun[num_points // 8 :] = math.nan
    return {
        "plain": plain,
        "all equal": np.full_like(plain, 0.7),
        "at chance": np.full_like(plain, 4.0),
        "one point learns": lone,
        "some missing": np.where(rng.random(plain.shape) < 0.4, math.nan, plain),
        "hardly begun": begun,
        "diverged": np.where(rng.random(plain.shape) < 0.7, math.inf, plain),
        "skewed": rng.lognormal(-5, 4, plain.shape),
    }


def assert_within(row: dict, name: str, ends: str, domain: tuple[float, float]) -> None:
    low, value, high = row[f"{ends}_low"], row[name], row[f"{ends}_high"]
    assert (low is None) == (high is None)
    if low is not None:
        assert domain[0] - 1e-12 <= low <= value <= high <= domain[1] + 1e-12, (name, low, value, high)


@pytest.mark.parametrize(("num_replicates", "num_seeds"), [(2, 1), pytest.param(8, 3, marks=pytest.mark.repetition)])
@pytest.mark.parametrize("name", patterns(np.random.default_rng(0), 8, 1))
def test_scores_curves_and_differences_keep_to_what_they_can_be(name, num_replicates, num_seeds):
    rng = np.random.default_rng([num_replicates, len(name)])
    found = patterns(rng, 32, num_seeds)
    for other in found:
        losses = np.stack([found[name], found[other], found[name]])
        box = score_box(box_of(losses, num_replicates), {"c": "a"})
        for row in box_board([box]).iter_rows(named=True):
            for score, definition in BOX_SCORES.items():
                assert_within(row, score, f"{score}_ci", definition.domain(box.extent))
            assert_within(row, "floor", "floor_ci", (-1, 1))
        for row in box_differences([box]).iter_rows(named=True):
            domain = BOX_SCORES[row["score"]].difference_domain(box.extent, box.extent)
            assert_within(row, "difference", "ci", domain)
        for row in share_curves([box]).iter_rows(named=True):
            assert_within(row, "share", "ci", (0, 1))
        for row in budget_curves([box]).iter_rows(named=True):
            assert_within(row, "loss", "ci", (0, math.inf))
        overtakings([box])


def test_a_share_of_no_run_reaches_up_by_what_so_many_points_may_not_have_shown():
    good, bad = np.linspace(0.1, 0.2, 64)[:, None], np.linspace(2.0, 3.0, 64)[:, None]
    rows = box_board([score_box(box_of(np.stack([good, bad]), 8), {})]).rows_by_key("method", named=True)
    (row,) = rows["b"]
    assert (row["robust_share_board"], row["robust_share_board_ci_low"]) == (0.0, 0.0)
    assert row["robust_share_board_ci_high"] >= unseen_share(64)


def test_replicates_that_agree_by_chance_are_no_certainty():
    """Two replicates of eight points: in each, as many of the runs of either method are near its best."""
    shares = {"a": 4, "b": 5}
    losses = np.full((2, 16, 1), 3.0)
    for place, num_good in enumerate(shares.values()):
        losses[place, np.r_[:num_good, 8 : 8 + num_good]] = 0.1
    box = score_box(box_of(losses, 2), {})
    rows = box_board([box]).rows_by_key("method", named=True)
    for (row,) in rows.values():
        assert row["robust_share_ci_low"] < row["robust_share"] < row["robust_share_ci_high"]
    difference = box_differences([box]).row(by_predicate=pl.col("score") == "robust_share", named=True)
    assert difference["difference"] == pytest.approx(-0.125)
    assert difference["ci_low"] < -0.125 < difference["ci_high"]
    assert difference["p_value"] > 0.05


def test_a_box_of_which_one_replicate_is_done_has_values_without_intervals():
    losses = np.full((2, 32, 2), math.nan)
    losses[:, :8] = np.linspace(0.1, 3.0, 8)[:, None]
    board = box_board([score_box(box_of(losses, 4), {})])
    assert board["robust_share"].is_not_null().all()
    assert board["robust_share_ci_low"].is_null().all()
    for first, second in itertools.pairwise(board["expected_best_32"]):
        assert first == second
