"""Held-out bits per byte are those of the text, whatever its tokens."""

import math
from typing import Any

import pytest
import torch

from bench.data.text.corpus import open_corpus
from bench.data.text.sources import find_source
from bench.data.text.write import write_corpus
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.optimizers.adam import AdamW
from bench.optimizers.schedules import Constant
from bench.training.lane import LaneProgram
from bench.workloads.language_modeling import LanguageModeling
from tests.trials import LEAN, SMALL_LANGUAGE


@pytest.mark.parametrize("tokenizer", ["bytes", "characters", "bpe"])
def test_bits_per_byte_are_those_of_the_text_that_is_predicted(tokenizer: Any, tmp_path):
    """-log2 of the probability of all held-out windows over the bytes of their text, counted by decoding."""
    (tmp_path / "text").write_text("le café, the cat, 中 and the thé\n" * 60)
    write_corpus(tmp_path / "out", find_source(str(tmp_path / "text")), tokenizer)
    settings = {"corpus": str(tmp_path / "out"), "tokenizer": tokenizer, "context": 7, "eval_batches": 3}
    workload = LanguageModeling(**(SMALL_LANGUAGE | LEAN | settings))
    program = LaneProgram(workload=workload, method=Softmax(), optimizer=AdamW(), schedule=Constant())
    lane = program.start(torch.tensor(0), torch.tensor(1.0, dtype=torch.float64))
    held_out = workload.held_out(torch.device("cpu"))
    corpus = open_corpus(str(tmp_path / "out"), tokenizer=tokenizer)
    means, nats, num_bytes = [], 0.0, 0
    for place in range(3):
        batch = {name: tensor[place] for name, tensor in held_out.items()}
        means.append(program.evaluate(lane, batch, torch.tensor(0)))
        buffers = program.buffers(lane, torch.tensor(0))
        arguments = (Softmax(), lane["params"], buffers, batch["tokens"][:, :-1], Mode(), Dropout())
        log_p = workload.network.forward(*arguments)[0].log_softmax(-1)
        targets = batch["tokens"][:, 1:]
        nats -= log_p.gather(-1, targets[..., None]).sum().item()
        sizes = corpus.tokenizer.num_bytes()[targets.numpy()]
        num_bytes += sizes.sum()
    mean = {name: torch.stack([one[name] for one in means]).mean(0) for name in means[0]}
    measured = workload.held_out_measures(mean)
    assert list(measured) == list(workload.measures)
    assert measured["val_bits_per_byte"].item() == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)
    assert mean["num_bytes"].item() == pytest.approx(num_bytes / (3 * 4 * 7), rel=1e-6)
    bits = measured["val_loss"].item() / math.log(2)
    assert (measured["val_bits_per_byte"].item() == pytest.approx(bits, rel=1e-6)) == (tokenizer == "bytes")
