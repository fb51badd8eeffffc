"""The paragraph of methods says what the results and the manifest hold, and cites what it names."""

import json
import re
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from analysis.paper.bibliography import OWN_KEY, SOURCES, bib_entries
from analysis.paper.methods_text import FORMULAS, methods_text
from analysis.paper.optimizers_text import DECAYED
from analysis.paper.placements import WORDS
from analysis.paper.prose import cited_keys, text_latex, text_markdown
from analysis.scores.robustness import SENSITIVITIES
from bench.optimizers.decay import Decays
from bench.workloads.translation import CrossNormPlacement
from tests.analysis.latex_documents import compiled_body, complaints
from tests.analysis.synthetic_results import frame, results, row

MANIFEST = {
    "suite": {
        "workloads": [
            {"name": "language_modeling", "model": "llama_1m", "num_steps": 1500, "final_loss_steps": 50, "depth": None,
             "checkpointing": False},
        ],
        "methods": [{"name": "softmax"}, {"name": "relu_kernel", "eps": 0.5}],
        "optimizers": [{"name": "sgd"}, {"name": "adamw", "beta2": 0.95}, {"name": "adamw", "beta2": 0.9}],
        "schedules": [{"name": "cosine", "final_fraction": 0.0}],
    },
    "bench": "0.1.0",
    "git": "5b1e4b77c71be55f048caf596a69b88c6cc5a8f2+changes",
    "python": "3.12.3",
    "packages": {"torch": "2.11.0", "mlflow": "3.17.2"},
    "device": "1 GPU (H100)",
    "cpu": "x86_64, 16 cores",
    "precision": "float32, `TF32` off",
}  # fmt: skip


ADAFACTOR = {"name": "adafactor", "clip_threshold": 1.0, "decay_power": 0.8, "eps": 1e-30}


def told(data=None, *, score="lr_sensitivity", loss="train", manifest=None):
    return methods_text(results(num_seeds=3) if data is None else data, score=score, loss=loss, manifest=manifest)


@pytest.fixture(scope="module")
def with_manifest():
    return text_markdown(told(manifest=MANIFEST))


def test_model_data_steps_and_optimizer_are_those_of_the_manifest(with_manifest):
    assert (
        "language modelling [@touvron2023llama] for 1,500 steps (checkpointing off, model llama\\_1m)" in with_manifest
    )
    assert "relu\\_kernel [@hong2025variance] (eps 0.5)" in with_manifest
    assert "The optimizer was sgd [@robbins1951stochastic], with" in with_manifest
    assert "training loss, mean over the last steps (50)" in with_manifest


def test_what_is_learned_is_cited_beside_the_model():
    entry = {"name": "self_supervised_images", "model": "vit_digits", "num_steps": 300, "final_loss_steps": 30}
    text = text_markdown(told(manifest=MANIFEST | {"suite": MANIFEST["suite"] | {"workloads": [entry]}}))
    keys = "@chen2020simple; @chen2021empirical; @dosovitskiy2021image"
    assert f"self-supervised learning of images [{keys}] for 300 steps" in text


def test_norm_placements_of_papers_are_explained_and_cited_wherever_they_are_named():
    entry = {"name": "translation", "model": "vaswani_1m", "num_steps": 300, "norm_placement": ["post", "admin"]}
    suite = MANIFEST["suite"] | {"workloads": [entry], "knobs": {"norm_placement": ["pre", "peri", "admin"]}}
    text = text_markdown(told(manifest=MANIFEST | {"suite": suite}))
    assert "Norm placements: admin [@liu2020understanding] are norms after each branch, with learned" in text
    assert "over the first batch of a seed; peri [@kim2025periln] are norms before and after each branch. " in text
    plain = MANIFEST["suite"] | {"workloads": [entry | {"norm_placement": None}]}
    assert "placements" not in text_markdown(told(manifest=MANIFEST | {"suite": plain}))


def test_rates_and_decay_by_role_are_told_of_the_optimizers_that_have_them():
    optimizers = [
        {"name": "adamw", "decays": "matrices", "lr_embedding": 0.1, "lr_norm": 2.0, "no_decay": ["readout", "mlp"]},
        {"name": "adam", "decays": "matrices", "lr_embedding": None, "no_decay": None},
    ]
    data = frame([row("softmax", 0.1, seed, 1.0, weight_decay=0.1) for seed in (0, 1)])
    text = text_markdown(told(data, manifest=MANIFEST | {"suite": MANIFEST["suite"] | {"optimizers": optimizers}}))
    rates = "by 0.1 for the role embedding and by 2.0 for the role norm"
    assert f"The learning rate of adamw was multiplied {rates}. We tried" in text
    decayed = DECAYED["matrices"]
    assert f"acted on {decayed}, and not on parameters of the role readout and mlp or on {decayed}. " in text
    varied = data.with_columns(settings=pl.Series(['{"lr_query":0.1}', '{"optimizer.lr_key":1.0}']))
    assert "multiplied by 0.1 for the role query and by 1.0 for the role key. " in text_markdown(
        told(varied, manifest=MANIFEST | {"suite": MANIFEST["suite"] | {"optimizers": optimizers[1:]}})
    )
    assert "multiplied" not in text_markdown(told(data, manifest=MANIFEST))


def test_words_are_of_all_placements_that_have_a_paper():
    assert set(WORDS) == set(SOURCES["norm_placement"])
    assert set(get_args(CrossNormPlacement)) == {*WORDS, "pre", "post", "none"}


def test_learning_rates_knobs_seeds_and_outcomes_are_those_of_the_results():
    data = frame(
        [
            row("softmax", 0.1, 0, 1.0, weight_decay=0.1),
            row("softmax", 0.1, 7, float("inf"), weight_decay=0.1, grad_clip=1.0),
            row("softmax", 0.3, 0, None, weight_decay=0.1),
        ]
    )
    text = text_markdown(told(data))
    assert "2 learning rates (0.1, 0.3)" in text
    assert "weight\\_decay 0.1, grad\\_clip 1 or off, init\\_scale 1" in text
    assert "2 seeds (0, 7)" in text
    assert "3 trials, of which 1 completed, 1 diverged and 1 were lost" in text
    assert "has diverged as soon as its loss or gradient norm is not finite" in text


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"decays": "matrices"}, "acted on matrices of weights and embeddings, not on gains, biases and what methods"),
        ({"decays": "all_but_embeddings"}, "acted on every tensor but embeddings. "),
        ({}, "acted on every tensor. "),
    ],
)
def test_what_weight_decay_acted_on_is_said_where_there_was_any(params, words):
    """A manifest from before there was a choice: on every tensor."""
    manifest = {"suite": {**MANIFEST["suite"], "optimizers": [{"name": "adamw", **params}]}}
    decayed = frame([row("softmax", 0.1, seed, 1.0, weight_decay=0.1) for seed in (0, 1)])
    assert f"Weight decay {words}" in text_markdown(told(decayed, manifest=manifest))
    assert "Weight decay acted" not in text_markdown(told(manifest=manifest))
    assert "Weight decay acted" not in text_markdown(told(decayed))


def test_what_weight_decay_acted_on_is_said_of_optimizers_that_have_it():
    """In a box of optimizers some have none: Adafactor's tensors did not decay."""
    manifest = {"suite": {**MANIFEST["suite"], "optimizers": [{"name": "adamw", "decays": "matrices"}, ADAFACTOR]}}
    decayed = frame([row("softmax", 0.1, seed, 1.0, weight_decay=0.1) for seed in (0, 1)])
    assert "acted on matrices of weights and embeddings, not on gains, biases and what methods learn beside them. " in (
        text_markdown(told(decayed, manifest=manifest))
    )
    without = {"suite": {**MANIFEST["suite"], "optimizers": [ADAFACTOR, {"name": "shampoo"}, {"name": "other:Own"}]}}
    assert "Weight decay acted" not in text_markdown(told(decayed, manifest=without))


def test_knobs_that_are_settings_are_named_and_decays_among_them_is_what_decayed():
    manifest = {"suite": {**MANIFEST["suite"], "optimizers": [{"name": "adamw", "decays": "matrices"}]}}
    settings = [{"decays": decays, "depth": depth} for decays in ("matrices", "all") for depth in (4, 2)]
    rows = [row("softmax", 0.1, 0, 1.0, weight_decay=0.1, settings=json.dumps(one)) for one in settings]
    text = text_markdown(told(frame(rows), manifest=manifest))
    assert "on every tensor or on matrices of weights and embeddings, not on gains" in text
    assert "init\\_scale 1, decays all or matrices, depth 2 or 4. " in text


def test_losses_that_are_measured_with_dropout_are_said_to_be():
    (entry,) = MANIFEST["suite"]["workloads"]
    said = {
        rate: text_markdown(told(manifest={"suite": MANIFEST["suite"] | {"workloads": [entry | {"dropout": rate}]}}))
        for rate in (0.0, 0.2)
    }
    words = "Training losses, those at init among them, are measured with dropout, held-out losses without it. "
    assert [words in text for text in said.values()] == [False, True]


def test_every_choice_of_what_decays_has_words():
    assert set(DECAYED) == set(get_args(Decays))


def test_versions_and_hardware_are_those_of_the_manifest_or_said_to_be_unknown(with_manifest):
    assert with_manifest.endswith(
        "We used attention-robustness-bench 0.1.0 [@attentionrobustnessbench] (commit 5b1e4b77c71b with changes), "
        "Python 3.12.3, torch 2.11.0, on 1 GPU (H100), x86\\_64, 16 cores; float32, TF32 off.\n"
    )
    assert text_markdown(told()).endswith("Versions and hardware were not recorded.\n")
    assert text_markdown(told(manifest={"suite": {}})).endswith("Versions and hardware were not recorded.\n")
    assert "commit" not in text_markdown(told(manifest={**MANIFEST, "git": "not a git checkout"}))


def test_a_name_that_the_suite_has_twice_is_not_told_with_the_constants_of_one():
    data = results(num_seeds=2).with_columns(optimizer=pl.lit("adamw(beta2=0.9)"))
    text = text_markdown(told(data, manifest=MANIFEST))
    assert "The optimizer was adamw(beta2=0.9) [@loshchilov2019decoupled], with" in text


def test_one_seed_has_no_intervals_and_many_have_holm():
    assert "With one seed there are no intervals" in text_markdown(told(results(num_seeds=1)))
    keys = cited_keys(told())
    assert {"holm1979simple", "efron1981jackknife"} <= set(keys)
    assert "efron1981jackknife" not in cited_keys(told(results(num_seeds=1)))


@pytest.mark.parametrize("score", SENSITIVITIES)
def test_score_is_defined_and_cited(score):
    text = told(score=score)
    assert "hong2025variance" in cited_keys(text)
    if score in FORMULAS:
        assert all(f"${formula}$" in text_latex(text) for formula in FORMULAS[score])


def test_held_out_loss_is_named():
    assert "All scores are of the held-out loss" in text_markdown(told(loss="validation", manifest=MANIFEST))


def test_citations_are_the_same_in_both_forms_and_exist():
    text = told(manifest=MANIFEST)
    latex = [key for keys in re.findall(r"\\cite\{(.*?)\}", text_latex(text)) for key in keys.split(",")]
    markdown = re.findall(r"@(\w+)", text_markdown(text))
    assert latex == markdown
    assert list(dict.fromkeys(latex)) == cited_keys(text)
    assert set(latex) - {OWN_KEY} <= set(bib_entries())


def test_what_is_told_of_training_is_of_our_own_trials_and_of_imports_what_their_files_say():
    own = frame([row("softmax", 0.1, seed, 1.0) for seed in (0, 1)])
    theirs = frame([row("softmax(imported=theirs)", 0.3, seed, 2.0, optimizer="lion") for seed in (5, 6)])
    imports = {"theirs": {"file": "t.csv", "sha256": "a" * 64, "sources": [], "assumed": {}}}
    manifest = {**MANIFEST, "imports": imports}
    text = text_markdown(
        methods_text(pl.concat([own, theirs]), score="lr_sensitivity", loss="train", manifest=manifest, imported=theirs)
    )
    trained, _, rest = text.partition("We imported")
    assert "We trained one attention method: softmax [@vaswani2017attention]; on" in trained
    assert "one learning rate (0.1)" in trained
    assert "2 seeds (0, 1)" in trained
    assert "2 trials, of which 2 completed" in trained
    assert rest.startswith(" 2 runs that others trained, of softmax(imported=theirs)")
    assert "mean over the last steps (50); of imported runs, as their files state it. " in rest
    assert "For our own trials we used attention-robustness-bench" in rest


def test_of_imports_alone_nothing_is_said_to_be_ours():
    theirs = frame([row("softmax", 0.3, seed, 2.0) for seed in (5, 6)])
    alone = methods_text(theirs, score="lr_sensitivity", loss="train", manifest={"imports": {}}, imported=theirs)
    text = text_markdown(alone)
    assert text.startswith("We imported 2 runs that others trained, of softmax")
    assert all(words not in text for words in ("We trained", "We tried", "We used", "Each setting", "our own"))
    assert "All scores are of the training loss, as their files state it. " in text
    assert text.endswith("What versions and hardware the runs were trained with is not recorded.\n")


def test_shipped_manifests_are_told():
    paths = sorted((Path(__file__).parents[3] / "suites/results").glob("*/manifest.json"))
    assert paths
    for path in paths:
        manifest = json.loads(path.read_text())
        text = text_markdown(told(manifest=manifest))
        assert f"torch {manifest['packages']['torch']}" in text
        assert all(f"[@{key}" in text or f"; @{key}" in text for key in ("hong2025variance", "vaswani2017attention"))


@pytest.mark.whole
def test_hostile_names_compile(tmp_path):
    name = 'a_b%&$#{}~^\\|<>"[x]\n\x07α'
    data = results(num_seeds=2).with_columns(method=pl.lit(name), optimizer=pl.lit(name), workload=pl.lit(name))
    suite = {**MANIFEST["suite"], "workloads": [{"name": name, "num_steps": [10, 20], name: name}]}
    texts = [text_latex(told(data, manifest=manifest)) for manifest in (None, {**MANIFEST, "suite": suite})]
    log = compiled_body(tmp_path, re.sub(r"~\\cite\{.*?\}", "", "\n\n".join(texts)))
    assert complaints(log) == []


def test_intervals_that_reach_up_are_told_where_the_flag_is_raised():
    data = results(num_seeds=3)
    plain = methods_text(data, score="lr_sensitivity", loss="train", flags={"few_seeds"})
    found = methods_text(data, score="lr_sensitivity", loss="train", flags={"cliff_wanders", "few_seeds"})
    assert "johnson1940applications" not in cited_keys(plain)
    assert "(flag cliff\\_wanders)" in text_markdown(found)
    assert cited_keys(found) == [*cited_keys(plain), "johnson1940applications"]
