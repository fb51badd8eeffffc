"""What every workload keeps to: bench.testing of each, and every declared parameter acts."""

import dataclasses
import functools
from typing import Any

import pytest
import torch

from bench.data.speech.recordings import find_recordings
from bench.data.speech.write import write_speech
from bench.entry import load_class, parameters
from bench.testing.variants import differ
from bench.testing.workload_steps import held_out_of, program_of, started, training_of
from bench.testing.workloads import WORKLOAD_PROPERTIES
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload
from bench.workloads.classifier import Classifier
from tests.bench.data.made_pairs import echoes
from tests.bench.data.made_recordings import fsdd_like
from tests.conformance.workload_settings import CHANGES, ELSEWHERE, SETTINGS
from tests.trials import text

KINDS = ("in_context_regression",)


@pytest.fixture(scope="module", autouse=True)
def corpora(tmp_path_factory):
    """Texts to train on, whose tokens are cached among the tests' files, recordings, and pairs."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, num_sentences in (("text", 100), ("other", 120)):
        (folder / name).write_text(text(num_sentences))
    write_speech(folder / "recordings", find_recordings(fsdd_like(folder / "digits", indices=(0, 5))))
    echoes(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BENCH_DATA", str(folder / "cache"))
        yield


def workload_of(name: str, **settings: Any) -> Workload:
    corpus = {"corpus": "text"} if name == "language_modeling" else {}
    return load_class(WORKLOADS[name])(**(SETTINGS[name] | corpus | settings))


@pytest.fixture(params=WORKLOADS)
def workload(request) -> Workload:
    return workload_of(request.param)


@functools.cache
def training_with(name: str, settings: frozenset) -> list:
    return training_of(workload_of(name, **dict(settings)))


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        pytest.param(name, one, marks=() if name in KINDS else pytest.mark.repetition)
        for name in CHANGES
        for one in CHANGES[name]
    ],
)
def test_every_parameter_changes_training(name, parameter):
    changed = CHANGES[name][parameter]
    base = {other: value for other, value in changed.items() if other != parameter}
    assert differ(*(training_with(name, frozenset(settings.items())) for settings in (base, changed)))


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_parameter_is_covered_above(name):
    declared = parameters(load_class(WORKLOADS[name])).keys()
    assert CHANGES[name].keys() == declared - ELSEWHERE.keys()


@pytest.mark.parametrize("words", WORKLOAD_PROPERTIES)
def test_every_workload_has_every_property(workload, words):
    """With two layers."""
    WORKLOAD_PROPERTIES[words].check(dataclasses.replace(workload, depth=2))


@pytest.mark.parametrize("name", [name for name in WORKLOADS if issubclass(load_class(WORKLOADS[name]), Classifier)])
def test_a_classifier_is_measured_beside_the_loss(name):
    workload = workload_of(name)
    program, lane = program_of(workload), started(workload)
    for batch in held_out_of(workload):
        found = program.evaluate(lane, batch, torch.tensor(0))
        assert found.keys() >= {"loss", "accuracy", "calibration_gap_K"}
        assert 0 <= found["accuracy"] <= 1


def test_data_have_a_digest_where_they_are_held_out(workload):
    assert bool(workload.data_digest()) == (workload.eval_every is not None)


def test_source_and_title_are_stated(workload):
    assert workload.source != Workload.source
    assert workload.title
    assert type(workload).__doc__
