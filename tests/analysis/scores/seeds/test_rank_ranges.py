"""Rank ranges: by hand, what holds of any of them, and how often they hold the true ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.curves import LossGrid
from analysis.scores.seeds.pairing import corrected, entry_differences
from analysis.scores.seeds.rank_ranges import place_of_best, rank_ranges, rank_text


def mean_loss(losses_LS, initial_S, lrs_L):
    return losses_LS[..., 0, :].mean(-1)


def grid(losses: np.ndarray) -> LossGrid:
    return LossGrid(
        lrs=np.array([1.0]),
        seeds=tuple(range(len(losses))),
        losses=losses[None],
        initial_losses=np.full(len(losses), 9.0),
        num_lost=0,
        is_complete=True,
    )


def entries(losses_KS: np.ndarray) -> dict[tuple[str, ...], LossGrid]:
    return {("w", f"m{place}", "sgd", ""): grid(losses_S) for place, losses_S in enumerate(losses_KS)}


def ranges_of(losses_KS: np.ndarray) -> list[tuple[int, int]]:
    return list(rank_ranges(entries(losses_KS), mean_loss).values())


def test_ranges_by_hand():
    # Each seed adds the same to all but b, which is as good as a on average and differs from it by seed.
    noise = np.array([0.0, 0.01, -0.01, 0.02])
    a, b = 1.0 + noise, 1.0 + noise[::-1] * 3
    assert ranges_of(np.stack([a, b, a + 1.0, a + 2.0])) == [(1, 2), (1, 2), (3, 3), (4, 4)]


def test_a_tie_of_unlike_entries_is_not_transitive():
    # The first beats the last, and neither is told apart from the one between: ranges, not letters of equal groups.
    middle = 1.5 + np.array([-0.9, 0.9, -0.7, 0.7, 0.1, -0.1])
    steady = np.random.default_rng(0).normal(0, 0.02, (2, 6))
    assert ranges_of(np.stack([1.0 + steady[0], middle, 2.0 + steady[1]])) == [(1, 2), (1, 3), (2, 3)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 10**6))
def test_ranges_are_within_the_entries_and_hold_the_order_by_value(num_entries, num_seeds, seed):
    losses_KS = np.random.default_rng(seed).normal(0, 1, (num_entries, num_seeds)) + np.arange(num_entries)[:, None]
    found, order = ranges_of(losses_KS), losses_KS.mean(1).argsort().argsort() + 1
    assert all(
        1 <= least <= rank <= largest <= num_entries for (least, largest), rank in zip(found, order, strict=True)
    )
    pairs = entry_differences(mean_loss, list(entries(losses_KS).values()))
    num_separated = sum(p_holm < 0.05 for p_holm in corrected(pairs))
    assert sum(least - 1 for least, _ in found) == sum(num_entries - largest for _, largest in found) == num_separated


@pytest.mark.parametrize("apart", [0.0, 0.2, 0.5])
def test_all_ranges_of_a_suite_hold_at_once(apart):
    # 5% of 300 suites of 4 entries and 5 seeds may have a range without any rank that the true means leave possible.
    rng, true = np.random.default_rng(5), np.arange(4) * apart
    least = [1 + int((true < mean).sum()) for mean in true]
    largest = [4 - int((true > mean).sum()) for mean in true]
    missed = 0
    for _ in range(300):
        found = ranges_of(true[:, None] + rng.normal(0, 0.3, (4, 5)) + rng.normal(0, 1, 5))
        held = [low <= most and high >= few for (low, high), few, most in zip(found, least, largest, strict=True)]
        missed += not all(held)
    assert missed / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_ranges_as_text():
    assert [rank_text(1, 1), rank_text(1, 3), rank_text(None, None)] == ["1", "1-3", "–"]


def test_the_best_is_the_lowest_that_learned_and_has_a_rank():
    rows = [
        {"flags": "at_chance", "rank": None, "lr_sensitivity": 0.1},
        {"flags": "few_seeds", "rank": None, "lr_sensitivity": 0.2},
        {"flags": "", "rank": 1, "lr_sensitivity": 0.3},
    ]
    assert place_of_best(rows) == 2
    assert place_of_best(rows[:2]) == 1
    assert place_of_best(rows[:1]) is None
