"""The score table by hand: every score of small suites, differences, and what each says where it is not defined."""

import math

import polars as pl
import pytest

from analysis.curves import ENTRY
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import leaderboard
from analysis.scores.seeds.intervals import mean_interval
from analysis.scores.seeds.spreads import spread_interval
from analysis.scores.table import (
    NOT_SEPARATED,
    SCORE_DIFFERENCE_COLUMNS,
    SCORE_TABLE_COLUMNS,
    measured_entries,
    score_differences,
    score_table,
    trials_to_measure,
)
from analysis.scores.traces import trial_measures
from bench.errors import UsageError
from tests.analysis.scored_results import scored_entries, scored_table
from tests.analysis.synthetic_results import METHODS, TRACE_SCHEMA, frame, results, row, traces, with_held_out

INF = math.inf
LRS = [0.001, 0.01, 0.1, 1.0]


def suite(curves: dict[str, list[list[float | None]]], **other) -> pl.DataFrame:
    """Final losses by method: a list a learning rate, a value a seed; every loss at init is 4."""
    return frame(
        [
            row(method, lr, seed, loss, trial_id=f"{method}-{lr}-{seed}", num_steps=100, wall_s=2.0, **other)
            for method, losses in curves.items()
            for lr, of_lr in zip(LRS, losses, strict=False)
            for seed, loss in enumerate(of_lr)
        ]
    )


def scores_of(table: pl.DataFrame, method: str) -> dict[str, dict]:
    return {row["score"]: row for row in table.filter(method=method).iter_rows(named=True)}


def table(data: pl.DataFrame, trace: pl.DataFrame | None = None, loss: str = "train") -> pl.DataFrame:
    return scored_table(data, trace, 21, loss)


# Best at 0.01 with losses 1 and 2; 0.1 is stable, at 1 a seed diverges.
A = [[3.0, 3.0], [1.0, 2.0], [2.0, 2.0], [INF, 3.0]]
# Best at 0.1 for both seeds.
B = [[4.0, 4.0], [3.0, 3.0], [1.0, 1.0], [1.2, 1.2]]


def test_scores_of_the_grid_by_hand():
    found = scores_of(table(suite({"a": A, "b": B})), "a")
    # Curve 3, 1.5, 2, 4: mean 2.625, best 1.5. Every lr but 1 within 1.5 decades of 0.01: mean of 3, 1.5, 2.
    assert found["lr_sensitivity"]["value"] == pytest.approx(1.125)
    assert found["lr_sensitivity_windowed"]["value"] == pytest.approx(6.5 / 3 - 1.5)
    assert found["lr_sensitivity_windowed"]["note"] == "the grid holds 2.5 of the 3 decades"
    assert found["best_lr"]["value"] == 0.01
    assert found["edge_lr"]["value"] == 0.1
    assert found["diverged_share"]["value"] == 1 / 8
    assert found["stable_decades"]["value"] == pytest.approx(2.0)  # 0.01 and 0.1, half a decade on either side
    # Best lrs 0.01 and 0.1: the lower median is 0.01.
    assert (found["loss_at_default"]["value"], found["loss_at_default"]["note"]) == (1.5, "at lr 0.01")
    assert found["final_loss_spread"]["value"] == pytest.approx(math.sqrt(0.5))


def test_intervals_are_those_of_the_machinery():
    rows = scores_of(table(suite({"a": A, "b": B})), "a")
    mean, spread = mean_interval(pl.Series([1.0, 2.0]).to_numpy()), spread_interval(pl.Series([1.0, 2.0]).to_numpy())
    default, of_spread = rows["loss_at_default"], rows["final_loss_spread"]
    assert (default["ci_low"], default["ci_high"]) == pytest.approx((0.0, mean.high))  # losses are not below 0
    assert mean.low < 0
    assert (of_spread["ci_low"], of_spread["ci_high"]) == pytest.approx((spread.low, spread.high))
    assert default["num_seeds"] == 2


def test_lr_scores_have_half_a_mean_grid_step_on_either_side():
    found = scores_of(table(suite({"b": B})), "b")["best_lr"]
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0.1 / 10**0.5, 0.1 * 10**0.5))
    # Steps of 0.2, 1.2, 1.6 decades: mean 1.
    lrs = [10**power for power in (-3.0, -2.8, -1.6, 0.0)]
    rows = [row("b", lr, seed, loss) for lr, of_lr in zip(lrs, B, strict=True) for seed, loss in enumerate(of_lr)]
    uneven = scores_of(table(frame(rows)), "b")
    half = (math.log10(uneven["best_lr"]["ci_high"]) - math.log10(uneven["best_lr"]["ci_low"])) / 2
    assert (uneven["best_lr"]["value"], half) == pytest.approx((lrs[2], 0.5))


def test_shares_of_trials_have_the_error_of_their_rounding():
    # Of four lrs, two of four seeds lose one: shares 1/4 and 0, their variance 1/48 and that of the rounding 1/192.
    losses = [[3.0] * 4, [1.0, 1.1, 1.2, 1.3], [2.0] * 4, [INF, INF, 3.0, 3.0]]
    found = scores_of(table(suite({"a": losses})), "a")["diverged_share"]
    half = 3.182446305284263 * math.sqrt((1 / 48 + 1 / 192) / 4)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0.0, 1 / 8 + half))
    two = scores_of(table(suite({"a": A})), "a")["diverged_share"]
    assert (two["ci_low"], two["ci_high"]) == (0.0, 1.0)


def test_no_divergence_does_not_say_that_there_is_none():
    # At one of three lrs one seed of two may diverge: a third of 1 - sqrt(0.025) at most; the rounding alone says more.
    found = scores_of(table(suite({"a": [[2.0, 2.0], [1.5, 1.5], [3.0, 3.0]]})), "a")["diverged_share"]
    assert (found["value"], found["ci_low"]) == (0, 0)
    assert found["ci_high"] == pytest.approx(12.706204736432095 / 3 / math.sqrt(24))
    ten = {"a": [[2.0] * 10, [1.5] * 10, [3.0] * 10]}
    found = scores_of(table(suite(ten)), "a")["diverged_share"]
    assert found["ci_high"] == pytest.approx((1 - 0.025**0.1) / 3)


def test_no_spike_does_not_say_that_there_is_none():
    data = suite({"a": [[2.0, 2.0], [1.5, 1.5]]})
    trace = pl.concat([loss_trace(trial_id, [1.0] * 50) for trial_id in data["trial_id"]])
    found = scores_of(table(data, trace), "a")["spike_rate"]
    assert (found["value"], found["ci_low"], found["note"]) == (0, 0, "none of 120 losses")
    assert found["ci_high"] == pytest.approx(1 - 0.025 ** (1 / 120))


def test_steps_keep_to_those_trained():
    data = suite({"a": [[2.0, 2.0], [1.0, 1.0]]})
    fast, slow = [1.0] * 30, [4.0] * 10 + [1.0] * 20
    found = scores_of(table(data, pl.concat([loss_trace("a-0.01-0", fast), loss_trace("a-0.01-1", slow)])), "a")
    steps, seconds = found["steps_to_target"], found["time_to_target"]
    assert 0 < steps["ci_low"] < steps["value"] < steps["ci_high"] == data["num_steps"][0]
    assert 0 < seconds["ci_low"] < seconds["value"] < seconds["ci_high"] == data["wall_s"][0]


def test_the_board_and_the_table_agree():
    data = results(num_seeds=3)
    long = table(data)
    board = leaderboard(data).sort(*ENTRY)
    for name in ("lr_sensitivity", "best_loss", "best_lr", "stable_decades", "diverged_share"):
        assert long.filter(score=name).sort(*ENTRY)["value"].to_list() == pytest.approx(board[name].to_list())
    ends = long.filter(score="lr_sensitivity").sort(*ENTRY)
    assert ends["ci_low"].to_list() == board["ci_low"].to_list()


def test_an_edge_at_the_top_of_the_grid_is_censored_and_one_below_it_is_not():
    found = scores_of(table(suite({"b": B})), "b")["edge_lr"]
    assert (found["value"], found["ci_low"], found["ci_high"]) == pytest.approx((1.0, 0.1**0.5, 1.0))
    assert (found["ci_censored"], found["note"]) == ("high", "censored: stable up to the top of the grid")


def test_rates_are_censored_where_the_grid_ends():
    """Seeds differ in their best lr by all of it: three decades and half a step beyond are left of the interval."""
    found = scores_of(table(suite({"a": [[1.0, 3.0], [2.0, 2.0], [3.0, 1.1]]})), "a")["best_lr"]
    assert (found["ci_low"], found["ci_high"], found["ci_censored"]) == (0.001, 0.1, "both")


def test_windowed_sensitivity_follows_the_optimum():
    # The same valley two decades apart, in a grid wide enough for both windows: one score, two sensitivities.
    lrs = [10.0**k for k in range(-6, 3)]
    valley = {-4: 1.0, -5: 2.0, -3: 2.0}
    moved = {k + 2: loss for k, loss in valley.items()}
    rows = [
        row(method, lr, 0, losses[k] if k in losses else (3.0 if k < min(losses) else INF))
        for method, losses in (("a", valley), ("b", moved))
        for k, lr in zip(range(-6, 3), lrs, strict=True)
    ]
    long = table(frame(rows))
    windowed, whole = (long.filter(score=f"lr_sensitivity{end}")["value"].to_list() for end in ("_windowed", ""))
    assert windowed == pytest.approx([2 / 3, 2 / 3])
    assert whole[0] > whole[1]
    assert long.filter(score="lr_sensitivity_windowed")["note"].to_list() == ["", ""]


def loss_trace(trial_id: str, values: list[float]) -> pl.DataFrame:
    rows = [(trial_id, step, "loss", -1, value) for step, value in enumerate(values)]
    return pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")


def test_steps_and_time_to_target_by_hand():
    # Losses at init 4, least 1 (of b): the target is 4 - 0.75 * 3 = 1.75.
    data = suite({"a": [[2.0, 2.0], [1.5, 1.5]], "b": [[1.0, 1.0], [3.0, 3.0]]})
    fast, slow = [1.0] * 30, [4.0] * 10 + [1.0] * 20  # after 8 of the latter the mean is 1.6
    trace = pl.concat([loss_trace("a-0.01-0", fast), loss_trace("a-0.01-1", slow), loss_trace("b-0.001-0", fast)])
    found = table(data, trace)
    a, b = (scores_of(found, name) for name in "ab")
    assert a["steps_to_target"]["value"] == pytest.approx((0 + 17) / 2)
    assert a["time_to_target"]["value"] == pytest.approx((0 + 17) / 2 * 2.0 / 100)
    assert (b["steps_to_target"]["value"], b["steps_to_target"]["num_seeds"]) == (None, 0)
    assert b["steps_to_target"]["note"] == "censored: target not reached at lr 0.001: 1 of 2 seeds"


def test_scores_from_traces_say_so_without_traces():
    found = scores_of(table(suite({"a": A})), "a")
    for name in ("spike_rate", "steps_to_target", "time_to_target", "entropy_collapse_share", "lowest_entropy"):
        assert (found[name]["value"], found[name]["note"]) == (None, "no traces")


def test_collapse_by_hand():
    data = suite({"a": [[2.0, 2.0], [1.5, 1.5]]})
    log_keys = math.log(21)
    shares = {"a-0.001-0": [1.0, 0.5], "a-0.001-1": [1.0, 0.05], "a-0.01-0": [0.01, 0.5], "a-0.01-1": [0.9, 0.8]}
    rows = [
        (trial_id, 10 * place, "entropy", 3, share * log_keys)
        for trial_id, of_trial in shares.items()
        for place, share in enumerate(of_trial)
    ]
    found = scores_of(table(data, pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")), "a")
    assert found["entropy_collapse_share"]["value"] == 0.5
    assert found["entropy_collapse_step"]["value"] == 5.0  # 0 in one trial, 10 in the other
    assert found["entropy_collapse_layer"]["value"] == 3.0
    assert found["lowest_entropy"]["value"] == pytest.approx((0.01 + 0.8) / 2)
    assumed = "every row taken to see N keys: the traces do not say"
    assert found["entropy_collapse_layer"]["note"] == f"{assumed}, all seeds alike"


def test_what_traces_say_of_keys_and_heads_is_scored():
    data = suite({"a": [[2.0, 2.0], [1.5, 1.5]]})
    values = {"entropy": [1.0, 0.5], "least_head_entropy": [0.9, 0.05], "uniform_entropy": [1.0, 1.0]}
    rows = [
        (trial_id, step, name, 0, nats)
        for trial_id in data["trial_id"]
        for name, of_trial in values.items()
        for step, nats in enumerate(of_trial)
    ]
    found = scores_of(table(data, pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")), "a")
    assert (found["lowest_entropy"]["value"], found["lowest_head_entropy"]["value"]) == pytest.approx((0.5, 0.05))
    assert (found["entropy_collapse_share"]["value"], found["head_collapse_share"]["value"]) == (0, 1)
    assert found["lowest_entropy"]["note"] == "at lr 0.01, all seeds alike"


def test_every_score_of_a_whole_suite_has_a_value_and_an_interval_around_it():
    methods = {name: METHODS[name] for name in ("softmax", "relu_kernel")}
    data = results(num_seeds=2, methods=methods).filter(pl.col("lr").is_in([1e-4, 1e-3, 1e-2, 0.1, 1.0]))
    found = table(data, traces(data))
    assert found.schema == pl.Schema(SCORE_TABLE_COLUMNS)
    assert found.height == len(SCORE_KINDS) * 2
    known = found.filter(pl.col("ci_low").is_not_null())
    assert (known["ci_low"] <= known["value"]).all()
    assert (known["value"] <= known["ci_high"]).all()
    assert set(known["score"]) == set(SCORE_KINDS) - {"entropy_collapse_step", "entropy_collapse_layer"}  # none does


def test_num_keys_may_be_one_a_workload_and_must_know_each():
    data = suite({"a": A})
    assert scored_table(data, None, {"in_context_regression": 21}, "train").equals(table(data))
    with pytest.raises(UsageError, match="num_keys lacks the workloads in_context_regression"):
        scored_table(data, None, {"other": 21}, "train")


def test_validation_scores_are_of_held_out_losses():
    data = with_held_out(results(num_seeds=2))
    chosen = data.with_columns(initial_loss="initial_val_loss", final_loss="val_loss")
    keep = ~pl.col("score").is_in(["steps_to_target", "time_to_target"])
    assert table(data, loss="validation").filter(keep).drop("loss").equals(table(chosen).filter(keep).drop("loss"))


def test_differences_of_the_sensitivity_are_the_boards():
    data = results(num_seeds=3)
    found = score_differences(scored_entries(data, None, 1, "train"), "lr_sensitivity")
    assert found.schema == pl.Schema(SCORE_DIFFERENCE_COLUMNS)
    scores = {f"{row['method']}, sgd": row["lr_sensitivity"] for row in leaderboard(data).iter_rows(named=True)}
    assert found.height == len(METHODS) * (len(METHODS) - 1) // 2
    for pair in found.iter_rows(named=True):
        assert pair["difference"] == pytest.approx(scores[pair["first"]] - scores[pair["second"]])
        assert pair["p_holm"] >= pair["p_value"]


def difference(curves: dict[str, list[list[float | None]]], score: str) -> dict:
    return score_differences(scored_entries(suite(curves), None, 1, "train"), score).row(0, named=True)


def test_verdicts_name_the_better_one_or_nobody():
    low = [[1.0, 1.1, 1.2], [3.0, 3.0, 3.0]]
    high = [[2.0, 2.1, 2.25], [3.0, 3.0, 3.0]]
    assert difference({"a": low, "b": high}, "best_loss")["verdict"] == "first better"
    assert difference({"b": low, "a": high}, "best_loss")["verdict"] == "second better"
    assert difference({"a": low, "b": low}, "best_loss")["verdict"] == NOT_SEPARATED


def test_one_grid_step_is_no_difference_and_two_are():
    first, second, third = ([[3.0] * 3, *([[1.0] * 3] * n), *([[INF] * 3] * (3 - n))] for n in (1, 2, 3))
    one, two = difference({"a": first, "b": second}, "edge_lr"), difference({"a": first, "c": third}, "edge_lr")
    assert (one["difference"], one["unit"], one["verdict"]) == (pytest.approx(-1.0), "decades", NOT_SEPARATED)
    assert (one["ci_low"], one["ci_high"]) == pytest.approx((-2.0, 0.0))
    assert (two["difference"], two["verdict"]) == (pytest.approx(-2.0), "second better")


def test_scores_without_a_better_end_say_which_is_higher():
    first, third = [[1.0] * 3, [2.0] * 3, [3.0] * 3, [3.0] * 3], [[3.0] * 3, [3.0] * 3, [2.0] * 3, [1.0] * 3]
    assert difference({"a": first, "b": third}, "best_lr")["verdict"] == "second higher"


def test_spread_and_seeds_needed_by_hand():
    # Differences of the best losses 0.1, 0.3, 0.2: deviation 0.1, effect 2, for which test_separation has 5 seeds.
    found = difference({"a": [[1.1, 1.3, 1.2], [3.0] * 3], "b": [[1.0] * 3, [3.0] * 3]}, "best_loss")
    assert found["difference"] == pytest.approx(0.2)
    assert found["spread"] == pytest.approx(0.1)
    assert found["num_seeds_needed"] == 5


def test_entries_at_chance_or_without_the_score_are_not_compared():
    stuck = [[3.99, 3.99]] * 4
    entries = scored_entries(suite({"a": A, "b": B, "stuck": stuck}), None, 1, "train")
    assert score_differences(entries, "lr_sensitivity").select("first", "second").rows() == [("a, sgd", "b, sgd")]
    assert score_differences(entries, "spike_rate").height == 0


def test_an_unknown_score_is_named():
    with pytest.raises(UsageError, match="unknown score 'edge'; did you mean 'edge_lr'"):
        score_differences([], "edge")


def test_measures_made_before_give_the_same_scores():
    data = results(num_seeds=2, methods={name: METHODS[name] for name in ("softmax", "relu_kernel")})
    all_traces = traces(data)
    measures = trial_measures(all_traces, trials_to_measure(data, dict.fromkeys(data["workload"], 21)))
    assert score_table(measured_entries(data, measures, "train"), "train").equals(table(data, all_traces))
    assert score_table(measured_entries(data, None, "train"), "train").equals(table(data))
    of_softmax = measures.join(data.filter(method="softmax"), on="trial_id", how="semi")
    found = score_table(measured_entries(data, of_softmax, "train"), "train")
    assert scores_of(found, "softmax") == scores_of(table(data, all_traces), "softmax")
    assert scores_of(found, "relu_kernel")["spike_rate"]["note"] == "no traces"
