"""What the README of suites/results/ says of recipes of others holds in the files beside it."""

import re

import polars
import polars.testing
import pytest
from scipy.stats import spearmanr

from analysis.scores.causes.effects import EFFECT_COLUMNS, PAIRED_COLUMNS, effects
from analysis.scores.seeds.intervals import mean_interval
from tests.published import README, RESULTS, board, differences, stated, table_1

NUMBER = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"
WAYS = [("sgd", "grad_clip=inf"), ("sgd", "grad_clip=1"), ("sgd_momentum", "grad_clip=inf")]
WAYS += [("sgd_momentum", "grad_clip=1")]
PASSING = "embedding=pass_through, divide_by_keys=true, query_is_key=true"
SETTINGS = {
    "none": "",
    "one query-key matrix": "merged_query_key=true",
    "y passes through, divided by N, the query among the keys": PASSING,
    "the same with one query-key matrix": f"{PASSING}, merged_query_key=true",
    "the same, not divided by N": "embedding=pass_through, query_is_key=true, merged_query_key=true",
}


SIGMA = {"sigma_reparam_qk": "sigma_reparam_qk(gamma_init=sigma)"}
NARROW = {"window_softmax": "window_softmax(width=4)"}


def of_ahn(settings: str, way: tuple[str, str], stand_ins: dict[str, str]) -> list[float]:
    """Sensitivities of Table 1's methods, in its order; stand_ins: entries in place of those of the paper's names."""
    label = ", ".join(filter(None, ("num_steps=2000", settings)))
    rows = [row for row in board("study_ahn_settings") if row["workload"] == f"in_context_regression({label})"]
    found = {row["method"]: row["lr_sensitivity"] for row in rows if (row["optimizer"], row["knobs"]) == way}
    return [float(found[stand_ins.get(name, name)]) for name in table_1()]


def correlation(settings: str, way: tuple[str, str], stand_ins: dict[str, str]) -> float:
    return round(float(spearmanr(of_ahn(settings, way, stand_ins), list(table_1().values())).statistic), 2)


@pytest.mark.parametrize("shown", SETTINGS)
def test_correlations_with_table_1_are_those_of_the_board(shown):
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {shown} | ") and " / " in line]
    cells = [tuple(map(float, cell.split(" / "))) for cell in line.strip("| ").split(" | ")[1:]]
    assert cells == [tuple(correlation(SETTINGS[shown], way, one) for one in (SIGMA, {})) for way in WAYS]


def test_the_level_of_the_best_of_ahns_settings_is_that_of_the_board():
    best = of_ahn("merged_query_key=true", WAYS[3], SIGMA)
    names = ("softmax", "window", "sigma-reparam", "sigmoid", r"ELU\+1", "QK-LayerNorm", "ReLU")
    said = stated("at a level of " + ", ".join(rf"{name} ([\d.]+)" for name in names))
    assert said == [round(value, 2) for value in best]
    narrow = [correlation("merged_query_key=true", WAYS[3], NARROW | one) for one in (SIGMA, {})]
    assert stated(r"A window of 8 keys in all takes it to ([\d.]+), gamma of 1 with it to ([\d.]+\d)") == narrow


def test_dividing_by_n_lowers_scores_and_without_it_they_blow_up():
    last = list(SETTINGS.values())[-1]
    divided, undivided = (
        [of_ahn(settings, way, {})[list(table_1()).index("softmax")] for settings in those for way in WAYS]
        for those in ([PASSING, f"{PASSING}, merged_query_key=true"], [last])
    )
    assert stated(r"lowers every score \(softmax ([\d.]+) to ([\d.]+)\)") == pytest.approx(
        [min(divided), max(divided)], abs=6e-3
    )
    assert stated(r"blows them up \(softmax (\d+) to (\d+)\)") == pytest.approx(
        [min(undivided), max(undivided)], abs=0.5
    )
    with_n, without = (
        [of_ahn(one, way, {}) for way in WAYS] for one in (f"{PASSING}, merged_query_key=true", "merged_query_key=true")
    )
    assert all(
        ours < plain for row, other in zip(with_n, without, strict=True) for ours, plain in zip(row, other, strict=True)
    )


def lm_sensitivities(model: str) -> dict[str, list[float]]:
    rows = [row for row in board("lm_wortsman") if model in row["workload"]]
    ends = ("lr_sensitivity", "ci_low", "ci_high")
    return {row["method"]: [float(row[end]) for end in ends] for row in rows}


def test_qk_layernorm_is_the_less_sensitive_by_wortsmans_recipe():
    large, small = lm_sensitivities("wortsman_10m"), lm_sensitivities("wortsman_2m")
    said = stated(rf"sensitivity at 10M {NUMBER} with QK-LayerNorm and {NUMBER} with softmax, by seed {NUMBER}")
    pairs = differences("lm_wortsman", "lr_sensitivity")
    of_model = {size: pairs.filter(polars.col("workload").str.contains(f"wortsman_{size}")) for size in ("2m", "10m")}

    def by_seed(size: str, first: str, second: str) -> list[float]:
        (row,) = (
            of_model[size]
            .filter(
                polars.col("first").str.starts_with(f"{first},"), polars.col("second").str.starts_with(f"{second},")
            )
            .iter_rows(named=True)
        )
        assert row["p_holm"] < 0.05
        return [row["difference"], row["ci_low"], row["ci_high"]]

    expected = large["qk_layernorm_free"] + large["softmax"] + by_seed("10m", "qk_layernorm_free", "softmax")
    assert said == pytest.approx(expected, abs=5e-3)
    assert stated(rf"at 2M ([\d.]+) and ([\d.]+), against the control {NUMBER}") == pytest.approx(
        [small["qk_layernorm_free"][0], small["softmax"][0], *by_seed("2m", "qk_layernorm_free", "softmax_control")],
        abs=5e-3,
    )
    assert stated(rf"at 10M {NUMBER}, softmax minus control {NUMBER}") == pytest.approx(
        large["softmax_control"] + by_seed("10m", "softmax", "softmax_control"), abs=5e-3
    )


def test_softmax_and_its_control_part_at_the_largest_rate_alone():
    runs = polars.read_csv(RESULTS / "lm_wortsman" / "curves.csv", infer_schema_length=None)
    diverged = {
        name: runs.filter(polars.col("method") == name, polars.col("lr") == 0.3)["outcome"].eq("diverged").sum()
        for name in ("softmax", "softmax_control")
    }
    assert stated(r"softmax diverged in (\d) of 6 trials, its control in none of 6") == [diverged["softmax"]]
    assert diverged["softmax_control"] == 0
    ended = runs.filter(polars.col("method") == "softmax_control", polars.col("lr") == 0.3)["final_loss"]
    assert stated(r"goes on at a loss of (\d\.\d) to (\d\.\d)") == pytest.approx([ended.min(), ended.max()], abs=0.05)


@pytest.mark.parametrize(("task", "shown"), [("lm", "text"), ("vit", "images")])
def test_what_a_temperature_costs_on_text_and_images(task, shown):
    folder = RESULTS / f"temperature_intervention_{task}"
    pairs = polars.read_csv(folder / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    assert not (pairs["has_diverged"] | pairs["twin_has_diverged"]).any()
    kept = polars.read_csv(folder / "effects.csv", schema_overrides=EFFECT_COLUMNS)
    polars.testing.assert_frame_equal(effects(pairs), kept, rel_tol=1e-9)
    sharp = pairs.filter(strength=0.1).with_columns(cost=polars.col("capped") - polars.col("twin_capped")).sort("seed")
    for words, is_pulse in (("40 steps", True), ("for good", False)):
        found = sharp.filter(polars.col("end_step").is_not_null() == is_pulse)
        costs = [found.filter(from_step=start, lr=0.01)["cost"].to_numpy() for start in (40, 140, 280)]
        intervals = [mean_interval(one) for one in (*costs, costs[2] - costs[0])]
        (line,) = re.findall(rf"^\| {shown}, {words} \| (.*) \|$", README, re.MULTILINE)
        said = [tuple(map(float, re.fullmatch(NUMBER, cell).groups())) for cell in line.split(" | ")]
        for numbers, one in zip(said, intervals, strict=True):
            assert numbers == pytest.approx((one.value, one.low, one.high), abs=6e-3)
        if is_pulse:
            for lr in (0.003, 0.01):
                early = mean_interval(found.filter(from_step=40, lr=lr)["cost"].to_numpy())
                assert early.low < 0 < early.high
        else:
            assert intervals[3].high < 0


def late_sharpness() -> polars.DataFrame:
    """Sharpness over the edge in the second half of training, the median over steps."""
    kept = polars.read_csv(RESULTS / "sharpness_edge" / "curvature.csv")
    late = kept.filter(polars.col("step") >= 300, polars.col("quantity") == "edge_ratio")
    return late.group_by("batch", "optimizer", "method", "lr").agg(polars.col("value").median())


def test_sgd_comes_near_its_edge_and_the_others_do_not():
    late = late_sharpness()
    learning = late.filter(polars.col("method") != "softmax", polars.col("lr") >= 0.003, optimizer="sgd")
    full, small = (learning.filter(batch=batch)["value"] for batch in ("full", "small"))
    assert stated(r"lie between ([\d.]+) and ([\d.]+) at rates") == pytest.approx([full.min(), full.max()], abs=5e-3)
    assert stated(r"lies between ([\d.]+) and ([\d.]+) for the same methods") == pytest.approx(
        [small.min(), small.max()], abs=5e-3
    )
    softmax = late.filter(batch="full", optimizer="sgd", method="softmax")
    assert stated(r"reaches ([\d.]+) at 0.03") == pytest.approx([softmax.filter(lr=0.03)["value"].item()], abs=5e-3)
    assert softmax.filter(polars.col("lr") < 0.03)["value"].max() < 0.02
    said = stated(r"at most ([\d.]+) and ([\d.]+) with the full batch")
    others = [late.filter(batch="full", optimizer=name)["value"].max() for name in ("sgd_momentum", "adam")]
    assert said == pytest.approx(others, abs=5e-3)


def test_free_gammas_did_not_grow():
    last = polars.read_csv(RESULTS / "gamma_ablation" / "last.csv")
    ends = last.unique(["method", "lr", "seed"]).group_by("method").agg(polars.col("outcome").eq("diverged").sum())
    diverged = dict(ends.iter_rows())
    names = ("fixed", "free", "weight_clipped", "gradient_clipped")
    fixed, free, weight_clipped, gradient_clipped = (diverged[f"qk_layernorm_{name}"] for name in names)
    assert stated(r"(\d) of 20 diverged with fixed gammas, (\d) with free ones, (\d) each") == [
        fixed,
        free,
        weight_clipped,
    ]
    assert weight_clipped == gradient_clipped
    done = last.filter(outcome="completed")
    gammas = done.filter(polars.col("quantity").str.starts_with("gamma"), method="qk_layernorm_free")
    assert stated(r"no free gamma passes ([\d.]+\d)") == pytest.approx([gammas["value"].max()], abs=5e-3)
    medians = [gammas.filter(lr=lr)["value"].median() for lr in (0.01, 0.03)]
    assert stated(r"median is ([\d.]+) at lr 0.01 and ([\d.]+) at 0.03") == pytest.approx(medians, abs=5e-3)
    variances = [
        done.filter(quantity="logit_variance", method=f"qk_layernorm_{name}", lr=lr)["value"].median()
        for name in ("free", "fixed")
        for lr in (0.01, 0.03)
    ]
    said = stated(r"variance is ([\d.]+) and ([\d.]+) where gammas fixed at 1 have ([\d.]+) and (\d\.\d)")
    assert said == pytest.approx(variances, abs=0.05)
