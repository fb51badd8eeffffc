"""On a GPU: every probe of every method, and every intervention, is there what it is on a processor."""

import dataclasses

import pytest
import torch

from bench.interventions import INTERVENTIONS
from bench.methods import METHODS
from bench.probes import PROBES
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Choice, Trial
from tests.trials import choice, trial

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SMALL = {"batch_size": 8, "depth": 2, "num_pairs": 5, "num_steps": 8, "final_loss_steps": 2}
# Eigenvalues are found by products with vectors: what rounding changes in one product, iterations multiply.
BOUND = 2e-2
SEARCHES = ("critical_sharpness",)  # by whether a loss rises: of a rise within rounding either answer is right


def histories(trials: tuple[Trial, ...], device: str) -> dict[str, torch.Tensor]:
    run = PackRun(Pack(trials=trials), device=device)
    run.advance()
    return {name: tensor.double().cpu() for name, tensor in run.state()["history"].items()}


def assert_alike(trials: tuple[Trial, ...]) -> None:
    """All that is traced of these trials, and what is missing of it, is on both devices within BOUND of its size."""
    there, here = (histories(trials, device) for device in ("cuda", "cpu"))
    assert there.keys() == here.keys()
    for name, expected in here.items():
        actual = there[name]
        assert torch.equal(actual.isnan(), expected.isnan()), name
        apart = (actual - expected).abs().nan_to_num()
        assert (apart <= BOUND * expected.abs().nan_to_num().clamp_min(1e-2)).all(), (name, apart.max())


@pytest.mark.parametrize("method", METHODS)
def test_probes_of_a_method(method):
    probes = tuple(Choice(name=name, params={}) for name in PROBES if name not in SEARCHES)
    one = trial(method=method, workload_params=SMALL, optimizer="adam", lr=1e-3, probe_every=4)
    assert_alike(tuple(dataclasses.replace(one, probes=probes, seed=seed) for seed in (0, 1)))


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_an_intervention_beside_its_untouched_twin(name):
    one = trial(workload_params=SMALL, optimizer="adam", lr=1e-3, probe_every=1)
    assert_alike((one, dataclasses.replace(one, intervention=choice(INTERVENTIONS, name, from_step=3, for_steps=3))))


def test_the_search_for_the_critical_rate_ends_there_too_within_a_step_of_its_bisection():
    searched = tuple(Choice(name=name, params={"every": 4}) for name in SEARCHES)
    one = dataclasses.replace(trial(workload_params=SMALL, lr=1e-3, probe_every=4), probes=searched)
    there, here = (histories((one, dataclasses.replace(one, seed=1)), device) for device in ("cuda", "cpu"))
    name = next(name for name in here if name.startswith("iterated"))
    both = there[name].isfinite() & here[name].isfinite()
    assert both.any()
    assert ((there[name] / here[name])[both].log2().abs() <= 0.5).all()
