"""Small trials for tests, every choice complete with its defaults, and their training."""

import atexit
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from bench.data.text.sources import find_source
from bench.data.text.write import write_corpus
from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.training.pack import Pack
from bench.training.train import train_pack
from bench.trial import Choice, Knobs, Trial
from bench.workloads import WORKLOADS

SMALL: dict[str, Any] = {
    "num_steps": 8,
    "final_loss_steps": 3,
    "batch_size": 4,
    "num_pairs": 5,
    "dimension": 2,
    "depth": 1,
}
# Of language_modeling; its corpus is `corpus()`.
SMALL_LANGUAGE = {
    "tokenizer": "characters",
    "num_steps": 8,
    "final_loss_steps": 3,
    "batch_size": 4,
    "context": 8,
    "depth": 1,
    "width": 8,
    "num_heads": 2,
    "eval_every_steps": 3,
    "eval_batches": 2,
    "probe_examples": 2,
}
# As few operations as a language model has: for tests to which its blocks don't matter.
LEAN = {"norm_placement": "none", "positions": "none", "has_biases": False, "initialisation": "fan_in"}


def text(num_sentences: int) -> str:
    """Sentences of four words, each after a word that it may follow: something to learn."""
    words = [["a", "the", "one"], ["cat", "dog", "bird"], ["sees", "likes", "hears"], ["me", "you", "us"]]
    draw = numpy.random.default_rng(0).integers(0, 3, size=(num_sentences, 4))
    return "".join(" ".join(kind[i] for kind, i in zip(words, row, strict=True)) + ".\n" for row in draw)


@functools.cache
def corpus() -> str:
    """A prepared folder of 4,000 characters or so, the last tenth held out; removed when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="corpus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "text").write_text(text(250))
    write_corpus(folder / "prepared", find_source(str(folder / "text")), "characters")
    return str(folder / "prepared")


def choice(entries: Mapping[str, str], name: str, **params: Any) -> Choice:
    """An entry with its defaults, changed by `params`; `package.module:Class` is one too."""
    declared = parameters(load_class(entries.get(name, name)))
    assert params.keys() <= declared.keys()
    return Choice(name=name, params={name: default for name, (_, default) in declared.items()} | params)


def trial(
    *,
    workload: str = "in_context_regression",
    method: str = "softmax",
    method_params: Mapping[str, Any] | None = None,
    optimizer: str = "sgd",
    optimizer_params: Mapping[str, Any] | None = None,
    schedule: str = "constant",
    schedule_params: Mapping[str, Any] | None = None,
    workload_params: Mapping[str, Any] | None = None,
    seed: int = 0,
    probe_every: int = 3,
    **knobs: float,
) -> Trial:
    """A trial of a workload, the regression and the language model small; lr is 0.1 unless given among the knobs."""
    small: Mapping[str, Any] = SMALL if workload == "in_context_regression" else {}
    if workload == "language_modeling":
        small = SMALL_LANGUAGE | {"corpus": corpus()}
    chosen = choice(WORKLOADS, workload, **(dict(small) | dict(workload_params or {})))
    digest = load_class(WORKLOADS[workload])(**chosen.params).data_digest()
    return Trial(
        workload=dataclasses.replace(chosen, digest=digest),
        method=choice(METHODS, method, **(method_params or {})),
        optimizer=choice(OPTIMIZERS, optimizer, **(optimizer_params or {})),
        schedule=choice(SCHEDULES, schedule, **(schedule_params or {})),
        knobs=Knobs(**({"lr": 0.1} | knobs)),
        seed=seed,
        probe_every=probe_every,
    )


def language_trial(**settings: Any) -> Trial:
    """A trial of a small language model trained by AdamW at 0.01, unless given."""
    return trial(**({"workload": "language_modeling", "optimizer": "adamw", "lr": 0.01} | settings))


@functools.cache
def trained(*trials: Trial):
    """Results and traces of a pack of these trials, trained once however many tests look at them."""
    return train_pack(Pack(trials=trials))


def lane_of(one: Trial, *pack: Trial):
    """Result without its time, and trace, of one trial in a pack."""
    results, traces = trained(*pack)
    result = next(result for result in results if result.trial == one)
    return dataclasses.replace(result, wall_s=0.0), traces[one.id]
