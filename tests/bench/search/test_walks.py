"""Whole searches of losses that are known, round by round: which settings are asked for, and what is said of them."""

import pytest

from bench.search.base import KnobSearch
from bench.search.edge import Edge
from bench.search.sensitivity import Sensitivity
from bench.search.tune import Tune
from tests.bench.search.curves_by_hand import run, smooth, step, valley


def edge_by_seed(value: float, seed: int) -> float:
    """Edges of the seeds: 0.02, 0.04, 0.06, 0.08, 0.1."""
    return step(0.02 * (1 + seed))(value, seed)


EDGE = Edge(budget=40)
EDGE_OF_A_GRID = Edge(low=1e-3, high=1.0, grid=(1e-3, 1e-2, 3e-2, 0.1, 1.0))
SENSITIVITY = Sensitivity(low=1e-4, high=1.0, per_decade=2, seeds=(0, 1, 2), budget=20)
TUNE = Tune(budget=24, seeds=(0, 1, 2))
LED = "leads with a loss of 0.4{}: what is nearest to it gets its next seed:"
UNTRAINED = "for what is not trained, more than 0.01:"


@pytest.mark.parametrize(
    ("search", "loss", "whys", "note"),
    [
        (
            EDGE,
            edge_by_seed,
            [
                "one value a decade brackets the edge: 1e-05, 0.0001, 0.001, 0.01, 0.1, 1, 10 with seed 0",
                "the edge is near 0.0316, give or take 0.98 decades (seeds differ by a scale of 0.07): "
                "halve the brackets of 5 seeds at 0.0316",
                "the edge is near 0.0745, give or take 1.05 decades (seeds differ by a scale of 0.28): "
                "halve the brackets of 5 seeds at 0.0213, 0.0981",
                "the edge is near 0.0549, give or take 0.48 decades (seeds differ by a scale of 0.24): "
                "halve the brackets of 5 seeds at 0.0161, 0.0555, 0.158",
                "the edge is near 0.0578, give or take 0.36 decades (seeds differ by a scale of 0.21): "
                "halve the brackets of 4 seeds at 0.043, 0.0723, 0.12",
            ],
            "each seed's edge is bracketed within 0.15 decades or as closely as values allow",
        ),
        (
            EDGE_OF_A_GRID,
            step(0.04),
            [
                "one value a decade brackets the edge: 0.001, 0.01, 0.1, 1 with seed 0",
                "the edge is near 0.0316, give or take 0.96 decades (seeds differ by a scale of 0.07): "
                "halve the brackets of 5 seeds at 0.03",
                "the edge is near 0.0662, give or take 0.61 decades (seeds differ by a scale of 0.04): "
                "halve the brackets of 4 seeds at 0.1",
            ],
            "each seed's edge is bracketed within 0.15 decades or as closely as values allow",
        ),
        (
            SENSITIVITY,
            smooth,
            [
                "one value a decade, seeds in turn, outlines the curve: 0.0001, 0.001, 0.01, 0.1, 1",
                f"the score is 1.723, give or take 2.384 {UNTRAINED} 0.01 (seed 1), 0.01 (seed 0), 0.00316 (seed 0) "
                "should tell 69% of how its parts vary",
                f"the score is 1.956, give or take 0.465 {UNTRAINED} 0.0316 (seed 0), 0.0316 (seed 2), "
                "0.0316 (seed 1) should tell 81% of how its parts vary",
                f"the score is 1.789, give or take 0.085 {UNTRAINED} 0.000316 (seed 2), 0.00316 (seed 2), "
                "0.001 (seed 0) should tell 90% of how its parts vary",
                f"the score is 1.794, give or take 0.027 {UNTRAINED} 0.001 (seed 2), 0.000316 (seed 1), "
                "0.00316 (seed 1) should tell 91% of how its parts vary",
            ],
            "what is not trained makes 0.008 of the score uncertain, at most 0.01",
        ),
        (
            TUNE,
            valley,
            [
                "one value a decade: 1e-05 (seed 0), 0.0001 (seed 0), 0.001 (seed 0), 0.01 (seed 0), 0.1 (seed 0), "
                "1 (seed 0), 10 (seed 0)",
                "TPE expects most of 0.00684 (seed 0), 0.0403 (seed 0), 0.00208 (seed 0), 0.287 (seed 0), given 7 "
                "trials",
                "TPE expects most of 0.0188 (seed 0), 0.0207 (seed 0), 0.00042 (seed 0), 0.0664 (seed 0), given 11 "
                "trials",
                f"0.0207 {LED.format('002')} 0.0207 (seed 1), 0.0188 (seed 1)",
                f"0.0207 {LED.format('052')} 0.0207 (seed 2), 0.0188 (seed 2)",
                "TPE expects most of 0.999 (seed 0), 0.0137 (seed 0), 0.000185 (seed 0), 0.0053 (seed 0), given 19 "
                "trials",
                f"0.0207 {LED.format('102')} 0.0137 (seed 1)",
            ],
            "the budget of 24 trials is spent",
        ),
    ],
    ids=["edge", "edge_of_a_grid", "sensitivity", "tune"],
)
def test_every_round_asks_for_these_settings_and_says_why(search: KnobSearch, loss, whys: list[str], note: str):
    rounds, points = run(search, loss)
    assert [ask.why for ask in rounds] == whys
    assert search.answer(points).note == note
    first = points[: len(rounds[0].settings)]
    assert search.answer(first).note.startswith("not finished: ")
    assert search.answer(first).note.endswith(whys[1] if search is not SENSITIVITY else "of the score uncertain")


@pytest.mark.parametrize(
    ("search", "loss", "expected"),
    [
        (EDGE, edge_by_seed, (0.0549135, 0.0234235, 0.120945)),
        (SENSITIVITY, smooth, (1.7902984, 1.3367179, 2.2438789)),
        (TUNE, valley, (0.4102231, 0.3853818, 0.4350646)),
    ],
    ids=["edge", "sensitivity", "tune"],
)
def test_the_answer_of_a_whole_walk(search: KnobSearch, loss, expected: tuple[float, float, float]):
    _, points = run(search, loss)
    answer = search.answer(points)
    assert (answer.value, answer.low, answer.high) == pytest.approx(expected, rel=1e-4)
