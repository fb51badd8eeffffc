"""What the README of suites/results/ says holds in the files beside it."""

import csv
import re

import polars
import polars.testing
import pytest

from analysis.report.summary import summary_sentences
from analysis.text import escape_markdown
from bench.results.named import compared_subject
from bench.store import Store
from tests.published import (
    README,
    RESULTS,
    board,
    claims,
    comparison,
    differences,
    fused_differences,
    precision_differences,
    stated,
)
from tests.repetitions import one_of_each_kind

NANOGPT_LEAST, NANOGPT_LAPTOP = 1.4697, 1.901  # held-out losses that nanoGPT's README states


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: " ".join(claim[:3]))
def test_every_claim_has_its_sign_and_survives_the_correction(claim):
    found = comparison(*claim)
    assert found["p_holm"] < 0.05
    assert found["num_seeds"] >= 3
    lower_is_better = claim[1] in ("lr_sensitivity", "best_loss")
    assert (found["difference"] < 0) == lower_is_better
    assert found["ci_low"] * found["ci_high"] > 0


BOARDS = [path.parent.name for path in sorted(RESULTS.glob("*/curves.csv"))]


@pytest.mark.parametrize("folder", one_of_each_kind(BOARDS, ["paper_table1", "vit_digits"]))
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


def test_who_diverges_without_norms_is_who_is_said_to():
    trials = polars.read_csv(RESULTS / "reparam_variants/curves.csv").filter(
        polars.col("knobs") == "norm_placement=none", polars.col("method") != "softmax_control"
    )
    diverged = dict(trials.group_by("method").agg((polars.col("outcome") == "diverged").sum()).iter_rows())
    num_trials, of_softmax = stated(r"of (\d+) trials each without norms (\d+) of softmax did, none of the others")
    assert set(trials.group_by("method").len()["len"]) == {num_trials}
    assert diverged.pop("softmax") == of_softmax
    assert set(diverged.values()) == {0}


def test_bounded_norms_gain_without_norms_what_is_said_and_weight_normalisation_is_not_told_apart():
    plain = "softmax, adamw, norm_placement=none"
    (least,) = stated(r"less sensitive than softmax by more than ([\d.]+), and than weight normalisation")
    for method in ("sigma_reparam", "sigma_reparam(gamma_init=sigma)", "spectral_norm"):
        found = comparison("reparam_variants", "lr_sensitivity", f"{method}, adamw, norm_placement=none", plain)
        assert -found["difference"] > least
    for placement in ("none", "pre"):
        ends = f"adamw, norm_placement={placement}"
        found = comparison("reparam_variants", "lr_sensitivity", f"weight_norm, {ends}", f"softmax, {ends}")
        assert found["p_holm"] > 0.05
