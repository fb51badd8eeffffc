"""Recordings and sentences of people are learned in a minute: what is held out is said better than by guessing.

Shapes: V vocabulary.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from bench.data.pairs.prepared import open_pairs
from bench.data.pairs.sources import pair_files
from bench.data.pairs.write import write_pairs
from bench.data.speech.recordings import find_recordings
from bench.data.speech.write import write_speech
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.training.tree import map_tensors
from tests.shared_data import shared_data
from tests.trials import trial

pytestmark = pytest.mark.slow
KNOBS = {"optimizer": "adam", "lr": 3e-3, "warmup_steps": 20.0}
CAPTIONS = {"depth": 1, "batch_size": 32, "max_tokens": 24, "held_out_pairs": 128, "num_steps": 500}
DIGITS = {"model": "ctc_100k", "batch_size": 16, "max_frames": 60, "eval_utterances": 256, "num_steps": 300}


def trained(workload: str, settings: dict) -> PackRun:
    every = {"eval_every_steps": settings["num_steps"]}
    one = trial(workload=workload, workload_params=settings | every, probe_every=settings["num_steps"], **KNOBS)
    run = PackRun(Pack(trials=(one,)))
    run.advance()
    return run


def bigram_nats(folder: Path) -> float:
    """Held-out nats a target token, ends included, of pairs of tokens as often as in training, and once more."""
    prepared = open_pairs(str(folder))
    size = prepared.facts.vocabulary_size
    counts_VV = numpy.ones((size + 1, size + 1))  # the last: where a sentence starts, and where it ends
    nats, num_tokens = 0.0, 0
    for split in ("train", "val"):
        sentences = prepared.sides[split, "target"]
        for start, end in zip(sentences.starts, sentences.ends, strict=True):
            tokens = numpy.concatenate([[size], sentences.ids[start:end].astype(numpy.int64), [size]])
            if split == "train":
                numpy.add.at(counts_VV, (tokens[:-1], tokens[1:]), 1)
            else:
                shares = counts_VV[tokens[:-1], tokens[1:]] / counts_VV[tokens[:-1]].sum(axis=1)
                nats -= numpy.log(shares).sum()
                num_tokens += len(tokens) - 1
    return nats / num_tokens


def test_captions_are_translated_better_than_pairs_of_tokens_follow_each_other(tmp_path):
    """And better with their own sources than with those of others: 500 steps of Multi30k, about 40 s."""
    train, val = (
        pair_files(*(str(shared_data(f"multi30k/{split}.{language}.gz")) for language in ("en", "de")))
        for split in ("train", "val")
    )
    write_pairs(tmp_path / "pairs", train, "bpe", val=val, vocabulary_size=2000)
    run = trained("translation", CAPTIONS | {"data": str(tmp_path / "pairs")})
    held_out = run.results()[0].held_out
    loss, initial = held_out["val_loss"], held_out["initial_val_loss"]
    assert loss is not None
    assert initial is not None
    print(f"{initial:.2f} to {loss:.2f} nats a token, bigrams {bigram_nats(tmp_path / 'pairs'):.2f}")
    assert loss < bigram_nats(tmp_path / "pairs") - 0.8
    lane: Any = map_tensors(run._lanes, lambda t: t[0])
    batch = {name: t[0] for name, t in run.program.workload.held_out(torch.device("cpu")).items()}
    own, others = (
        run.program.evaluate(lane, batch | {"source": batch["source"].roll(shift, 0)}, torch.tensor(0))["loss"].item()
        for shift in (0, 1)
    )
    print(f"own sources {own:.2f}, others' {others:.2f}")
    assert own < others - 0.3


def test_digits_of_speakers_are_recognised(tmp_path):
    """300 steps of FSDD, about 5 s: characters are right in three of four cases, words more often than by chance."""
    with zipfile.ZipFile(shared_data("fsdd/recordings.zip")) as file:
        file.extractall(tmp_path / "recordings")
    write_speech(tmp_path / "speech", find_recordings(tmp_path / "recordings"))
    held_out = trained("speech_recognition", DIGITS | {"speech": str(tmp_path / "speech")}).results()[0].held_out
    characters, words = held_out["val_character_error_rate"], held_out["val_word_error_rate"]
    assert characters is not None
    assert words is not None
    print(f"CER {characters:.2f}, WER {words:.2f}")
    assert characters < 0.25
    assert words < 0.6
