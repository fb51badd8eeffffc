"""What suites/results/README.md says of translation, speech and contrastive learning holds in the files beside it."""

import csv
import json

import polars
from scipy.stats import spearmanr

from tests.published import README, RESULTS, board, comparison, stated

INTERVAL = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"
SHARE = r"(-?[\d.]+)% \[(-?[\d.]+), (-?[\d.]+)\]"


def rows(suite: str, method: str, knobs: str = "") -> dict[str, str]:
    """The one row of a method on a suite's board."""
    (row,) = [row for row in board(suite) if row["method"] == method and knobs in row["knobs"]]
    return row


def values(
    row: dict[str, str], measure: str, low: str, high: str, *, factor: float = 1, digits: int = 2
) -> list[float]:
    return [round(factor * float(row[name]), digits) for name in (measure, low, high)]


def sensitivity(suite: str, method: str, knobs: str = "", digits: int = 2) -> list[float]:
    return values(rows(suite, method, knobs), "lr_sensitivity", "ci_low", "ci_high", digits=digits)


def difference(suite: str, better: str, other: str) -> list[float]:
    found = comparison(suite, "lr_sensitivity", better, other)
    return [round(found[name], 2) for name in ("difference", "ci_low", "ci_high")]


def test_speech_without_warmup_and_with():
    said = stated(
        rf"Without warmup LR sensitivity is {INTERVAL} with sigma-reparam and {INTERVAL} with softmax, a diff"
    )
    cold = "warmup_steps=0"
    assert said == sensitivity("asr_digits", "sigma_reparam", cold) + sensitivity("asr_digits", "softmax", cold)
    ends = "adam, warmup_steps=0"
    assert stated(rf"softmax, a difference of {INTERVAL}; with 100") == difference(
        "asr_digits", f"sigma_reparam, {ends}", f"softmax, {ends}"
    )
    assert stated(rf"steps of warmup {INTERVAL} and {INTERVAL}\. Each") == [
        *sensitivity("asr_digits", "sigma_reparam", "warmup_steps=100", digits=3),
        *sensitivity("asr_digits", "softmax", "warmup_steps=100"),
    ]
    assert stated(rf"alone do not do it: {INTERVAL} without warmup") == sensitivity(
        "asr_digits", "sigma_reparam_qk", cold
    )


def test_character_errors_of_speech():
    said = stated(
        rf"without warmup makes {SHARE} character errors on held-out words, softmax {SHARE}, and with warmup {SHARE}"
    )
    measure = "val_character_error_rate"
    at = [("sigma_reparam", "warmup_steps=0", 2), ("softmax", "warmup_steps=0", 1), ("softmax", "warmup_steps=100", 2)]
    expected = [
        number
        for method, knobs, digits in at
        for number in values(
            rows("asr_digits", method, knobs),
            measure,
            f"{measure}_ci_low",
            f"{measure}_ci_high",
            factor=100,
            digits=digits,
        )
    ]
    assert said == expected
    assert expected[2] < min(expected[4], expected[7]), "said to be better than softmax in both cases"


def test_translation_of_number_words():
    assert stated(rf"sigma-reparam has {INTERVAL}, softmax {INTERVAL}, a difference of {INTERVAL}; the other") == [
        *sensitivity("mt_numbers", "sigma_reparam", digits=3),
        *sensitivity("mt_numbers", "softmax"),
        *difference("mt_numbers", "sigma_reparam, adam(beta2=0.98)", "softmax, adam(beta2=0.98)"),
    ]
    scores = {row["method"]: float(row["lr_sensitivity"]) for row in board("mt_numbers") if not row["control_of"]}
    others = [score for method, score in scores.items() if method not in ("softmax", "sigma_reparam")]
    assert len(others) == 5
    assert stated(r"the other five lie from ([\d.]+) to ([\d.]+)\. Its") == [
        round(min(others), 2),
        round(max(others), 2),
    ]
    assert "lr_shifted" in rows("mt_numbers", "sigma_reparam")["flags"]


def test_the_order_on_number_words_and_on_text():
    here, there = (
        {row["method"]: float(row["lr_sensitivity"]) for row in board(suite) if "decays=all" not in row["optimizer"]}
        for suite in ("mt_numbers", "lm_small")
    )
    both = [method for method in here if method in there and method != "softmax_control"]
    assert len(both) == 6
    found = spearmanr([here[method] for method in both], [there[method] for method in both])
    assert stated(r"\(Spearman ([\d.]+), p ([\d.]+)\)\. \*\*Multi30k") == [
        round(found.statistic, 2),
        round(found.pvalue, 2),
    ]


def bleu(method: str, lr: float) -> list[float]:
    with (RESULTS / "mt_multi30k/curves.csv").open(encoding="utf-8") as file:
        trials = [row for row in csv.DictReader(file) if row["method"] == method and float(row["lr"]) == lr]
    return sorted(round(float(row["val_bleu"]), 1) for row in trials)


def test_bleu_of_multi30k():
    said = stated(
        r"has BLEU ([\d.]+) and ([\d.]+) with sigma-reparam at 3e-3, one a seed, and ([\d.]+) and ([\d.]+) with"
    )
    assert said == bleu("sigma_reparam", 3e-3) + bleu("qk_layernorm_free", 3e-3)
    assert min(said) > 33 == stated(r"more than the 28 to (\d+) of")[0]
    plain = [score for method in ("softmax", "softmax_control") for lr in (1e-3, 3e-3) for score in bleu(method, lr)]
    assert len(plain) == 8
    assert max(plain) < stated(r"stay under ([\d.]+) at both rates")[0]
    (loss,) = stated(r"held-out loss of ([\d.]+)\. Rates under")
    assert loss == round(float(rows("mt_multi30k", "softmax")["val_loss"]), 2)


def test_the_signature_of_bleu_is_that_of_the_manifest():
    manifest = json.dumps(json.loads((RESULTS / "mt_multi30k/manifest.json").read_text(encoding="utf-8")))
    signature = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
    assert signature in manifest
    assert f"`{signature}`" in README


FREE = "frozen_patches=false"


def test_contrastive_learning():
    said = stated(
        rf"sensitivity is {INTERVAL} with sigma-reparam, {INTERVAL} with QK-LayerNorm, {INTERVAL} with softmax"
    )
    methods = ("sigma_reparam", "qk_layernorm_free", "softmax")
    assert said == [number for method in methods for number in sensitivity("ssl_digits", method, FREE)]
    ends = "softmax, adamw, batch_size=64, frozen_patches="
    assert stated(rf"in these small ones softmax changes by {INTERVAL}") == difference(
        "ssl_digits", f"{ends}true", f"{ends}false"
    )


def test_what_contrastive_learning_learned():
    found = polars.DataFrame(board("ssl_digits")).with_columns(polars.col("^val_.*$").replace("", None).cast(float))
    neighbours, probes = (100 * found[f"val_{name}_accuracy"] for name in ("knn", "probe"))
    said = stated(
        r"right in (\d+) to (\d+)% of held-out .* \(([\d.]+)%\), ridge probes in (\d+) to (\d+)%.* \(([\d.]+)%\)"
    )
    assert said[:2] == [round(neighbours.min()), round(neighbours.max())]
    assert said[3:5] == [round(probes.min()), round(probes.max())]
    assert said[1] < said[2], "said to be right less often than among raw pixels"
    assert said[3] > said[5], "said to be right more often than a probe of raw pixels"
    manifest = json.loads((RESULTS / "ssl_digits/manifest.json").read_text(encoding="utf-8"))
    (raw,) = _found(manifest, "raw_pixels")
    assert [said[2], said[5]] == [round(100 * raw[f"val_{name}_accuracy"], 1) for name in ("knn", "probe")]
    rank = "val_effective_rank"
    is_sigma = found["method"] == "sigma_reparam"
    of_sigma, of_others = found.filter(is_sigma)[rank], found.filter(~is_sigma)[rank]
    assert stated(r"effective rank of ([\d.]+) to ([\d.]+), those of the others ([\d.]+) to ([\d.]+)\.") == [
        round(value, 1) for value in (of_sigma.min(), of_sigma.max(), of_others.min(), of_others.max())
    ]


def _found(value: object, name: str) -> list[dict[str, float]]:
    """Every value of that name in a JSON document."""
    if isinstance(value, dict):
        return [each for key, each in value.items() if key == name] + _found(list(value.values()), name)
    return [found for each in value for found in _found(each, name)] if isinstance(value, list) else []


def test_depth_of_post_norm():
    held_out = ("val_loss", "val_loss_ci_low", "val_loss_ci_high")
    shallow, deep = (rows("mt_deep", "softmax", f"depth={depth}, norm_placement=post") for depth in (6, 18))
    deepnorm = rows("mt_deep", "softmax", "depth=18, norm_placement=deepnorm")
    reparam = rows("mt_deep", "sigma_reparam(gamma_init=sigma)", "depth=18, norm_placement=post")
    assert stated(rf"post-norm learns, with a held-out loss of {INTERVAL}; of 18") == values(
        shallow, *held_out, digits=3
    )
    assert stated(rf"none of three rates: {INTERVAL} at the best") == values(deep, *held_out)
    assert stated(r"at the best, (\d+)% of tokens right") == [round(100 * float(deep["val_accuracy"]))]
    assert stated(rf"DeepNorm of 18 layers learns, {INTERVAL}, with") == values(deepnorm, *held_out, digits=3)
    assert stated(r"with (\d+)% right\. So post-norm") == [round(100 * float(deepnorm["val_accuracy"]))]
    assert stated(rf"its gamma starts at sigma: {INTERVAL}\. Nothing") == values(reparam, *held_out)
    assert all(float(row["diverged_share"]) == 0 for row in board("mt_deep"))
    runs = polars.read_csv(RESULTS / "mt_deep" / "curves.csv", infer_schema_length=None)
    (of_all,) = stated(r"(\d+) of its 144 trials, as the")
    assert (
        runs.height if "seed" in runs.columns else sum(int(row["num_trials"]) for row in board("mt_deep"))
    ) == of_all
    assert {row["knobs"].split(",")[0] for row in board("mt_deep")} == {"depth=6", "depth=18"}
