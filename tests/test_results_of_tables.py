"""Tables and single numbers of the README of suites/results/ hold in the files beside it."""

import math
import re

import polars as pl
import pytest
from scipy.stats import kendalltau, spearmanr

from bench.driver.manifest import data_facts
from bench.suite import find_suite, load_suite
from tests.published import README, RESULTS, board, comparison, differences, stated, table_1
from tests.test_results_of_studies import SETTINGS as STUDIED
from tests.test_results_of_studies import SIGMA, WAYS, correlation

NUMBER = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"
METHODS = (
    *("softmax", "window_softmax", "sigma_reparam_qk", "sigmoid_kernel", "elu_kernel"),
    *("qk_layernorm_weight_clipped", "relu_kernel", "relu_kernel(eps=1e-06)"),
)
STUDY = "in_context_regression(num_steps=2000"
SETTINGS = {
    "none": f"{STUDY})",
    "4,000 steps": "in_context_regression(num_steps=4000)",
    "batch 32 instead of 128": f"{STUDY}, batch_size=32)",
    "initial gain 0.02 instead of 0.1": f"{STUDY}, initial_gain=0.02)",
    "initial gain 0.5": f"{STUDY}, initial_gain=0.5)",
    "attention divided by N": f"{STUDY}, divide_by_keys=true)",
    "y passes through with weight 1": f"{STUDY}, embedding=pass_through)",
    "the same, divided by N": f"{STUDY}, embedding=pass_through, divide_by_keys=true)",
    "no residual connections": f"{STUDY}, residual=false)",
}


def cells(first: str, num_cells: int) -> list[str]:
    """The further cells of the table's row that begins so and has so many."""
    rows = [line.strip("| ").split(" | ") for line in README.splitlines() if line.startswith(f"| {first} | ")]
    (found,) = [row[1:] for row in rows if len(row) == num_cells + 1]
    return found


def test_softmax_and_its_control_differ_in_table_1_as_is_said():
    found = comparison("paper_table1", "lr_sensitivity", "softmax, sgd", "softmax_control, sgd")
    said = stated(rf"Softmax and its control, the same function by other operations, differ by {NUMBER}")
    assert [abs(one) for one in said] == pytest.approx(
        sorted([abs(found["difference"]), *(abs(found[end]) for end in ("ci_low", "ci_high"))]), abs=5e-4
    )


def test_rank_correlations_with_table_1_are_those_of_the_board():
    ours = {row["method"]: float(row["lr_sensitivity"]) for row in board("paper_table1")}
    mine, theirs = [ours[name] for name in table_1()], list(table_1().values())
    (spearman, _), (kendall, _) = spearmanr(mine, theirs), kendalltau(mine, theirs)
    expected = [float(f"{one:.2f}") for one in (spearman, kendall)]
    assert stated(r"Rank correlation with the paper: Spearman ([\d.]+), Kendall ([\d.]+\d)") == expected


@pytest.mark.parametrize("shown", SETTINGS)
def test_the_table_of_open_settings_is_that_of_its_board(shown):
    rows = [row for row in board("study_open_settings") if row["workload"] == SETTINGS[shown]]
    found = {row["method"]: float(row["lr_sensitivity"]) for row in rows}
    *said, paper = cells(shown, len(METHODS) + 1)
    assert [float(one.rstrip("*")) for one in said] == pytest.approx(
        [found[name] for name in METHODS], rel=0.006, abs=0.006
    )
    if paper != "-":
        correlation, _ = spearmanr([found[name] for name in table_1()], list(table_1().values()))
        assert float(paper) == pytest.approx(correlation, abs=0.006)
    if shown == "none":
        halves = [(float(row["ci_high"]) - float(row["ci_low"])) / 2 for row in rows]
        least, most = stated(r"half-widths of the intervals in the first row are ([\d.]+) to ([\d.]+\d)")
        assert (least, most) == pytest.approx((min(halves), max(halves)), abs=6e-3)


def test_some_open_settings_move_every_score_by_more_than_the_methods_differ():
    """As the README of the project says: each method's change, beside the range of all with none changed."""
    scores = {
        shown: {
            row["method"]: float(row["lr_sensitivity"])
            for row in board("study_open_settings")
            if row["workload"] == one
        }
        for shown, one in SETTINGS.items()
    }
    none = scores.pop("none")
    least = [min(abs(own[name] - none[name]) for name in table_1()) for own in scores.values()]
    assert max(least) > max(none[name] for name in table_1()) - min(none[name] for name in table_1())


@pytest.mark.parametrize("name", ["ssl_digits", "ssl_digits_laptop"])
def test_what_raw_pixels_are_worth_is_what_the_headers_say(name):
    path = find_suite(name)
    (facts,) = {tuple(one["raw_pixels"].items()) for one in data_facts(load_suite(path)).values()}
    header = " ".join(
        line.strip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    )
    said = re.search(r"([\d.]+)%,? (?:and )?a ridge probe'?s? ([\d.]+)%", header)
    assert said is not None
    assert [float(one) for one in said.groups()] == [round(100 * value, 1) for _, value in facts]


def test_seeds_clipped_before_averaging_give_the_row_that_is_said():
    rows = [
        row for row in board("study_open_settings", "leaderboard_seedwise.csv") if row["workload"] == SETTINGS["none"]
    ]
    found = {row["method"]: float(row["lr_sensitivity"]) for row in rows}
    said = cells("none, seeds clipped before averaging", len(METHODS))
    assert [float(one) for one in said] == pytest.approx([found[name] for name in METHODS], abs=0.006)


def test_nanogpts_recipe_overfits_from_the_steps_on_that_are_said():
    runs = pl.read_csv(RESULTS / "nanogpt_char/curves.csv")
    assert stated(r"overfits, to ([\d.]+\d) at the end") == pytest.approx([runs["val_loss"].mean()], abs=5e-3)
    steps = re.search(r"at step ([\d,]+) or ([\d,]+) of 5,000", " ".join(README.split()))
    assert steps is not None
    assert {float(step.replace(",", "")) for step in steps.groups()} == set(runs["least_val_loss_step"])


def test_where_a_sixth_seed_of_the_laptop_recipe_would_lie():
    (row,) = board("nanogpt_char_laptop")
    mean, low, high = (float(row[f"val_loss{end}"]) for end in ("", "_ci_low", "_ci_high"))
    half = (high - low) / 2 * 6**0.5
    assert stated(r"would lie in 95% between ([\d.]+) and ([\d.]+\d)") == pytest.approx(
        [mean - half, mean + half], abs=6e-4
    )


def test_softmax_and_its_control_agree_below_the_largest_rate():
    runs = pl.read_csv(RESULTS / "lm_wortsman/curves.csv", infer_schema_length=None).filter(pl.col("lr") < 0.3)
    keys = ["workload", "lr", "seed"]
    pairs = runs.filter(method="softmax").join(runs.filter(method="softmax_control"), on=keys, suffix="_control")
    apart = pairs.group_by("workload", "lr").agg(
        difference=(pl.col("final_loss") - pl.col("final_loss_control")).mean(),
        error=(pl.col("final_loss") - pl.col("final_loss_control")).std() / 3**0.5,
    )
    assert apart.height == 12
    assert (apart["difference"].abs() < 4.303 * apart["error"]).all()  # Student's t, two degrees of freedom


def test_what_sigma_reparam_on_queries_and_keys_does_without_tricks():
    rows = {(row["method"], row["optimizer"]): row for row in board("vit_no_tricks")}
    diverged = float(rows["sigma_reparam_qk", "adamw"]["diverged_share"])
    assert stated(r"On queries and keys alone it helps, too, but (\d+)% diverge") == [round(100 * diverged)]
    pairs = differences("vit_no_tricks", "lr_sensitivity")
    both = pl.col("first").str.ends_with("sgd_momentum") & pl.col("second").str.ends_with("sgd_momentum")
    is_softmax = (pl.col("first") == "softmax, sgd_momentum") | (pl.col("second") == "softmax, sgd_momentum")
    of_sgd = pairs.filter(both & is_softmax)
    assert of_sgd.height >= 3
    assert (of_sgd["p_holm"] > 0.05).all()


def test_seeds_part_by_sgd_where_gamma_starts_at_1():
    runs = pl.read_csv(RESULTS / "vit_no_tricks/curves.csv", infer_schema_length=None)
    (lr,) = stated(r"with gamma from 1, seeds part from each other at ([\d.]+\d)")
    losses = runs.filter(method="sigma_reparam", optimizer="sgd_momentum", lr=lr)["final_loss"].to_list()
    chance = math.log(10)  # nats, of ten digits
    assert min(losses) < 0.01 * chance
    assert max(losses) > 0.9 * chance


def test_the_best_of_ahns_settings_is_the_best_of_as_many_as_is_said():
    found = [correlation(one, way, gamma) for one in STUDIED.values() for way in WAYS for gamma in (SIGMA, {})]
    assert stated(r"It is the best of (\d+), chosen after looking") == [len(found)]
    assert stated(r"momentum and clipping: ([\d.]+), at a level") == [max(found)]


def test_sensitivities_of_the_earlier_board_are_those_that_were_committed():
    earlier = {row["method"]: row for row in board("lm_small", "sensitivities_2026-11-22.csv")}
    assert {row["num_seeds"] for row in earlier.values()} == {"3"}
    table = README[README.index("| method | 2026-11-22 |") :].partition("\n\n")[0]
    said = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|", table, re.MULTILINE))
    assert {name: float(one) for name, one in said.items()} == {
        name: pytest.approx(float(row["lr_sensitivity"]), abs=0.0051) for name, row in earlier.items()
    }


def test_the_matrix_of_optimizers_is_that_of_its_board():
    found = pl.read_csv(RESULTS / "optimizer_matrix/optimizer_matrix.csv")
    optimizers = found["optimizer"].unique().sort().to_list()
    rows = {(row["method"], row["optimizer"]): row for row in found.iter_rows(named=True)}
    assert "| method | " + " | ".join(optimizers) + " | mean |" in README
    for method in found["method"].unique():
        *said, mean = cells(method, len(optimizers) + 1)
        for cell, optimizer in zip(said, optimizers, strict=True):
            row = rows[method, optimizer]
            assert float(cell.rstrip("*")) == pytest.approx(row["lr_sensitivity"], abs=0.006)
            assert cell.endswith("*") == (row["learned_little"] or row["at_chance"])
        assert float(mean) == pytest.approx(rows[method, "sgd"]["method_mean"], abs=0.006)
    halves = [(high - low) / 2 for low, high in found.select("ci_low", "ci_high").drop_nulls().iter_rows()]
    least, most = stated(r"half-widths of the 95% intervals are mostly ([\d.]+) to ([\d.]+\d?)\.")
    assert sum(least <= half <= most for half in halves) > len(halves) / 2


def test_the_two_kernels_that_learn_little_by_sgd_learn_less_than_a_quarter():
    trials = pl.read_csv(RESULTS / "optimizer_matrix/curves.csv", infer_schema_length=None).filter(optimizer="sgd")
    (initial,) = trials.select(pl.col("initial_loss").mean()).row(0)
    learned = {
        row["method"]: initial - float(row["best_loss"])
        for row in board("optimizer_matrix")
        if row["optimizer"] == "sgd"
    }
    for name in ("elu_kernel", "sigmoid_kernel"):
        assert learned[name] < learned["qk_layernorm_weight_clipped"] / 4


@pytest.mark.parametrize(("suite", "knob"), [("lm_lr_warmup", "warmup_steps"), ("lm_lr_decay", "weight_decay")])
def test_the_tables_of_two_knobs_are_those_of_their_boards(suite, knob):
    rows = board(suite)
    assert {float(row["diverged_share"]) for row in rows} == {0}
    header = {"lm_lr_warmup": "| method | no warmup |", "lm_lr_decay": "| method | decay 0 |"}[suite]
    table = README[README.index(header) :].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == 3
    for line in table:
        method, *said = line.strip("| ").split(" | ")
        own = {_value(row["knobs"], knob): row for row in rows if row["method"] == method}
        assert len(own) == len(said) == 4
        for cell, value in zip(said, sorted(own), strict=True):
            loss, score = (float(one) for one in re.findall(r"\d+\.\d+", cell))
            assert loss == pytest.approx(float(own[value]["best_loss"]), abs=0.006)
            assert score == pytest.approx(float(own[value]["lr_sensitivity"]), abs=0.006)


def _value(knobs: str, knob: str) -> float:
    match = re.search(rf"{knob}=([\d.]+)", knobs)
    assert match is not None, knobs
    return float(match[1])
