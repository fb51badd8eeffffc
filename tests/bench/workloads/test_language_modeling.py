"""Windows of a text, what is differentiated, and what dropout and evaluation do to it.

Shapes: W windows, B batch, N tokens of a window, V vocabulary.
"""

import dataclasses
import math
from typing import Any

import numpy
import pytest
import torch
from scipy import stats

from bench.data.text.sources import find_source
from bench.data.text.write import write_corpus
from bench.errors import UsageError
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.optimizers.adam import AdamW
from bench.optimizers.schedules import Constant
from bench.probes import build_probes
from bench.training.lane import LaneProgram
from bench.workloads import language_modeling
from bench.workloads.language_modeling import LanguageModeling
from tests.trials import LEAN, SMALL_LANGUAGE, corpus, language_trial

PROBES = build_probes(None)

SEEDS, STEPS = torch.tensor([0, 1, 2**33]), torch.tensor([0, 5, 7, 2**31])


@pytest.fixture(scope="module")
def counting(tmp_path_factory) -> str:
    """A corpus in which every token is another: 90 to train on, 10 held out, in order."""
    folder = tmp_path_factory.mktemp("counting")
    (folder / "text").write_text("".join(chr(0x100 + i) for i in range(100)))
    write_corpus(folder / "prepared", find_source(str(folder / "text")), "characters")
    return str(folder / "prepared")


def workload(**settings: Any) -> LanguageModeling:
    return LanguageModeling(**(SMALL_LANGUAGE | {"corpus": corpus()} | settings))


def test_windows_are_runs_of_training_tokens_and_every_start_is_as_likely(counting):
    """Token i of this corpus is i: a window counts up. Chi-squared over all starts, at p > 1e-4."""
    one = workload(corpus=counting, context=8, batch_size=100)
    tokens_WN = one.batches(torch.tensor([0, 1]), torch.arange(100))["tokens"].flatten(0, 2)
    assert torch.equal(tokens_WN, tokens_WN[:, :1] + torch.arange(9))
    counts = numpy.bincount(tokens_WN[:, 0].numpy())
    assert len(counts) == 90 - 8  # the last window ends with the last token
    assert stats.chisquare(counts).pvalue > 1e-4


def test_windows_depend_on_seed_and_step_alone():
    """Not on what else is asked, nor on the model."""
    together = workload().batches(SEEDS, STEPS)["tokens"]
    other = workload(model="llama_1m", dropout=0.5, num_micro_batches=2, checkpointing=True, z_loss=1.0)
    assert together.shape == (4, 3, 4, 9)
    assert together.dtype == torch.int64
    for t, step in enumerate(STEPS):
        for s, seed in enumerate(SEEDS):
            assert torch.equal(other.batches(seed[None], step[None])["tokens"][0, 0], together[t, s])
    assert len({tuple(window.flatten().tolist()) for window in together.flatten(0, 1)}) == 12


def test_held_out_windows_are_spread_evenly_over_the_end_of_the_text(counting):
    """The first starts where training ends, the last ends where the text does; none holds a token of training."""
    one = workload(corpus=counting, context=4, batch_size=2, eval_batches=2)
    tokens_EBN = one.held_out(torch.device("cpu"))["tokens"]
    assert tokens_EBN.shape == (2, 2, 5)
    starts = tokens_EBN[..., 0].flatten()
    assert starts.tolist() == [90, 91, 93, 95]
    assert torch.equal(tokens_EBN.flatten(0, 1), starts[:, None] + torch.arange(5))


def test_more_held_out_windows_than_starts_repeat_some(counting):
    one = workload(corpus=counting, context=8, batch_size=2, eval_batches=3)
    assert one.held_out(torch.device("cpu"))["tokens"][..., 0].flatten().tolist() == [90, 90, 90, 90, 90, 91]


def test_a_corpus_that_stays_on_disk_gives_the_same_windows(monkeypatch):
    on_device = workload().batches(SEEDS, STEPS), workload().held_out(torch.device("cpu"))
    monkeypatch.setattr(language_modeling, "MAX_ON_DEVICE", 0)
    on_disk = workload().batches(SEEDS, STEPS), workload().held_out(torch.device("cpu"))
    for one, other in zip(on_device, on_disk, strict=True):
        assert other["tokens"].dtype == torch.int64
        assert torch.equal(one["tokens"], other["tokens"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"context": 90},
            r"context 90 is too long for the training part of corpus .*, 90 tokens; take a shorter context",
        ),
        ({"context": 10}, r"context 10 is too long for the held-out part of corpus .*, 10 tokens"),
        ({"vocabulary_size": 99}, "vocabulary_size must be at least the corpus's 100, got 99"),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused(counting, settings, message):
    with pytest.raises(UsageError, match=message):
        workload(corpus=counting, **settings).data_digest()


def test_the_longest_context_that_is_admitted_can_be_drawn(counting):
    one = workload(corpus=counting, context=9, batch_size=1, eval_batches=1)
    assert one.data_digest()
    assert one.batches(SEEDS, STEPS)["tokens"].shape == (4, 3, 1, 10)
    assert one.held_out(torch.device("cpu"))["tokens"].flatten().tolist() == list(range(90, 100))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 4, "num_micro_batches": 3}, "batch_size must be a multiple of num_micro_batches, got 4 and 3"),
        ({"width": 9, "num_heads": 2}, "width must be a multiple of num_heads, got 9 and 2"),
        ({"width": 6, "num_heads": 2, "positions": "rotary"}, "rotary positions need heads of even width"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        workload(**settings)


def test_the_digest_is_that_of_the_tokens(counting, tmp_path):
    """Not of the place that they lie at."""
    (tmp_path / "text").write_text("".join(chr(0x100 + i) for i in range(100)))
    write_corpus(tmp_path / "elsewhere", find_source(str(tmp_path / "text")), "characters")
    digests = [workload(corpus=folder).data_digest() for folder in (counting, str(tmp_path / "elsewhere"), corpus())]
    assert digests[0] == digests[1] != digests[2]


def test_other_data_than_the_trials_are_refused(counting):
    one = language_trial()
    params = one.workload.params | {"corpus": counting}
    other = language_trial(workload_params=params)
    assert LaneProgram.of(one).workload.corpus == corpus()
    assert LaneProgram.of(other).workload.corpus == counting
    mixed = dataclasses.replace(one, workload=dataclasses.replace(one.workload, params=params))
    with pytest.raises(UsageError, match=r"data of .* differ from those of the suite: SHA-256 .* here, .* there"):
        LaneProgram.of(mixed)


def program_of(**settings: Any) -> LaneProgram:
    return LaneProgram(workload=workload(**settings), method=Softmax(), optimizer=AdamW(), schedule=Constant())


def started(program: LaneProgram, seed: int = 0) -> dict[str, Any]:
    return program.start(torch.tensor(seed), torch.tensor(1.0, dtype=torch.float64))


def batch_at(program: LaneProgram, step: int) -> dict[str, torch.Tensor]:
    batches = program.workload.batches(torch.tensor([0]), torch.tensor([step]))
    return {name: tensor[0, 0] for name, tensor in batches.items()}


def gradients(program: LaneProgram, *, step: int = 0, seed: int = 0, part: int = 0) -> dict[str, Any]:
    """Of the start of seed 0 on the batch of step 0, whatever step and seed dropout sees."""
    lane = started(program) | {"seed": torch.tensor(seed)}
    return program.gradients(lane, batch_at(program, 0), torch.tensor(step), torch.tensor(part))


def test_the_z_loss_is_differentiated_and_not_recorded():
    """Gradients are autograd's of PyTorch's cross entropy plus z_loss times the mean square of the log of the sum."""
    plain, penalised = program_of(), program_of(z_loss=0.1)
    lane, batch = started(plain), batch_at(plain, 0)
    params = {name: torch.nn.Parameter(p.clone()) for name, p in lane["params"].items()}
    no_dropout = Dropout(rate=0.0)
    inputs, targets = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
    buffers = {"step": torch.tensor(0)}
    logits, _ = plain.workload.network.forward(Softmax(), params, buffers, inputs, Mode(), no_dropout)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    (loss + 0.1 * logits.logsumexp(dim=-1).square().mean()).backward()
    seen = gradients(penalised)
    assert seen["loss"] == gradients(plain)["loss"]
    torch.testing.assert_close(seen["loss"], loss.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(seen["grads"], {n: p.grad for n, p in params.items()}, rtol=1e-10, atol=1e-13)
    assert not torch.equal(seen["grads"]["embed.tokens"], gradients(plain)["grads"]["embed.tokens"])


def test_dropout_depends_on_step_seed_and_part_in_training_alone():
    program = program_of(dropout=0.5, num_micro_batches=2)
    base = gradients(program)["loss"]
    assert gradients(program)["loss"] == base
    others = [gradients(program, **change)["loss"] for change in ({"step": 1}, {"seed": 1}, {"part": 1})]
    assert len({base.item(), *(loss.item() for loss in others)}) == 4


def test_evaluation_and_observation_drop_nothing():
    plain, dropping = program_of(), program_of(dropout=0.5)
    batch = batch_at(plain, 0)
    for step in (0, 3):
        now = torch.tensor(step)
        for seed in (0, 1):
            lane = started(plain) | {"seed": torch.tensor(seed)}
            measured = dropping.evaluate(lane, batch, now)
            torch.testing.assert_close(measured, plain.evaluate(lane, batch, now), rtol=0, atol=0)
            assert torch.equal(
                dropping.observe(lane, batch, now, probes=PROBES), plain.observe(lane, batch, now, probes=PROBES)
            )
    torch.testing.assert_close(measured["loss"], gradients(plain)["loss"], rtol=1e-12, atol=0)
    assert abs(gradients(dropping)["loss"] - measured["loss"]) > 1e-3


def test_attention_is_observed_on_the_first_examples():
    """As many as asked for: other examples change nothing, these do."""
    program = program_of(probe_examples=2)
    lane, batch, now = started(program), batch_at(program, 0)["tokens"], torch.tensor(0)
    observed = program.observe(lane, {"tokens": batch}, now, probes=PROBES)
    others, first = batch.clone(), batch.clone()
    others[2:], first[0] = batch[0], batch[3]
    assert torch.equal(program.observe(lane, {"tokens": others}, now, probes=PROBES), observed)
    assert not torch.equal(program.observe(lane, {"tokens": first}, now, probes=PROBES), observed)


def test_an_untrained_model_knows_nothing():
    """Its logits are near 0: a loss of log V."""
    program = program_of(initialisation="gpt2")
    assert gradients(program)["loss"].item() == pytest.approx(math.log(21), abs=0.05)


def test_a_larger_vocabulary_than_the_corpus_has_more_logits():
    program = program_of(vocabulary_size=32, **LEAN)
    assert started(program)["params"]["embed.tokens"].shape == (32, 8)
    assert started(program_of(**LEAN))["params"]["embed.tokens"].shape == (21, 8)
