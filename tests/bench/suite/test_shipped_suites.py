"""Every suite that ships is valid, trains what its header says, and is checked without loading what trains."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from bench.entry import build, load_class
from bench.methods import METHODS
from bench.methods.softmax import Softmax
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.roles import BY_ROLE
from bench.suite import Suite, find_suite, load_suite, shipped_suites
from bench.workloads import WORKLOADS
from tests.bench.data.made_pairs import echoes
from tests.repetitions import one_of_each_kind

NUM_TRIALS = {
    "asr_digits": 8 * 6 * 2 * 3,
    "asr_digits_laptop": 2 * 5 * 2,
    "asr_optimizers": 3 * 4 * 12 * 3 * 2,
    "box_lm": 5 * 256 * 3,
    "box_optimizers": 8 * 512 * 3,
    "box_small": 8 * 512 * 3,
    "box_vit": 6 * 256 * 3,
    "collapse_or_variance": 5 * 10 * 3,
    "deep_postln": 2 * 2 * 4 * 2 * 3,
    "early_warning": 7 * 5 * 5,
    "edges_table1": 7 * 2 * 5,  # the ends of the range that is searched
    "gamma_ablation": 4 * 4 * 5,
    "gpt2_200": 4 * 5 * 3,
    "llama_1b": 3 * 3,
    "lm_lr_decay": 4 * 6 * 4 * 2,
    "lm_lr_warmup": 4 * 6 * 4 * 2,
    "lm_small": 8 * 7 * 5 * 2,
    "lm_small_float32": 8 * 7 * 5,
    "lm_wortsman": 2 * 3 * 7 * 3,
    "logit_forcing": 2 * 3 * (1 + 3 * 2),
    "mt_batch": 3 * 3 * 2 * 3 * 3,
    "mt_deep": 2 * 3 * 4 * 2 * 3,
    "mt_multi30k": 4 * 2 * 2,
    "mt_numbers": 8 * 7 * 3,
    "mt_numbers_laptop": 3 * 3 * 2,
    "mt_warmup": 5 * 5 * 2 * 4 * 3,
    "nanogpt_char": 5,
    "nanogpt_char_laptop": 5,
    "no_warmup_no_norm_lm": 5 * 2 * 5 * 4,
    "no_warmup_no_norm_vit": 5 * 3 * 6 * 4,
    "optimizer_matrix": 8 * 9 * 13 * 5,
    "paper_figures": 10 * 4 * 2,
    "paper_table1": 8 * 19 * 5,
    "quickstart": 4 * 9 * 3,
    "reparam_variants": 6 * 5 * 2 * 5,
    "sharpness_edge": 2 * 3 * 3 * 4 * 3,
    "temperature_intervention": 285,
    "temperature_intervention_lm": 2 * 5 * (1 + 2 * 3 * 3),
    "temperature_intervention_vit": 2 * 5 * (1 + 2 * 3 * 3),
    "ssl_digits": 4 * 5 * 2 * 3,
    "ssl_digits_laptop": 2 * 2,
    "study_ahn_settings": 5 * 10 * 2 * 13 * 2 * 3,
    "study_open_settings": 9 * 9 * 13 * 3,
    "vit_digits": 10 * 2 * 7 * 5,
    "vit_no_tricks": 5 * 2 * 10 * 5,
}
WORTSMAN_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
SEVEN = {
    "softmax",
    "qk_layernorm_free",
    "sigma_reparam_qk",
    "sigma_reparam",
    "relu_kernel",
    "soft_capping",
    "sigmoid_attention",
}
# Of the parameters of each model in millions, embeddings and the readout of 256 bytes or 10 digits included. Those of
# Wortsman et al. 2023 are 12 x 3 width^2 without embeddings, the numbers in their names.
MILLIONS = {
    "gpt_1m": (0.8, 1.3),  # of nanoGPT's for a laptop, 4 layers, 0.80: the number that its code prints
    "gpt_10m": (10.6, 10.8),
    "gpt2_124m": (85.0, 86.0),
    "wortsman_2m": (2.4, 2.6),
    "wortsman_10m": (9.4, 9.8),
    "llama_1b": (1070.0, 1080.0),
    "vit_digits": (0.19, 0.21),
    "ctc_100k": (0.12, 0.15),
    "ctc_1m": (1.2, 1.3),
    "vaswani_1m": (0.9, 1.0),
    "vaswani_6m": (5.4, 7.8),  # with 8,000 tokens 7.6
}
VALIDATE_ALL = """
import sys
from bench.suite import find_suite, load_suite, shipped_suites
for name in shipped_suites():
    load_suite(find_suite(name)).expand()
print(*sorted({"torch", "ray", "mlflow", "polars"} & set(sys.modules)))
"""


@pytest.fixture(scope="module", autouse=True)
def data_of_suites(tmp_path_factory) -> Iterator[None]:
    """Data under the names that suites have; of nanoGPT's with as many characters to tell apart as theirs."""
    folder = tmp_path_factory.mktemp("data")
    echoes(folder, tokenizer="bytes").rename(folder / "multi30k")
    characters = "".join(map(chr, range(32, 32 + 65)))
    (folder / "tinyshakespeare.txt").write_text(characters * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


FEW = [name for name, number in NUM_TRIALS.items() if number < 3000]


@pytest.fixture(scope="module", params=one_of_each_kind(NUM_TRIALS, FEW))
def suite(request) -> Suite:
    found = load_suite(find_suite(request.param))
    assert found.name == request.param
    return found


def count_parameters(workload) -> int:
    """Of a model of softmax attention; nothing is allocated."""

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    return sum(t.numel() for t in workload.init(Softmax(), draw, torch.ones((), device="meta"))[0].values())


def test_the_table_lists_every_shipped_suite():
    assert NUM_TRIALS.keys() == set(shipped_suites())


def test_every_trial_is_there_once_and_its_entries_can_be_built(suite):
    trials = suite.expand()
    assert len(trials) == suite.num_trials == NUM_TRIALS[suite.name]
    assert len({trial.id for trial in trials}) == len(trials)
    for kind, entries in (("workload", WORKLOADS), ("method", METHODS), ("optimizer", OPTIMIZERS)):
        for choice in {getattr(trial, kind) for trial in trials}:
            build(entries, choice)
    assert all(build(SCHEDULES, choice) for choice in suite.schedules)


def test_data_are_part_of_what_identifies_a_trial(suite):
    for choice in suite.workloads:
        workload = build(WORKLOADS, choice)
        revision = "revision 1" if workload.is_mixed else ""
        assert choice.digest == revision + workload.data_digest()
        assert bool(choice.digest) == (choice.name != "in_context_regression")


def test_models_are_as_large_as_their_names_say(suite):
    for choice in suite.workloads:
        own = [choice.params.get(name) for name in ("depth", "width")]  # of another size than the model's name says
        if choice.name != "in_context_regression" and own == [None, None]:
            low, high = MILLIONS[choice.params["model"]]
            assert low * 1e6 < count_parameters(build(WORKLOADS, choice)) < high * 1e6


@pytest.mark.whole
def test_suites_are_checked_without_loading_what_trains():
    ran = subprocess.run([sys.executable, "-c", VALIDATE_ALL], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


@pytest.mark.parametrize("name", ["lm_small", "vit_digits"])
def test_seven_methods_meet_on_seven_rates(name):
    suite = load_suite(find_suite(name))
    assert {choice.name for choice in suite.methods} == {*SEVEN, "softmax_control"}
    assert suite.knobs.lr == WORTSMAN_RATES


def test_every_suite_with_a_board_to_be_cited_has_an_a_a_control(suite):
    """Not the demonstration, figures, trials of a day, a search, suites of one method, which have no such board."""
    without = {"quickstart", "paper_figures", "llama_1b", "edges_table1", "nanogpt_char", "nanogpt_char_laptop"}
    without |= {"asr_digits_laptop"}
    without |= {"logit_forcing", "collapse_or_variance"}  # twins are compared, not methods
    without |= {"temperature_intervention", "temperature_intervention_lm", "temperature_intervention_vit"}
    without |= {"mt_deep", "mt_numbers_laptop"}  # do they train at all; do they run
    without |= {"gamma_ablation", "sharpness_edge", "deep_postln"}  # of what is measured beside the loss
    without |= {"ssl_digits_laptop"}  # one seed
    controls = {choice.name for choice in suite.methods if load_class(METHODS[choice.name]).control_of}
    assert controls == (set() if suite.name in without else {"softmax_control"})


def test_the_suite_of_wortsman_et_al_has_their_recipe():
    suite = load_suite(find_suite("lm_wortsman"))
    assert suite.knobs.lr == WORTSMAN_RATES
    assert (suite.knobs.weight_decay, suite.knobs.grad_clip) == ((1e-4,), (1.0,))
    [optimizer] = suite.optimizers
    assert optimizer.name == "adamw_independent"
    constants = {name: value for name, value in optimizer.params.items() if name not in BY_ROLE}
    assert constants == {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "decays": "matrices"}
    assert all(optimizer.params[name] is None for name in BY_ROLE)
    for workload in suite.workloads:
        assert suite.knobs.warmup_steps == (0.05 * workload.params["num_steps"],)
        assert (workload.params["context"], workload.params["z_loss"]) == (512, 1e-4)


def test_the_suite_of_llama_has_the_papers_recipe():
    suite = load_suite(find_suite("llama_1b"))
    [workload] = suite.workloads
    stated = {"context": 768, "batch_size": 256, "num_steps": 10_000, "precision": "bfloat16", "checkpointing": True}
    assert {name: workload.params[name] for name in stated} == stated
    assert 1e-3 in suite.knobs.lr
    assert (suite.knobs.weight_decay, suite.knobs.grad_clip) == ((0.1,), (1.0,))
