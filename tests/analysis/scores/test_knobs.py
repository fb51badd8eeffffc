"""Sensitivity to any knob and transfer of the best lr: answers by hand, invariants, and agreement with the lr score."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.scores.knob_maps import knob_maps
from analysis.scores.knobs import knob_sensitivity, lr_transfer, profile_sensitivity, refined_log_lr
from analysis.scores.leaderboard import leaderboard
from bench.errors import UsageError
from tests.analysis.synthetic_results import frame, results, row

INF = math.inf
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=15)

# Loss at init 4; rows warmup 0, 10, 100; columns lr 0.1, 1; two seeds.
BY_HAND = {
    0.0: {0.1: (3.0, 3.0), 1.0: (INF, 2.0)},  # 3 and 4 (diverged): 3
    10.0: {0.1: (2.0, 3.0), 1.0: (1.0, 1.0)},  # 2.5 and 1: 1
    100.0: {0.1: (2.0, 2.0), 1.0: (5.0, 7.0)},  # 2 and 4 (clipped): 2
}


def mapped(losses, *, method="m", knob="warmup_steps", **other) -> list[dict[str, object]]:
    return [
        row(method, lr, seed, loss, **{knob: value}, **other)
        for value, of_lr in losses.items()
        for lr, of_seed in of_lr.items()
        for seed, loss in enumerate(of_seed)
    ]


def only(found: pl.DataFrame) -> dict:
    assert found.height == 1
    return found.row(0, named=True)


def test_sensitivity_to_warmup_by_hand():
    entry = only(knob_sensitivity(frame(mapped(BY_HAND)), "warmup_steps"))
    # Profile 3, 1, 2: mean 2 - 1. At lr 1, where the least loss is: 4, 1, 4: mean 3 - 1.
    assert entry["sensitivity"] == pytest.approx(1.0)
    assert (entry["at_best_lr"], entry["best_lr"]) == (pytest.approx(2.0), 1.0)
    assert (entry["best_value"], entry["best_loss"], entry["worst_value"]) == (10.0, 1.0, 0.0)
    assert (entry["num_values"], entry["num_seeds"], entry["num_trials"]) == (3, 2, 12)
    assert entry["flags"] == "lr_at_border,few_seeds"
    assert entry["ci_low"] < entry["sensitivity"] < entry["ci_high"]


def test_a_best_loss_above_the_loss_at_init_is_the_mean_itself():
    stuck = {0.0: {0.1: [4.5, 4.7], 1.0: [5.0, math.inf]}, 10.0: {0.1: [4.3, 4.5], 1.0: [math.inf, math.inf]}}
    data = frame(mapped(stuck))
    assert only(knob_sensitivity(data, "warmup_steps"))["best_loss"] == pytest.approx(4.4)
    assert lr_transfer(data, "warmup_steps")["best_loss"].to_list() == pytest.approx([4.6, 4.4])
    diverged = {value: {0.1: [math.inf] * 2, 1.0: [math.inf] * 2} for value in (0.0, 10.0)}
    assert only(knob_sensitivity(frame(mapped(diverged)), "warmup_steps"))["best_loss"] == 4.0


def test_interval_by_hand():
    # Seed 0: profile 3, 1, 2 -> 1; seed 1: 2, 1, 2 -> 2/3. Without a seed, the other's alone. The jackknife's error and
    # the seeds' spread agree: |1 - 2/3| / 2 = 1/6; t of one degree of freedom 12.7062.
    entry = only(knob_sensitivity(frame(mapped(BY_HAND)), "warmup_steps"))
    assert entry["ci_high"] - entry["sensitivity"] == pytest.approx(12.7062 / 6, rel=1e-4)


def test_the_score_over_lr_is_that_of_the_leaderboard():
    data = results(num_seeds=3)
    shared = ["method", "lr_sensitivity", "ci_low", "ci_high"]
    expected = leaderboard(data).select(shared).sort("method")
    found = knob_sensitivity(data, "lr").rename({"sensitivity": "lr_sensitivity"}).select(shared).sort("method")
    for name in shared[1:]:
        assert found[name].to_list() == pytest.approx(expected[name].to_list())


def test_a_key_of_settings_scores_as_a_lane_knob_does():
    lane = frame(mapped(BY_HAND))
    depths = {0.0: '{"depth":2}', 10.0: '{"depth":4}', 100.0: '{"depth":8}'}
    texts = pl.Series([depths[value] for value in lane["warmup_steps"]], dtype=pl.String)
    deep = lane.with_columns(settings=texts, warmup_steps=pl.lit(0.0))
    one, two = only(knob_sensitivity(lane, "warmup_steps")), only(knob_sensitivity(deep, "depth"))
    assert (two["sensitivity"], two["ci_low"], two["at_best_lr"]) == (
        one["sensitivity"],
        one["ci_low"],
        one["at_best_lr"],
    )
    assert (two["knob"], two["best_value"], two["worst_value"]) == ("depth", 4.0, 2.0)


def test_each_value_is_clipped_at_its_own_loss_at_init():
    losses = {1.0: {0.1: (INF,)}, 2.0: {0.1: (1.0,)}}
    rows = [
        {**found, "initial_loss": 10.0 * float(str(found["init_scale"]))} for found in mapped(losses, knob="init_scale")
    ]
    entry = only(knob_sensitivity(frame(rows), "init_scale"))
    # 10 and 1: mean 5.5 - 1.
    assert entry["sensitivity"] == pytest.approx(4.5)
    assert entry["flags"] == "best_at_border,init_varies,few_seeds"


def test_other_knobs_split_rows_and_single_values_are_left_out():
    rows = mapped(BY_HAND) + mapped({0.0: BY_HAND[10.0]}, weight_decay=0.1)
    found = knob_sensitivity(frame(rows), "warmup_steps")
    assert found["knobs"].to_list() == ["weight_decay=0"]
    rows = mapped(BY_HAND) + mapped(BY_HAND, weight_decay=0.1)
    assert knob_sensitivity(frame(rows), "warmup_steps")["knobs"].to_list() == ["weight_decay=0", "weight_decay=0.1"]


def test_best_at_zero_is_no_border_and_best_at_the_largest_is():
    def flags(best):
        losses = {
            value: {0.1: (2.0,) * 3, 1.0: (1.0 if value == best else 1.5,) * 3, 9.0: (2.0,) * 3}
            for value in (0.0, 1.0, 2.0)
        }
        return only(knob_sensitivity(frame(mapped(losses, knob="weight_decay")), "weight_decay"))["flags"]

    assert [flags(best) for best in (0.0, 1.0, 2.0)] == ["", "", "best_at_border"]


def test_missing_and_lost_trials_are_flagged_and_left_out():
    rows = [found for found in mapped(BY_HAND) if not (found["warmup_steps"] == 100.0 and found["lr"] == 0.1)]
    rows = [
        {**found, "final_loss": None, "outcome": "crashed"} if found["final_loss"] == 7.0 else found for found in rows
    ]
    entry = only(knob_sensitivity(frame(rows), "warmup_steps"))
    # Warmup 100 has one trial, clipped at 4: profile 3, 1, 4.
    assert entry["sensitivity"] == pytest.approx(8 / 3 - 1)
    assert entry["flags"] == "lr_at_border,few_seeds,incomplete,lost_trials"


@settings(deadline=None, derandomize=True, max_examples=8)
@given(st.integers(0, 10**6), st.floats(-3.0, 3.0), st.floats(0.1, 10.0))
def test_order_constant_and_unit_of_losses(seed, constant, factor):
    data = frame(mapped(BY_HAND) + mapped(BY_HAND, method="n", optimizer="a"))
    moved = data.with_columns(pl.col("final_loss", "initial_loss") + constant)
    scaled = data.with_columns(pl.col("final_loss", "initial_loss") * factor)
    shuffled = data.sample(fraction=1.0, shuffle=True, seed=seed)
    expected = knob_sensitivity(data, "warmup_steps")
    assert knob_sensitivity(shuffled, "warmup_steps").equals(expected)
    for name in ("sensitivity", "ci_low", "ci_high", "at_best_lr"):
        values = expected[name].to_list()
        assert knob_sensitivity(moved, "warmup_steps")[name].to_list() == pytest.approx(values, abs=1e-9)
        found = knob_sensitivity(scaled, "warmup_steps")[name].to_list()
        assert found == pytest.approx([value * factor for value in values], abs=1e-9)


def test_one_seed_has_no_interval():
    rows = [found for found in mapped(BY_HAND) if found["seed"] == 0]
    assert only(knob_sensitivity(frame(rows), "warmup_steps"))["ci_low"] is None


def test_profile_is_at_most_any_fixed_lr():
    losses = np.random.default_rng(0).uniform(0, 5, (4, 6, 3))
    initial = np.full_like(losses, 4.0)
    fixed = [profile_sensitivity(losses[:, [lr]], initial[:, [lr]]) for lr in range(6)]
    clipped = np.minimum(losses.mean(-1), 4.0)
    assert profile_sensitivity(losses, initial) == pytest.approx(clipped.min(1).mean() - clipped.min())
    assert clipped.min(1).mean() <= min(value + clipped[:, lr].min() for lr, value in enumerate(fixed))


# Transfer


def parabola(log_best: float, floor: float, seeds: int = 2) -> dict[float, tuple[float, ...]]:
    """Losses that are a parabola in log lr with its least at `log_best`, on a grid with uneven steps."""
    lrs = (1e-4, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1)
    return {lr: (floor + 0.2 * (math.log10(lr) - log_best) ** 2,) * seeds for lr in lrs}


def test_transfer_of_parabolas_by_hand():
    found = lr_transfer(frame(mapped({64.0: parabola(-2.2, 1.0), 256.0: parabola(-2.8, 0.9)})), "warmup_steps")
    assert found["value"].to_list() == [64.0, 256.0]
    assert np.log10(found["best_lr"].to_numpy()).tolist() == pytest.approx([-2.2, -2.8])
    assert found["shift_decades"].to_list() == pytest.approx([0.0, -0.6])
    # The grid's best at 64 is 1e-2, at 256 1e-3: 0.2 (0.8^2 - 0.2^2).
    assert found["loss_lost"].to_list() == pytest.approx([0.0, 0.12])
    assert (found["shift_ci_low"][1], found["shift_ci_high"][1]) == (pytest.approx(-0.6), pytest.approx(-0.6))
    assert found["flags"].to_list() == ["few_seeds"] * 2


def test_interval_of_the_shift_by_hand():
    # Seed by seed the best lr moves by -0.4 and -0.8; the mean of two parabolas of one width has its least at the mean.
    one, two = parabola(-2.6, 0.9), parabola(-3.0, 0.9)
    wide = {lr: (one[lr][0], two[lr][0]) for lr in one}
    found = lr_transfer(frame(mapped({64.0: parabola(-2.2, 1.0), 256.0: wide})), "warmup_steps").row(1, named=True)
    assert found["shift_decades"] == pytest.approx(-0.6)
    assert found["shift_ci_high"] == pytest.approx(-0.6 + 12.7062 * 0.2, rel=1e-4)
    # As wide is that of the best lr, 10^-2.8, beyond the grid of 1e-4 to 0.1 on either side.
    lrs = min(one), max(one)
    assert (found["best_lr_ci_low"], found["best_lr_ci_high"]) == pytest.approx(lrs)
    assert found["best_lr_ci_censored"] == "both"


def test_best_at_the_border_is_flagged_and_not_refined():
    found = lr_transfer(frame(mapped({64.0: parabola(-2.2, 1.0), 256.0: parabola(-6.0, 0.9)})), "warmup_steps")
    assert found["best_lr"][1] == pytest.approx(1e-4)
    assert found["flags"].to_list() == ["few_seeds", "lr_at_border,few_seeds"]


def test_loss_lost_is_null_where_the_rate_was_not_trained():
    losses = {64.0: parabola(-2.2, 1.0), 256.0: {lr: loss for lr, loss in parabola(-2.8, 0.9).items() if lr != 1e-2}}
    found = lr_transfer(frame(mapped(losses)), "warmup_steps")
    assert found["loss_lost"].to_list() == [0.0, None]
    assert found["shift_decades"][1] == pytest.approx(-0.6)


def test_transfer_needs_two_values_two_rates_and_another_knob_than_lr():
    assert lr_transfer(frame(mapped({64.0: parabola(-2.2, 1.0)})), "warmup_steps").is_empty()
    with pytest.raises(UsageError, match="another knob than 'lr'"):
        lr_transfer(frame(mapped(BY_HAND)), "lr")


@REPEATABLE
@given(st.lists(st.floats(0.0, 5.0), min_size=3, max_size=8), st.integers(0, 10**6))
def test_refined_rate_lies_between_the_neighbours_of_the_least(curve, seed):
    log_lrs = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1.0, len(curve)))
    least = int(np.argmin(curve))
    low, high = log_lrs[max(least - 1, 0)], log_lrs[min(least + 1, len(curve) - 1)]
    assert low <= refined_log_lr(log_lrs, np.array(curve)) <= high


@REPEATABLE
@given(st.floats(-2.9, -1.1), st.floats(0.1, 5.0))
def test_refinement_is_exact_for_a_parabola(vertex, width):
    log_lrs = np.array([-3.0, -2.6, -1.7, -1.0])
    assert (
        refined_log_lr(log_lrs, width * (log_lrs - vertex) ** 2) == pytest.approx(vertex)
        or vertex < -2.8
        or vertex > -1.35
    )


def test_level_neighbours_keep_the_grid_point():
    assert refined_log_lr(np.array([-3.0, -2.0, -1.0]), np.array([1.0, 1.0, 1.0])) == -3.0
    assert refined_log_lr(np.array([-3.0, -2.0, -1.0]), np.array([np.nan, 2.0, 1.0])) == -1.0


def test_a_map_of_one_knob_twice_is_refused():
    with pytest.raises(UsageError, match="two knobs, got 'lr' twice"):
        knob_maps(frame(mapped(BY_HAND)), "lr", "lr")


def test_loss_at_init_of_a_seed_is_averaged_over_lr_alone():
    rows = mapped({1.0: {0.1: (2.0,), 1.0: (2.0,)}, 2.0: {0.1: (2.0,), 1.0: (None,)}}, knob="init_scale")
    rows = [{**found, "initial_loss": start} for found, start in zip(rows, (4.0, 6.0, 8.0, None), strict=True)]
    (found,) = knob_maps(frame(rows), "init_scale", "lr").values()
    assert found.initial_losses[:, 0, 0].tolist() == [5.0, 8.0]
    assert (found.num_lost, found.is_complete, found.num_trials) == (1, False, 3)
