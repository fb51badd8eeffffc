"""Fixed results to exact scores, and a defined answer for every kind of awkward data: the contract of the scores."""

import math

import polars as pl
import pytest

from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import leaderboard
from analysis.scores.table import NOT_SEPARATED, score_differences
from tests.analysis.scored_results import scored_entries, scored_table
from tests.analysis.synthetic_results import TRACE_SCHEMA, frame, row

INF, NAN = math.inf, math.nan
# Exact in binary: losses at init 4, best lr 0.1 with loss 1, seeds 0.5 apart.
GOLDEN = {0.01: [2.0, 3.0], 0.1: [0.75, 1.25], 1.0: [INF, 2.0]}
NO_TRACES = pl.DataFrame(schema=TRACE_SCHEMA)


def suite(losses: dict[float, list[float | None]], method: str = "a", **other) -> pl.DataFrame:
    return frame(
        [row(method, lr, seed, loss, **other) for lr, of_lr in losses.items() for seed, loss in enumerate(of_lr)]
    )


def scores(data: pl.DataFrame) -> dict[str, float | None]:
    found = scored_table(data, NO_TRACES, 21, "train")
    return dict(found.filter(method="a").select("score", "value").iter_rows())


def board(data: pl.DataFrame) -> dict:
    return leaderboard(data).filter(method="a").row(0, named=True)


def test_golden_scores():
    # Seed-averaged and clipped 2.5, 1, 4: mean 2.5. Seedwise 2.5, 1, (4 + 2) / 2 = 3: mean 6.5 / 3.
    expected = {
        "lr_sensitivity": 1.5,
        "lr_sensitivity_seedwise": 6.5 / 3 - 1,
        "lr_sensitivity_windowed": 1.5,
        "stable_decades": 1.5,  # from 0.01, which keeps just half, and half a decade beyond 0.1
        "edge_lr": 0.1,
        "best_loss": 1.0,
        "best_lr": 0.1,
        "loss_at_default": 1.0,
        "diverged_share": 1 / 6,
        "blown_up_share": 0.0,
        "stuck_share": 0.0,
        "final_loss_spread": math.sqrt(0.125),
    }
    found = scores(suite(GOLDEN))
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert all(found[name] is None for name in SCORE_KINDS if name not in expected)


def test_golden_leaderboard():
    found = board(suite(GOLDEN))
    # Of seed 0 alone 2, 0.75, 4, of seed 1 alone 3, 1.25, 2: (6.75 - 2.25) / 3 and (6.25 - 3.75) / 3.
    first, second = 4.5 / 3, 2.5 / 3
    half = 12.706204736432095 * (first - second) / 2  # t of one degree of freedom; the jackknife is the same here
    assert found["rank"] == 1
    assert (found["lr_sensitivity"], found["best_loss"], found["best_lr"]) == (1.5, 1.0, 0.1)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0.0, 1.5 + half))  # 1.5 - half is negative
    assert found["flags"] == "coarse_cliff,few_seeds"


@pytest.mark.parametrize("loss", [NAN, 1e308, 1.7976931348623157e308])
def test_huge_and_undefined_losses_score_as_divergence_does(loss):
    # Twice the largest number overflows in the mean over seeds. Only NaN and diverged outcomes count as diverged.
    spoiled = {0.01: [2.0, 3.0], 0.1: [0.75, 1.25], 1.0: [loss, loss]}
    expected = scores(suite({**spoiled, 1.0: [INF, INF]}))
    found = scores(suite(spoiled))
    different = {"diverged_share", "blown_up_share"} if loss == loss else set()
    for name in set(SCORE_KINDS) - different:
        assert found[name] == expected[name], name
    assert found["diverged_share"] == (0.0 if loss == loss else 2 / 6)
    assert found["blown_up_share"] == (2 / 6 if loss == loss else 0.0)


def test_a_trial_that_diverged_counts_as_such_whatever_loss_it_was_stored_with():
    data = suite(GOLDEN)
    stored = data.with_columns(final_loss=pl.when(pl.col("final_loss") == INF).then(1.8e308).otherwise("final_loss"))
    assert scores(stored) == scores(data)


def test_missing_seeds_are_left_out_and_flagged():
    found = board(suite({**GOLDEN, 0.1: [0.75, None]}))
    # Curve 2.5, 0.75, 4.
    assert found["lr_sensitivity"] == pytest.approx(7.25 / 3 - 0.75)
    assert {"incomplete", "lost_trials"} <= set(found["flags"].split(","))
    assert scores(suite({**GOLDEN, 0.1: [0.75, None]}))["final_loss_spread"] is None  # one seed is left there


def test_one_seed_has_scores_without_intervals():
    found = scored_table(suite({lr: losses[1:] for lr, losses in GOLDEN.items()}), NO_TRACES, 21, "train")
    values = dict(found.select("score", "value").iter_rows())
    assert values["lr_sensitivity"] == pytest.approx(6.25 / 3 - 1.25)
    assert values["final_loss_spread"] is None
    assert found["ci_low"].is_null().all()
    assert set(found["num_seeds"]) == {0, 1}


def test_one_lr_has_no_sensitivity_and_no_width():
    found = scores(suite({0.1: [0.75, 1.25]}))
    expected = {"lr_sensitivity": None, "lr_sensitivity_windowed": None, "stable_decades": None, "edge_lr": 0.1}
    assert {name: found[name] for name in expected} == expected


def test_everything_diverged():
    data = suite({lr: [INF, INF] for lr in GOLDEN})
    expected = {
        "lr_sensitivity": 0.0,
        "best_loss": 4.0,
        "best_lr": 0.01,  # the smallest of those that tie
        "stable_decades": 0.0,
        "edge_lr": None,
        "loss_at_default": None,
        "diverged_share": 1.0,
        "final_loss_spread": None,
    }
    found = scores(data)
    assert {name: found[name] for name in expected} == expected
    assert (board(data)["rank"], board(data)["flags"].split(",")[0]) == (None, "at_chance")
    assert scored_table(data, NO_TRACES, 21, "train")["at_chance"].all()


def wanders(data: pl.DataFrame) -> bool:
    return "cliff_wanders" in board(data)["flags"].split(",")


def test_whether_the_cliff_wanders_has_an_answer_for_every_kind_of_data():
    # Edges 0.01 and 1: two decades apart, over a grid in steps of one.
    apart = {0.01: [1.0, 1.0], 0.1: [INF, 1.0], 1.0: [INF, 1.0]}
    assert wanders(suite(apart))
    assert not wanders(suite(GOLDEN))
    assert not wanders(suite({lr: losses[1:] for lr, losses in apart.items()}))
    assert not wanders(suite({0.01: [1.0, INF]}))
    assert not wanders(suite({lr: [INF, INF] for lr in apart}))
    assert not wanders(suite({**apart, 0.1: [None, 1.0], 1.0: [None, 1.0]}))  # one lr has both seeds
    assert not wanders(suite({lr: [1e308, 1e308] for lr in apart}))


def test_ties_share_their_rank_range_and_are_not_separated():
    data = pl.concat([suite(GOLDEN), suite(GOLDEN, "b")])
    assert leaderboard(data).select("rank", "rank_worst").rows() == [(1, 2), (1, 2)]
    entries = scored_entries(data, NO_TRACES, 21, "train")
    found = pl.concat([score_differences(entries, name) for name in SCORE_KINDS])
    assert set(found["verdict"]) == {NOT_SEPARATED}
    assert set(found["p_holm"]) == {1.0}
    assert set(found["difference"]) == {0.0}


def test_no_result_at_all_gives_empty_frames():
    lost = suite({lr: [None, None] for lr in GOLDEN})
    assert leaderboard(lost).select("flags", "num_trials", "lr_sensitivity").row(0) == ("no_result", 0, None)
    assert leaderboard(frame([])).height == 0
    for data in (lost, frame([])):
        assert scored_table(data, NO_TRACES, 21, "train").height == 0


def test_without_a_finite_loss_at_init_there_is_a_line_without_scores():
    (line,) = leaderboard(suite(GOLDEN, initial_loss=NAN)).to_dicts()
    assert [line[name] for name in ("rank", "lr_sensitivity", "best_loss")] == [None] * 3
    assert line["flags"] == "no_init_loss"
