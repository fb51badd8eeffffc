"""The thermostat's temperature, and what each of its two readings does with it."""

import math

import pytest
import torch

from bench.methods.softmax import Softmax
from bench.methods.thermostat import ThermostatLogits, ThermostatLoss
from bench.training.lane import LaneProgram
from tests.bench.methods.naive import FULL, MASKS, by_rows, queries_and_keys, softmax
from tests.trials import trial

SETTINGS = {"base": 1.5, "beta": 0.3, "gamma": 0.02, "switch_step": 50}


@pytest.mark.parametrize("step", [0, 49, 50, 51, 120])
def test_temperature_is_the_formula(step):
    expected = 1.5 * (1 + 0.3 * math.tanh(0.02 * (step - 50)))
    assert ThermostatLogits(**SETTINGS).temperature(torch.tensor(step)).item() == pytest.approx(expected, rel=1e-14)


def test_temperature_rises_from_below_the_base_to_above():
    temperatures = ThermostatLogits(**SETTINGS).temperature(torch.tensor([0, 50, 100_000])).tolist()
    assert temperatures == pytest.approx([1.5 * (1 + 0.3 * math.tanh(-1)), 1.5, 1.5 * 1.3], rel=1e-12)
    assert (ThermostatLogits().temperature(torch.arange(2000)).diff() > 0).all()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("step", [0, 80])
def test_logits_are_divided_by_the_temperature(mask, step):
    q, k = queries_and_keys(MASKS[mask])
    method, state = ThermostatLogits(**SETTINGS), {"step": torch.tensor(step)}
    temperature = 1.5 * (1 + 0.3 * math.tanh(0.02 * (step - 50)))
    actual = method.weights(*method.normalize(q, k, state), MASKS[mask], state)
    expected = by_rows(q, k, MASKS[mask], lambda q, i, k, j: softmax(k @ q / temperature))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)


def test_the_reading_of_the_loss_leaves_attention_alone():
    q, k = queries_and_keys()
    state = {"step": torch.tensor(0)}
    actual = ThermostatLoss().weights(*ThermostatLoss().normalize(q, k, state), FULL, state)
    assert torch.equal(actual, Softmax().weights(q, k, FULL, {}))


def after_a_step(optimizer: str, method: str, **params: float) -> tuple[dict, torch.Tensor, dict]:
    """Parameters before one step of training at step 0, the loss, and the change of each parameter."""
    one = trial(method=method, method_params=params, optimizer=optimizer, lr=0.1, init_scale=10)
    program = LaneProgram.of(one)
    lane = program.start(torch.tensor(0), torch.tensor(10.0, dtype=torch.float64))
    knobs = {name: torch.tensor(getattr(one.knobs, name), dtype=torch.float64) for name in ("lr", "warmup_steps")}
    knobs |= {"weight_decay": torch.zeros(()).double(), "grad_clip": torch.tensor(math.inf).double()}
    batches = program.workload.batches(torch.tensor([0]), torch.tensor([0]))
    batch = {name: tensor[0, 0].double() for name, tensor in batches.items()}
    after, loss, _ = program.train(lane, batch, knobs, torch.tensor(0))
    return loss, {name: after["params"][name] - p for name, p in lane["params"].items()}


def test_a_divided_loss_is_another_learning_rate_for_sgd_and_almost_nothing_for_adam():
    temperature = 1.5 * (1 + 0.3 * math.tanh(-1))
    for optimizer, factor, tolerance in (("sgd", 1 / temperature, 1e-9), ("adam", 1, 1e-4)):
        loss, change = after_a_step(optimizer, "softmax")
        scaled_loss, scaled_change = after_a_step(optimizer, "thermostat_loss", **SETTINGS)
        assert torch.equal(scaled_loss, loss)  # what is traced is the plain loss
        for name, expected in change.items():
            torch.testing.assert_close(scaled_change[name], factor * expected, rtol=tolerance, atol=1e-12)
