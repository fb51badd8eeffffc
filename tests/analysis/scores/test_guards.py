"""Flags: each rule on the side where it speaks and where it does not."""

import dataclasses
import math

import numpy as np
import pytest

from analysis.curves import LossGrid
from analysis.scores.flags import FLAGS, flag_text
from analysis.scores.guards import cliff_share, knob_flags
from analysis.scores.knob_maps import KnobMap
from analysis.scores.leaderboard import leaderboard
from tests.analysis.synthetic_results import frame, row

INF = math.inf


def grid(curve: list[float], initial: float = 4.0, seeds: int = 1) -> LossGrid:
    return LossGrid(
        lrs=10.0 ** np.arange(len(curve)),
        seeds=tuple(range(seeds)),
        losses=np.repeat(np.array(curve)[:, None], seeds, 1),
        initial_losses=np.full(seeds, initial),
        num_lost=0,
        is_complete=True,
    )


@pytest.mark.parametrize(
    ("curve", "share"),
    [
        ([1.0, 1.0, 1.0, INF], 1.0),  # the score is 3/4, all of it this cliff's step
        ([1.0, 1.0, INF, INF], 0.5),  # the score is 6/4, a step is worth 3/4
        ([3.0, 1.0, 2.0, INF], 0.5 / 1.5),  # score 1.5; from 2 up to 4 over 4
        ([INF, 1.0, 1.0, 1.0], 0.0),  # a wall below is no cliff above
        ([1.0, 1.0, 1.0, 1.0], 0.0),
        ([1.0, 4.0, 1.0, 3.0], 0.75 / 1.25),  # two cliffs: the larger, from 1 up to 4 over 4; score 1.25
        ([1.0, 3.0, 1.0, 4.0], 0.75 / 1.25),
        ([1.0, math.nan, INF, INF], 1.0 / 2.0),  # a missing lr is left out: (4 - 1) / 3 of a mean of 3 less 1
    ],
)
def test_share_of_a_cliff_by_hand(curve, share):
    for score in ("lr_sensitivity", "lr_sensitivity_seedwise"):
        assert cliff_share(grid(curve), score) == pytest.approx(share)


def knob_map(losses_XY: list[list[float]], seeds: tuple[int, ...] = (0, 1, 2, 3, 4)) -> KnobMap:
    """Three values by three, a loss of 4 at init, and all seeds alike."""
    values, initial = np.array([1.0, 2.0, 3.0]), np.full((3, 3, len(seeds)), 4.0)
    losses = np.array(losses_XY)[..., None] + 0 * initial
    return KnobMap(
        x_values=values,
        y_values=values,
        seeds=seeds,
        losses=losses,
        initial_losses=initial,
        num_lost=0,
        num_unclipped=0,
        is_complete=True,
    )


@pytest.mark.parametrize(("best", "expected"), [(1.0, {"best_at_border", "lr_at_border"}), (3.9, {"at_chance"})])
def test_a_map_at_chance_has_nothing_at_its_border(best, expected):
    """The least loss lies in a corner, and is chance where it is less than 5% below the loss at init."""
    found = knob_map([[best, 4.0, 4.0], [4.0, 4.0, 4.0], [4.0, 4.0, 4.0]])
    assert knob_flags(found, (1.0, 2.0, 3.0)) == expected


BEST_INSIDE = [[4.0, 3.0, 4.0], [3.5, 1.0, 3.5], [4.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_unclipped": 1}, "no_init_loss"),
        ({"num_lost": 1}, "lost_trials"),
        ({"is_complete": False}, "incomplete"),
        ({"x_values": np.array([1.0, 2.0, 4.0])}, "other_grid"),
    ],
)
def test_a_map_is_flagged_for_what_it_lacks(change, word):
    complete = knob_map(BEST_INSIDE)
    assert knob_flags(complete, (1.0, 2.0, 3.0)) == set()
    assert knob_flags(dataclasses.replace(complete, **change), (1.0, 2.0, 3.0)) == {word}


def test_a_map_of_two_seeds_has_few():
    assert knob_flags(knob_map(BEST_INSIDE, seeds=(0, 1)), (1.0, 2.0, 3.0)) == {"few_seeds"}


def test_share_of_a_cliff_is_of_the_curve_that_the_score_is_of():
    """One seed of two diverges at the second lr: all of it is clipped, or a half."""
    seeds = LossGrid(
        lrs=np.array([0.1, 1.0, 10.0]),
        seeds=(0, 1),
        losses=np.array([[1.0, 1.0], [1.0, INF], [INF, INF]]),
        initial_losses=np.array([3.0, 5.0]),
        num_lost=0,
        is_complete=True,
    )
    # curves 1, 4, 4 and 1, 3, 4: scores 2 and 5/3, cliffs of 3 and 2
    assert cliff_share(seeds, "lr_sensitivity") == pytest.approx(3 / 3 / 2)
    assert cliff_share(seeds, "lr_sensitivity_seedwise") == pytest.approx(2 / 3 / (5 / 3))


def test_share_of_a_cliff_does_not_depend_on_units_or_constants():
    curve = [3.0, 1.0, 2.0, 3.9]
    expected = cliff_share(grid(curve), "lr_sensitivity")
    assert cliff_share(grid([3 * loss + 5 for loss in curve], 17.0), "lr_sensitivity") == pytest.approx(expected)


def test_a_wandering_cliff_is_flagged_on_the_board():
    rows = [
        row(method, 10.0**power, seed, 1.0 if power <= edge else INF)
        for method, edges in (("wanders", (-3, -1, 0)), ("stays", (-1, -1, 0)))
        for seed, edge in enumerate(edges)
        for power in range(-4, 2)
    ]
    found = dict(leaderboard(frame(rows)).select("method", "flags").iter_rows())
    assert {method: "cliff_wanders" in flags.split(",") for method, flags in found.items()} == {
        "wanders": True,
        "stays": False,
    }


def test_methods_at_chance_have_no_cliff():
    """Whatever moves up and down within 5% of the loss at init is noise."""
    rows = [
        row(method, 10.0**power, seed, best if power <= edge else INF)
        for method, best in (("learned", 1.0), ("at_chance", 3.9))
        for seed, edge in enumerate((-2, -1, 0))
        for power in range(-4, 2)
    ]
    found = {method: set(flags.split(",")) for method, flags in leaderboard(frame(rows))["method", "flags"].rows()}
    assert found["learned"] >= {"cliff_wanders", "coarse_cliff"}
    assert "at_chance" in found["at_chance"]
    assert not found["at_chance"] & {"cliff_wanders", "coarse_cliff", "best_at_border"}


def board(curves: dict[str, list[float]], jitter: float = 0.001) -> dict[str, str]:
    rows = [
        row(method, float(lr), seed, loss + jitter * seed)
        for method, curve in curves.items()
        for lr, loss in zip(np.logspace(-4, 0, len(curve)), curve, strict=True)
        for seed in range(3)
    ]
    return dict(leaderboard(frame(rows)).select("method", "flags").iter_rows())


def test_coarse_cliff_is_flagged_above_a_quarter():
    coarse, fine = [2.0, 1.0, 1.0, INF, INF], [3.0] * 4 + [1.0] * 2 + [INF] * 5
    assert board({"m": coarse}) == {"m": "coarse_cliff"}
    assert board({"m": fine}) == {"m": ""}


def test_less_than_half_of_what_the_best_learned_is_flagged():
    # At init 4: 3 learned, and 1.6 or 1.4.
    flags = board({"best": [4.0, 1.0, 1.1, 4.0], "more": [4.0, 2.4, 2.4, 4.0], "less": [4.0, 2.6, 2.6, 4.0]})
    assert {method: "learned_little" in words for method, words in flags.items()} == {
        "best": False,
        "more": False,
        "less": True,
    }


def test_what_is_learned_is_compared_with_the_same_optimizer():
    rows = [
        row(method, lr, seed, best if lr == 0.1 else 4.0, optimizer=optimizer)
        for method, optimizer, best in (("a", "sgd", 3.0), ("b", "sgd", 3.2), ("a", "adamw", 0.5))
        for lr in (0.01, 0.1, 1.0)
        for seed in range(3)
    ]
    assert not leaderboard(frame(rows))["flags"].str.contains("learned_little").any()


def test_a_moved_curve_is_flagged():
    # The reference's curve one grid step, 0.4 decades, higher.
    base = [4.0, 3.8, 3.0, 2.0, 1.0, 1.2, 2.0, 3.0, 3.8, 4.0, 4.0]
    flags = board({"softmax": base, "moved": [4.0, *base[:-1]], "other": [4.0, 3.8, 3.0] + [1.0, 0.9] * 4})
    assert {method: "lr_shifted" in words for method, words in flags.items()} == {
        "softmax": False,
        "moved": True,
        "other": False,
    }


def test_methods_that_seeds_do_not_separate_are_flagged_on_the_better():
    losses = {"a": (2.0, 2.2, 2.1), "b": (2.2, 2.0, 2.12), "c": (3.0, 3.1, 3.2)}
    rows = [
        row(method, lr, seed, 1.0 if lr == 0.1 else worse)
        for method, of_seed in losses.items()
        for seed, worse in enumerate(of_seed)
        for lr in (0.01, 0.1)
    ]
    found = leaderboard(frame(rows))
    assert found["method"].to_list() == ["a", "b", "c"]
    assert found["flags"].to_list() == ["best_at_border,needs_seeds", "best_at_border", "best_at_border"]


def test_flags_are_in_one_order():
    assert flag_text({"few_seeds", "at_chance"}) == "at_chance,few_seeds"
    assert flag_text(set()) == ""


def test_every_flag_has_a_sentence_and_a_short_name():
    assert all(sentence.endswith(".") for sentence in FLAGS.values())
    assert all(len(word) <= 14 for word in FLAGS)


def test_flags_do_not_depend_on_the_order_of_rows():
    rows = [
        row(m, 10.0**x, s, 1.0 + 0.1 * s + abs(x + k))
        for k, m in enumerate(("softmax", "m", "n"))
        for x in range(-4, 2)
        for s in range(3)
    ]
    data = frame(rows)
    assert leaderboard(data).equals(leaderboard(data.sample(fraction=1.0, shuffle=True, seed=1)))
