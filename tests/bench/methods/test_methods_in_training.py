"""Every method trains, every declared parameter and learned tensor of it matters there, and layers start apart."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from annotated_types import Gt

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Method
from bench.methods.softmax import Softmax
from bench.probes import build_probes
from bench.randomness import normal
from bench.testing.methods import training_of
from bench.testing.variants import ignored_parameters
from bench.training.lane import LaneProgram
from bench.trial import Trial
from bench.workloads.in_context_regression import InContextRegression
from tests.repetitions import EACH_METHOD
from tests.trials import language_trial

PROBES = build_probes(None)


@pytest.fixture(params=EACH_METHOD)
def method(request) -> Method:
    return load_class(METHODS[request.param])()


@dataclass(frozen=True, kw_only=True)
class OneIgnored(Softmax):
    temperature: Annotated[float, Gt(0)] = 1.0
    sharpness: Annotated[float, Gt(0)] = 1.0

    def normalize(self, q_BHQD, k_BHKD, state):
        return q_BHQD / self.temperature, k_BHKD


def test_an_ignored_parameter_is_found():
    assert ignored_parameters(OneIgnored(), training_of) == {"sharpness"}


def test_draws_of_a_model_differ_by_layer_and_role(method):
    workload = InContextRegression(depth=2)
    seed, zero = torch.tensor(0), torch.tensor(0)
    params, buffers = workload.init(method, lambda name, shape: normal(seed, name, zero, shape), torch.tensor(1.0))
    drawn = [p for name, p in params.items() if name.endswith(".weight")]
    assert len(drawn) == 2 * (3 - method.ties_query_and_key + len(method.roles))
    drawn += [buffer for name, buffer in buffers.items() if ".method." in name]
    assert len({tuple(x.flatten().tolist()) for x in drawn}) == len(drawn)


def small_language_trial(name: str, **settings: Any) -> Trial:
    size = {"num_steps": 3, "width": 16, "context": 16}
    return language_trial(method=name, lr=1e-3, workload_params=size | settings)


@pytest.mark.parametrize("name", EACH_METHOD)
def test_every_method_trains_a_language_model(name):
    """One lane, step by step; compiled, in several lanes, and in-context regression: tests/bench/test_train.py."""
    trial = small_language_trial(name)
    program = LaneProgram.of(trial)
    zero = torch.tensor(0)
    lane = program.start(zero, torch.tensor(1.0))
    knobs = {field.name: torch.tensor(getattr(trial.knobs, field.name)) for field in dataclasses.fields(trial.knobs)}
    batches = program.workload.batches(zero[None], torch.arange(trial.num_steps))
    before = lane["params"]
    for step in range(trial.num_steps):
        batch = {name: tensor[step, 0] for name, tensor in batches.items()}
        lane, loss, grad_norm = program.train(lane, batch, knobs, torch.tensor(step))
        assert loss.isfinite()
        assert grad_norm.isfinite()
        assert program.observe(lane, batch, torch.tensor(step), probes=PROBES).isfinite().all()
        assert program.evaluate(lane, batch, torch.tensor(step))["loss"].isfinite()
    assert lane["alive"]
    assert any(not torch.equal(tensor, lane["params"][name]) for name, tensor in before.items())


def first_gradients(one: Trial) -> dict[str, torch.Tensor]:
    """Of one model on its first batch."""
    program = LaneProgram.of(one)
    zero = torch.tensor(0)
    lane = program.start(zero, torch.tensor(1.0))
    batch = {n: t[0, 0] for n, t in program.workload.batches(zero[None], zero[None]).items()}
    return program.gradients(lane, batch, zero, zero)["grads"]


@pytest.mark.parametrize("preset", ["llama_1m", "wortsman_2m"])
@pytest.mark.parametrize("name", EACH_METHOD)
def test_gradients_are_finite_with_rotary_positions_and_without_biases(name, preset):
    grads = first_gradients(small_language_trial(name, model=preset))
    assert all(grad.isfinite().all() for grad in grads.values())


@pytest.mark.parametrize("name", EACH_METHOD)
def test_gradients_in_mixed_precision_are_roughly_those_in_float32(name):
    exact, mixed = (
        first_gradients(small_language_trial(name, model="wortsman_2m", precision=precision))
        for precision in ("float32", "bfloat16")
    )
    difference = sum((mixed[name] - grad).square().sum() for name, grad in exact.items())
    assert difference.sqrt() < 0.1 * sum(grad.square().sum() for grad in exact.values()).sqrt()


@pytest.mark.parametrize("name", EACH_METHOD)
def test_gradients_do_not_depend_on_checkpointing(name):
    kept, recomputed = (
        first_gradients(small_language_trial(name, checkpointing=checkpointing)) for checkpointing in (False, True)
    )
    torch.testing.assert_close(recomputed, kept, rtol=1e-4, atol=1e-7)
