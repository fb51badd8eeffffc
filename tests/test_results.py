"""What the README of suites/results/ says holds in the files beside it."""

import csv
import re

import numpy
import polars
import polars.testing
import pytest
from scipy.stats import spearmanr

from analysis.report.summary import summary_sentences
from analysis.scores.box.board import box_board, score_box
from analysis.scores.box.losses import box_losses
from analysis.scores.effects import EFFECT_COLUMNS, PAIRED_COLUMNS, effects
from analysis.scores.intervals import mean_interval
from analysis.text import escape_markdown
from bench.results.subjects import compared_subject
from bench.store import Store
from tests.published import (
    RESULTS,
    board,
    claims,
    comparison,
    correlations_with_table_1,
    differences,
    fused_differences,
    precision_differences,
)

README = (RESULTS / "README.md").read_text(encoding="utf-8")
NANOGPT_LEAST, NANOGPT_LAPTOP = 1.4697, 1.901  # held-out losses that nanoGPT's README states


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: " ".join(claim[:3]))
def test_every_claim_has_its_sign_and_survives_the_correction(claim):
    found = comparison(*claim)
    assert found["p_holm"] < 0.05
    assert found["num_seeds"] >= 3
    lower_is_better = claim[1] in ("lr_sensitivity", "best_loss")
    assert (found["difference"] < 0) == lower_is_better
    assert found["ci_low"] * found["ci_high"] > 0


def stated(pattern: str) -> list[float]:
    """The numbers of the one sentence that matches."""
    match = re.search(pattern, " ".join(README.split()))
    assert match is not None, pattern
    return [float(number) for number in match.groups()]


@pytest.mark.parametrize("folder", [path.parent.name for path in sorted(RESULTS.glob("*/curves.csv"))])
def test_every_page_says_of_its_board_what_its_curves_say(folder, tmp_path):
    subject = compared_subject(str(RESULTS / folder), Store(tmp_path, warn=pytest.fail), loss="train", allow_code=False)
    page = (RESULTS / folder / "leaderboard.md").read_text(encoding="utf-8")
    for sentence in summary_sentences(subject.board):
        assert escape_markdown(sentence) in page


def test_nanogpts_minimum_is_reached():
    (row,) = board("nanogpt_char")
    mean, low, high = (float(row[f"least_val_loss{end}"]) for end in ("", "_ci_low", "_ci_high"))
    assert stated(r"least held-out loss is ([\d.]+) \[([\d.]+), ([\d.]+)\]") == pytest.approx(
        [mean, low, high], abs=5e-4
    )
    assert mean == pytest.approx(1.47, abs=0.02)
    assert abs(mean - NANOGPT_LEAST) < 0.02


def test_nanogpts_laptop_recipe_is_reached_within_what_a_sixth_seed_may_give():
    """Their number is of one run: it must lie where a further seed of ours does in 95%."""
    (row,) = board("nanogpt_char_laptop")
    mean, low, high = (float(row[f"val_loss{end}"]) for end in ("", "_ci_low", "_ci_high"))
    expected = [float(row["best_loss"]), mean, low, high]
    said = stated(r"ends at a training loss of ([\d.]+) and a held-out loss of ([\d.]+) \[([\d.]+), ([\d.]+)\]")
    assert said == pytest.approx(expected, abs=5e-4)
    half_of_one_more = (high - low) / 2 * (1 + 5) ** 0.5
    assert abs(mean - NANOGPT_LAPTOP) < half_of_one_more


def test_correlations_with_table_1_are_those_of_the_boards():
    found = {key[1:]: value for key, value in correlations_with_table_1("study_ahn_settings").items()}
    said = stated(r"clipping at 1: Spearman (0\.\d+); without clipping (0\.\d+); plain SGD (0\.\d+) and (0\.\d+)")
    places = [("sgd_momentum", "1.0"), ("sgd_momentum", "inf"), ("sgd", "1.0"), ("sgd", "inf")]
    assert said == [round(found[name, f"grad_clip={clip}"], 2) for name, clip in places]
    assert found["sgd_momentum", "grad_clip=1.0"] > 0.9


def test_correlations_between_optimizers_lie_where_they_are_said_to():
    with (RESULTS / "optimizer_matrix/rank_correlations.csv").open(encoding="utf-8") as file:
        found = [float(row["spearman"]) for row in csv.DictReader(file)]
    assert stated(r"any two optimizers lies between (\d\.\d+) and (\d\.\d+)") == [
        round(min(found), 2),
        round(max(found), 2),
    ]


def test_what_is_said_of_trials_that_diverged_holds():
    diverged = {(row["method"], row["optimizer"]): float(row["diverged_share"]) for row in board("vit_no_tricks")}
    said = stated(r"(\d+)% of softmax's trials by Adam diverge and (\d+)% of sigma-reparam's")
    assert said == [round(100 * diverged[name, "adamw"]) for name in ("softmax", "sigma_reparam")]


def test_as_many_pairs_are_separated_as_is_said():
    vit, small = (differences(suite, "lr_sensitivity") for suite in ("vit_digits", "lm_small"))
    of_vit, of_small = (pairs.filter(polars.col("p_holm") < 0.05) for pairs in (vit, small))
    assert stated(r"Of (\d+) pairs the seeds separate (\d+)") == [vit.height, of_vit.height]
    assert stated(r"Of (\d+) pairs of the board the seeds separate (\d+) by sensitivity") == [
        small.height,
        of_small.height,
    ]
    assert all(name.startswith("sigma_reparam") for end in ("first", "second") for name in of_vit[end])


def test_float32_changes_no_method_of_the_language_model():
    found = precision_differences("lr_sensitivity")
    assert found.height == 8
    assert stated(r"differences of (-0\.\d+) to (0\.\d+)") == [
        round(min(found["difference"].to_list()), 3),
        round(max(found["difference"].to_list()), 3),
    ]
    for score in ("lr_sensitivity", "best_loss"):
        assert (precision_differences(score)["ci_low"] < 0).all()
        assert (precision_differences(score)["ci_high"] > 0).all()


def test_no_decay_policy_is_told_apart_on_the_language_model():
    entries = [row["method"] for row in board("lm_small") if row["optimizer"] == "adamw(beta2=0.95)"]
    pairs = {
        name: comparison(
            "lm_small", "lr_sensitivity", f"{name}, adamw(beta2=0.95)", f"{name}, adamw(decays=all, beta2=0.95)"
        )
        for name in entries
    }
    assert all(pair["p_holm"] > 0.05 for pair in pairs.values())
    softmax = pairs["softmax"]
    expected = [round(softmax[name], 3) for name in ("difference", "ci_low", "ci_high")]
    assert stated(r"softmax's \((0\.\d+) \[(0\.\d+), (0\.\d+)\]\)") == expected
    largest = sorted(pairs, key=lambda name: -abs(pairs[name]["difference"]))[:2]
    assert set(largest) == {"softmax", "softmax_control"}


def test_the_table_of_what_changed_holds_todays_scores():
    today = {(row["method"], row["optimizer"]): float(row["lr_sensitivity"]) for row in board("lm_small")}
    exact = {row["method"]: float(row["lr_sensitivity"]) for row in board("lm_small_float32")}
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.MULTILINE)
    assert len(rows) == 7
    for method, *said in rows:
        found = [today[method, f"adamw({policy}beta2=0.95)"] for policy in ("decays=all, ", "")] + [exact[method]]
        assert [float(number) for number in said] == pytest.approx(found, abs=0.0051)


def test_soft_capping_is_not_told_apart_from_softmax_in_best_loss():
    for suite in ("lm_small", "lm_small_float32"):
        pair = comparison(suite, "best_loss", "soft_capping, adamw(beta2=0.95)", "softmax, adamw(beta2=0.95)")
        assert pair["p_holm"] > 0.05


def test_whose_least_head_collapses_on_the_language_model():
    """Collapse: below a tenth of the entropy of uniform rows, as the figure draws it."""
    heads = polars.read_csv(RESULTS / "lm_small/figures/entropy_by_head.csv")
    collapsed = heads.filter(polars.col("value") < polars.col("uniform_entropy") / 10)
    first = collapsed.filter(method="softmax", layer=0)["step"].min()
    assert stated(r"has collapsed after (\d+) steps") == [first]
    assert first == heads.filter(polars.col("step") > 0)["step"].min()
    never = set(heads["method"].unique()) - set(collapsed["method"].unique())
    assert never == {"relu_kernel", "soft_capping", "qk_layernorm_free", "sigma_reparam"}


def test_nothing_diverged_on_the_language_model():
    rows = [*board("lm_small"), *board("lm_small_float32")]
    assert {float(row["diverged_share"]) for row in rows} == {0}
    assert stated(r"Nothing diverged in the (\d+) trials") == [sum(int(row["num_trials"]) for row in rows)]


def test_the_floor_is_the_difference_of_softmax_and_its_control():
    found = comparison("vit_digits", "lr_sensitivity", "softmax, adamw", "softmax_control, adamw")
    said = stated(r"same function, differ by (-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")
    (row,) = (row for row in board("vit_digits") if (row["method"], row["optimizer"]) == ("softmax_control", "adamw"))
    floor = [float(row[name]) for name in ("floor", "floor_ci_low", "floor_ci_high")]
    assert said == [round(number, 2) for number in floor]
    assert abs(found["difference"]) == pytest.approx(abs(floor[0]), rel=1e-9)


def temperature_pairs() -> polars.DataFrame:
    """A line a pair of twins, with what the intervention cost."""
    pairs = polars.read_csv(RESULTS / "temperature_intervention" / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    return pairs.with_columns(cost=polars.col("capped") - polars.col("twin_capped"))


def test_effects_are_those_of_their_pairs():
    stored = polars.read_csv(RESULTS / "temperature_intervention" / "effects.csv", schema_overrides=EFFECT_COLUMNS)
    polars.testing.assert_frame_equal(effects(temperature_pairs().drop("cost")), stored, rel_tol=1e-9)


def test_nothing_diverged_under_forced_temperatures():
    pairs = temperature_pairs()
    twins = pairs.select("lr", "seed").unique().height
    assert stated(r"nothing diverged: (\d+) of (\d+) trials") == [0, pairs.height + twins]
    assert not (pairs["has_diverged"] | pairs["twin_has_diverged"]).any()


def test_what_a_temperature_of_a_tenth_costs_is_what_is_said():
    number = r"([\d.]+) \[([\d.]+), ([\d.]+)\]"
    said = {
        True: stated(rf"end {number} above the twin in warmup, {number} after it and {number} late"),
        False: stated(rf"For good it is {number}, {number} and {number}"),
    }
    sharp = temperature_pairs().filter(polars.col("strength") == 0.1, polars.col("lr") == 0.01)
    costs = {}
    for is_pulse, numbers in said.items():
        found = sharp.filter(polars.col("end_step").is_not_null() == is_pulse).sort("seed")
        for place, from_step in enumerate((25, 100, 200)):
            costs[is_pulse, from_step] = found.filter(from_step=from_step)["cost"].to_numpy()
            one = mean_interval(costs[is_pulse, from_step])
            assert numbers[3 * place : 3 * place + 3] == pytest.approx([one.value, one.low, one.high], abs=5e-3)
    later = mean_interval(costs[True, 200] - costs[True, 25])
    assert stated(rf"late minus in warmup, by seed, {number}") == pytest.approx(
        [later.value, later.low, later.high], abs=5e-3
    )
    assert later.low > 0
    assert mean_interval(costs[False, 200] - costs[False, 25]).low > 0


def test_at_the_least_rate_only_what_begins_late_is_told_from_no_cost():
    rows = polars.read_csv(RESULTS / "temperature_intervention" / "effects.csv").filter(lr=0.003)
    costly = rows.filter(polars.col("loss_low") > 0)
    assert costly.height > 0
    assert set(costly["from_step"]) == {200}


def test_the_fused_program_changes_no_score_of_table_1():
    """Interval of the difference by seed: 8 entries, three scores."""
    found = {name: fused_differences(name) for name in ("lr_sensitivity", "best_loss", "stable_decades")}
    rows = polars.concat(found.values(), how="diagonal_relaxed")
    assert stated(r"of all (\d+) intervals none leaves out 0") == [rows.height]
    assert ((rows["ci_low"] <= 0) & (rows["ci_high"] >= 0)).all()
    least, most = stated(r"differences of sensitivity lie between (-0\.\d+) and (0\.\d+)")
    assert (least, most) == (
        round(min(found["lr_sensitivity"]["difference"].to_list()), 2),
        round(max(found["lr_sensitivity"]["difference"].to_list()), 2),
    )


def crossed_costs(intervention: str, lr: float) -> numpy.ndarray:
    """What holding entropy or logits cost, by seed; less than 0 is a gain."""
    pairs = polars.read_csv(RESULTS / "collapse_or_variance" / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    of_one = pairs.filter(polars.col("intervention").str.starts_with(intervention), lr=lr).sort("seed")
    return (of_one["capped"] - of_one["twin_capped"]).to_numpy()


def test_a_floor_under_entropy_and_a_cap_on_logits_help_as_much():
    number = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"
    floor, cap = (crossed_costs(name, 0.03) for name in ("entropy_floor", "logit_clamp"))
    said = stated(rf"a floor under entropy ends {number} below the twin and a cap on logits {number}")
    for costs, numbers in ((floor, said[:3]), (cap, said[3:])):
        found = mean_interval(-costs)
        assert numbers == pytest.approx([found.value, found.low, found.high], abs=5e-3)
        assert found.low > 0
    between = mean_interval(floor - cap)
    said = stated(rf"floor minus cap, by seed, {number}")
    assert said == pytest.approx([between.value, between.low, between.high], abs=5e-3)
    assert between.low < 0 < between.high
    small = mean_interval(crossed_costs("entropy_floor", 0.003) - crossed_costs("logit_clamp", 0.003))
    assert stated(rf"the cap is the better by {number}") == pytest.approx(
        [small.value, small.low, small.high], abs=5e-4
    )
    assert small.low > 0


def test_neither_brings_back_what_learned_nothing():
    for lr in (0.1, 0.3):
        assert not crossed_costs("entropy_floor", lr).any()
        assert not crossed_costs("logit_clamp", lr).any()


@pytest.fixture(scope="module")
def box() -> polars.DataFrame:
    return polars.read_csv(RESULTS / "box_small/box.csv")


def test_the_board_of_the_box_is_that_of_its_trials(box):
    trials = polars.read_parquet(RESULTS / "box_small/box_trials.parquet")
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
    said = stated(r"Spearman (0\.\d+) \(p (0\.\d+)\); by box sensitivity, .*?, (0\.\d+) \(p (0\.\d+)\)")
    by_share = spearmanr(both["robust_share"], -both["lr_sensitivity"])
    by_regret = spearmanr(both["box_sensitivity"], both["lr_sensitivity"])
    found = [by_share.statistic, by_share.pvalue, by_regret.statistic, by_regret.pvalue]
    assert said == [round(value, digits) for value, digits in zip(found, (2, 3, 2, 3), strict=True)]
