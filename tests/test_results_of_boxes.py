"""What the README of suites/results/ says of boxes of knobs holds in the files beside it."""

import dataclasses
import math

import polars
import polars.testing
import pytest
from scipy.stats import norm, spearmanr

from analysis.scores.box.board import box_board, score_box
from analysis.scores.box.losses import box_losses
from analysis.scores.box.pairs import interactions
from bench.results.box import box_knobs, units_frame
from bench.suite import find_suite, load_suite
from tests.analysis.box_controls import NUM_BOARDS, committed, told_apart
from tests.published import RESULTS, board, stated


@pytest.fixture(scope="module")
def box() -> polars.DataFrame:
    return polars.read_csv(RESULTS / "box_small/box.csv")


@pytest.fixture(scope="module")
def of_optimizers() -> polars.DataFrame:
    return polars.read_csv(RESULTS / "box_optimizers/box.csv")


@pytest.mark.parametrize("suite", ["box_small", "box_optimizers"])
def test_the_board_of_a_box_is_that_of_its_trials(suite):
    box = polars.read_csv(RESULTS / suite / "box.csv")
    trials = polars.read_parquet(RESULTS / suite / "box_trials.parquet")
    places = trials.select("trial_id", "point", "workload", "method", "optimizer", "knobs")
    points = trials.select("point", "replicate").unique().sort("point")
    (losses,) = box_losses(trials.drop("point", "replicate"), places, points)
    found = box_board([score_box(losses, {"softmax_control": "softmax"})])
    scores = ["robust_share", "robust_share_board", "expected_best_32", "box_sensitivity", "tuning_gap"]
    ends = [f"{name}{end}" for name in scores for end in ("", "_ci_low", "_ci_high")]
    polars.testing.assert_frame_equal(
        found.sort("method").select("method", *ends), box.sort("method").select("method", *ends), rel_tol=1e-9
    )


def test_what_is_said_of_shares_of_the_box_holds(box):
    rows = {row["method"]: row for row in box.iter_rows(named=True)}
    number = r"(\d+)% \[(\d+)%, (\d+)%\]"
    said = stated(rf"QK-LayerNorm keeps {number} of the box, softmax {number}, window softmax {number}")
    names = ("qk_layernorm_weight_clipped", "softmax", "window_softmax")
    ends = ("robust_share", "robust_share_ci_low", "robust_share_ci_high")
    assert said == [round(100 * rows[name][end]) for name in names for end in ends]
    pairs = polars.read_csv(RESULTS / "box_small/box_differences.csv").filter(score="robust_share")
    separated = pairs.filter(polars.col("p_holm") < 0.05)
    assert stated(r"replicates separate (\d+) of (\d+) pairs") == [separated.height, pairs.height]
    less = separated.filter(polars.col("difference") < 0, first="softmax")
    assert set(less["second"]) == {"qk_layernorm_weight_clipped", "sigma_reparam_qk", "relu_kernel"}
    best = pairs.filter(first="qk_layernorm_weight_clipped", second="sigma_reparam_qk")
    assert best["p_holm"].item() > 0.05


def test_the_learning_rate_is_the_knob_that_matters():
    methods = polars.col("method") != "softmax_control"
    alone = polars.read_csv(RESULTS / "box_small/importance.csv").filter(methods, evaluator="fanova")
    of_lr = {row["method"]: row["importance"] for row in alone.filter(knob="lr").iter_rows(named=True)}
    assert stated(r"explains (\d+)% \(sigma-reparam\) to (\d+)% \(softmax\)") == [
        round(100 * of_lr[name]) for name in ("sigma_reparam_qk", "softmax")
    ]
    assert (min(of_lr.values()), max(of_lr.values())) == (of_lr["sigma_reparam_qk"], of_lr["softmax"])
    schedule, decay, others = stated(
        r"the schedule at most (\d+)%, decay at most ([\d.]+)%, and .* at most ([\d.]+)% each"
    )
    most = dict(alone.group_by("knob").agg(polars.col("importance").max() * 100).iter_rows())
    assert (most.pop("schedule") <= schedule, most.pop("weight_decay") <= decay + 0.05) == (True, True)
    del most["lr"]
    assert set(most) == {"warmup_steps", "beta1", "beta2", "grad_clip", "init_scale"}
    assert max(most.values()) < others + 0.05


def test_two_trials_of_the_box_diverged_and_its_order_agrees_with_table_1(box):
    trials = polars.read_parquet(RESULTS / "box_small/box_trials.parquet")
    assert (trials.filter(outcome="diverged").height, trials.height) == (2, 12_288)
    table = polars.DataFrame(board("paper_table1")).select("method", polars.col("lr_sensitivity").cast(polars.Float64))
    both = box.filter(polars.col("method") != "softmax_control").join(table, on="method")
    assert both.height == 7
    number = r"([\d.]+) \[(-?[\d.]+), ([\d.]+)\] \(p ([\d.]+)\)"
    said = stated(rf"Spearman {number}; by box sensitivity, .*?, {number}")
    by_share = agreement(both["robust_share"], -both["lr_sensitivity"])
    assert said == [*by_share, *agreement(both["box_sensitivity"], both["lr_sensitivity"])]


def agreement(first: polars.Series, second: polars.Series) -> list[float]:
    """Spearman's correlation, its 95% interval and p, rounded as they are stated.

    Source: Bonett and Wright 2000, variance of Fisher's z: (1 + r^2 / 2) / (n - 3).
    """
    found = spearmanr(first, second)
    half = norm.ppf(0.975) * math.sqrt((1 + found.statistic**2 / 2) / (len(first) - 3))
    ends = (math.tanh(math.atanh(found.statistic) + side * half) for side in (-1, 1))
    return [*(round(value, 2) for value in (found.statistic, *ends)), round(found.pvalue, 3)]


def test_what_is_said_of_shares_with_the_optimizer_drawn_holds(box, of_optimizers):
    rows = {row["method"]: row for row in of_optimizers.iter_rows(named=True)}
    number = r"(\d+)% \[(\d+)%, (\d+)%\]"
    said = stated(rf"order: QK-LayerNorm {number}, sigma-reparam {number}, softmax {number}, window softmax {number}")
    names = ("qk_layernorm_weight_clipped", "sigma_reparam_qk", "softmax", "window_softmax")
    ends = ("robust_share", "robust_share_ci_low", "robust_share_ci_high")
    assert said == [round(100 * rows[name][end]) for name in names for end in ends]
    both = of_optimizers.filter(polars.col("method") != "softmax_control").join(box, on="method", suffix="_of_adamw")
    assert both.height == 7
    assert (both["robust_share"] < both["robust_share_of_adamw"]).all()
    said = stated(r"Spearman with the shares of `box_small` ([\d.]+) \[([\d.]+), ([\d.]+)\] \(p ([\d.]+)\)")
    assert said == agreement(both["robust_share"], both["robust_share_of_adamw"])
    control = abs(rows["softmax_control"]["robust_share"] - rows["softmax"]["robust_share"])
    assert stated(r"control's share differs from softmax's by ([\d.]+) points") == [round(100 * control, 1)]


def test_which_pairs_are_separated_with_the_optimizer_drawn():
    pairs = polars.read_csv(RESULTS / "box_optimizers/box_differences.csv").filter(score="robust_share")
    separated = pairs.filter(polars.col("p_holm") < 0.05)
    assert stated(r"(\d+) of (\d+) pairs are separated; QK-LayerNorm") == [separated.height, pairs.height]
    of_softmax = separated.filter(first="softmax")
    assert set(of_softmax.filter(polars.col("difference") > 0)["second"]) == {"window_softmax"}
    assert set(of_softmax.filter(polars.col("difference") < 0)["second"]) == {
        "qk_layernorm_weight_clipped", "sigma_reparam_qk", "relu_kernel",
    }  # fmt: skip


def test_the_optimizer_explains_little_beside_the_learning_rate():
    methods = polars.col("method") != "softmax_control"
    alone = polars.read_csv(RESULTS / "box_optimizers/importance.csv").filter(methods, evaluator="fanova")
    said = stated(r"alone it explains ([\d.]+)% to ([\d.]+)% of the variance .*?, the learning rate (\d+)% to (\d+)%")
    ends = {
        knob: [100 * one for one in (rows.min(), rows.max())]
        for knob in ("optimizer", "lr")
        for rows in [alone.filter(knob=knob)["importance"]]
    }
    assert said[:2] == [round(value, 1) for value in ends["optimizer"]]
    assert said[2:] == [round(value) for value in ends["lr"]]


def test_which_optimizers_diverged_in_the_box():
    trials = polars.read_parquet(RESULTS / "box_optimizers/box_trials.parquet")
    assert stated(r"(\d+) of 12,288 trials diverged: none by AdamW") == [trials.filter(outcome="diverged").height]
    is_diverged = (polars.col("outcome") == "diverged").mean()
    rows = trials.filter(polars.col("method") != "softmax_control").group_by("optimizer_drawn").agg(share=is_diverged)
    shares = dict(rows.iter_rows())
    assert shares.pop("adamw") == 0
    said = stated(r"([\d.]+)% by LAMB, ([\d.]+)% by SGD with momentum, ([\d.]+)% by Lion and ([\d.]+)% by Muon")
    assert said == [round(100 * shares[name], 1) for name in ("lamb", "sgd_momentum", "lion", "muon")]


def test_what_is_said_of_knobs_that_act_together_holds():
    is_first = (polars.col("first") == "lr") & (polars.col("second") == "schedule")
    pairs = polars.read_csv(RESULTS / "box_small/pairs.csv").with_columns(is_first=is_first)
    number = r"(\d+)% \[(\d+)%, (\d+)%\]"
    said = stated(rf"they explain {number} of the variance with .*? and {number} with .*?, and {number} with softmax")
    both = {row["method"]: row for row in pairs.filter("is_first").iter_rows(named=True)}
    names = ("qk_layernorm_weight_clipped", "sigma_reparam_qk", "softmax")
    assert said == [round(100 * both[name][end]) for name in names for end in ("interaction", "ci_low", "ci_high")]
    assert 100 * pairs.filter(~polars.col("is_first"))["interaction"].max() < stated(r"explains less than (\d+)%")[0]


def test_the_pairs_of_knobs_are_those_of_the_committed_trials():
    """Of the first method."""
    suite, box = load_suite(find_suite("box_small")), committed("box_small")
    arrays = {name: getattr(box, name)[:1] for name in ("losses_MNS", "initial_MS", "num_lost_M", "diverged_MNS")}
    alone = score_box(dataclasses.replace(box, methods=box.methods[:1], **arrays), {})
    found = interactions([alone], units_frame(suite), box_knobs(suite))
    rows = polars.read_csv(RESULTS / "box_small/pairs.csv").filter(method=box.methods[0])
    for name in ("interaction", "ci_low", "ci_high"):
        assert found[name].to_list() == pytest.approx(rows[name].to_list(), abs=1e-9)


@pytest.mark.slow
def test_a_control_is_told_apart_by_chance_alone():
    said = stated(
        r"told apart on ([\d.]+)%, their expected bests on ([\d.]+)% \(`python -m tests.analysis.box_controls"
    )
    scores = ["robust_share", "expected_best_32"]
    found = told_apart(committed("box_small"), ("softmax", "softmax_control"), scores, NUM_BOARDS)
    assert [100 * found[score] for score in scores] == pytest.approx(said)
    assert max(said) <= 5.0
