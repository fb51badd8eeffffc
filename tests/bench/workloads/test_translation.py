"""Translation in training: lanes as alone, parts of a batch as the whole, resumed as never stopped, and what it writes.

Shapes: E batches of held-out pairs, B pairs of a batch, U target tokens.
"""

import dataclasses
import functools
import sys
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.testing.workload_steps import batch_at, held_out_of, program_of, started
from bench.training.pack import Pack
from bench.training.train import PackRun, train_pack
from bench.trial import Knobs, Trial
from bench.workloads import WORKLOADS
from bench.workloads.sentence_pairs import END, PADDING
from bench.workloads.translation import Translation
from tests.bench.data.made_pairs import echoes
from tests.trials import choice

SIZE: dict[str, Any] = {"digits": 4, "depth": 1, "width": 16, "num_heads": 2, "batch_size": 6, "held_out_pairs": 9}
SHORT: dict[str, Any] = SIZE | {"num_steps": 4, "final_loss_steps": 2, "eval_every_steps": 2, "probe_examples": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """Pairs of a text and itself."""
    return str(echoes(tmp_path_factory.mktemp("pairs")))


def translation_trial(lr: float = 0.01, seed: int = 0, method: str = "softmax", **settings: Any) -> Trial:
    chosen = choice(WORKLOADS, "translation", **(SHORT | settings))
    digest = Translation(**chosen.params).data_digest()
    return Trial(
        workload=dataclasses.replace(chosen, digest=digest),
        method=choice(METHODS, method),
        optimizer=choice(OPTIMIZERS, "adam"),
        schedule=choice(SCHEDULES, "inverse_sqrt"),
        knobs=Knobs(lr=lr, warmup_steps=2),
        seed=seed,
        probe_every=2,
    )


@functools.cache
def histories(*trials: Trial) -> dict[str, torch.Tensor]:
    """What was measured of each lane, in float64."""
    run = PackRun(Pack(trials=trials), dtype="float64")
    run.advance()
    return run._history.tensors


ONE = translation_trial(0.03, seed=0)


def test_lane_matches_solo_run():
    trials = (translation_trial(0.001), ONE, translation_trial(0.01, seed=1))
    together, alone = histories(*trials), histories(ONE)
    for name, tensor in alone.items():
        lanes = 0 if name == "initial_loss" else 1
        lane, own = together[name].select(lanes, 1), tensor.select(lanes, 0)
        torch.testing.assert_close(lane, own, rtol=1e-6, atol=1e-9)


def test_a_resumed_run_is_the_one_that_never_stopped():
    first, second = (PackRun(Pack(trials=(ONE,)), dtype="float64") for _ in range(2))
    first.advance(max_steps=3)
    second.load(first.state())
    second.advance()
    for name, tensor in histories(ONE).items():
        assert torch.equal(tensor.nan_to_num(), second._history.tensors[name].nan_to_num()), name


def test_parts_of_a_ragged_batch_have_the_mean_over_all_its_tokens():
    parts = histories(dataclasses.replace(ONE, workload=translation_trial(num_micro_batches=3).workload))
    for name in ("loss", "val", "initial_loss"):
        torch.testing.assert_close(parts[name], histories(ONE)[name], rtol=1e-6, atol=1e-9)


def test_the_held_out_loss_is_the_mean_over_all_held_out_tokens():
    """Of 9 pairs in batches of 6, the second of which is filled with 3 that have no token."""
    workload = Translation(**SHORT)
    program, lane, step = program_of(workload), started(workload), torch.tensor(0)
    means = [program.evaluate(lane, batch, step) for batch in held_out_of(workload)]
    found = workload.held_out_measures({name: sum(mean[name] for mean in means) / len(means) for name in means[0]})
    one = Translation(**(SHORT | {"batch_size": 9}))
    (batch,) = held_out_of(one)
    expected = one.held_out_measures(program_of(one).evaluate(lane, batch, step))
    for name in workload.measures:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-9)


def test_what_greedy_decoding_writes_is_what_every_token_right_means():
    """A model's own translations as targets are exact matches; with one other token they are none."""
    workload = Translation(**SHORT)
    program, lane, step = program_of(workload), started(workload), torch.tensor(0)
    batch = batch_at(workload, 0)
    written_BU = program.generate(lane, batch, step)
    weights = torch.full_like(batch["weights"], 1 / batch["weights"].shape[1])
    own = batch | {"target": written_BU, "weights": torch.where(written_BU == PADDING, 0, weights)}
    assert program.evaluate(lane, own, step)["exact"] == 1
    other = own | {"target": torch.where(torch.arange(written_BU.shape[1]) == 1, 5, written_BU)}
    assert not (written_BU[:, 1] == 5).any()
    assert program.evaluate(lane, other, step)["exact"] == 0


def test_references_as_translations_have_a_bleu_and_chrf_of_100(folder):
    pytest.importorskip("sacrebleu", reason="needs the extra 'translation'")
    workload = Translation(**(SHORT | {"generates": True, "data": folder, "held_out_pairs": None}))
    target_EBU = workload.held_out(torch.device("cpu"))["target"]
    assert workload.generated_measures(target_EBU) == pytest.approx({"val_bleu": 100, "val_chrf": 100})
    cut_EBU = torch.where(torch.arange(target_EBU.shape[-1]) > 3, END, target_EBU)
    assert workload.generated_measures(cut_EBU)["val_chrf"] < 50


def test_bleu_is_measured_once_after_the_last_update_and_not_of_a_diverged_lane():
    pytest.importorskip("sacrebleu", reason="needs the extra 'translation'")
    fine, bad = (translation_trial(lr, generates=True) for lr in (0.01, 1e30))
    results, traces = train_pack(Pack(trials=(fine, bad)))
    assert 0 <= results[0].held_out["val_chrf"] <= 100
    assert 0 <= results[0].held_out["val_bleu"] <= 100
    assert (results[1].held_out["val_bleu"], results[1].held_out["val_chrf"]) == (None, None)
    assert not traces[fine.id]["quantity"].is_in(["val_bleu", "val_chrf"]).any()
    assert results[0].held_out["val_exact_match"] is not None


def test_bleu_without_sacrebleu_is_refused_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(UsageError, match=r"need sacrebleu: pip install '.*\[translation\]'"):
        Translation(**(SHORT | {"generates": True})).data_digest()
    Translation(**SHORT).data_digest()


def test_signatures_and_pairs_left_out_stand_in_the_manifest(folder):
    pytest.importorskip("sacrebleu", reason="needs the extra 'translation'")
    facts = Translation(**(SHORT | {"generates": True, "data": folder, "max_tokens": 18})).data_facts()
    assert facts["val_bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert facts["train_pairs_left_out"] > 0
    assert Translation(**SHORT).data_facts() == {}


@pytest.mark.whole
def test_numbers_are_learned():
    trial = translation_trial(0.02, num_steps=40, eval_every_steps=40, batch_size=16)
    (result,), _ = train_pack(Pack(trials=(dataclasses.replace(trial, probe_every=40),)))
    assert result.held_out["val_loss"] < result.held_out["initial_val_loss"] - 1
    assert result.held_out["val_accuracy"] > 0.2
