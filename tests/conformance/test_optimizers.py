"""Every optimizer equals PyTorch's, step by step, and batches by vmap.

A new entry of OPTIMIZERS needs a line in REFERENCES: an independent implementation to be compared with.
"""

import pytest
import torch
from torch.utils import _pytree as pytree
from variants import ignored_parameters

from bench.entry import load_class, parameters
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.optimizers.base import Optimizer
from bench.optimizers.schedules import Constant, Cosine, Schedule
from bench.optimizers.sgd import SGD

NUM_STEPS = 25
SHAPES = {"matrix": (4, 3), "vector": (5,), "scalar": ()}
REFERENCES = {
    "sgd": lambda tensors, entry, **knobs: torch.optim.SGD(tensors, **knobs),
    "sgd_momentum": lambda tensors, entry, **knobs: torch.optim.SGD(tensors, momentum=entry.momentum, **knobs),
    "adam": lambda tensors, entry, **knobs: torch.optim.Adam(tensors, **adam_settings(entry), **knobs),
    "adamw": lambda tensors, entry, **knobs: torch.optim.AdamW(tensors, **adam_settings(entry), **knobs),
    # The product of the two is independent of the learning rate.
    "adamw_independent": lambda tensors, entry, lr, weight_decay: torch.optim.AdamW(
        tensors, **adam_settings(entry), lr=lr, weight_decay=weight_decay / lr
    ),
}


def adam_settings(entry) -> dict:
    return {"betas": (entry.beta1, entry.beta2), "eps": entry.eps}


@pytest.fixture(params=OPTIMIZERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def optimizer(name) -> Optimizer:
    return load_class(OPTIMIZERS[name])()


def draws(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def trained(optimizer: Optimizer, seed: int, lr: float, weight_decay: float, num_steps: int = NUM_STEPS) -> list:
    """Parameters after every step of made-up gradients, under a cosine after warmup."""
    params = draws(seed)
    state = optimizer.init(params)
    seen = []
    for step in range(num_steps):
        factor = Cosine(final_fraction=0.1).factor(torch.tensor(step), scalar(5.0), NUM_STEPS)
        knobs = {"lr": lr * factor, "lr_factor": factor, "weight_decay": scalar(weight_decay)}
        grads = {name: g + p for (name, g), p in zip(draws(1000 + step).items(), params.values(), strict=True)}
        params, state = optimizer.update(params, grads, state, knobs, torch.tensor(step))
        seen.append(params)
    return seen


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("lr", [1e-3, 0.3])
def test_every_step_equals_pytorchs(name, optimizer, lr, weight_decay):
    reference = {name: torch.nn.Parameter(tensor) for name, tensor in draws(0).items()}
    theirs = REFERENCES[name](list(reference.values()), optimizer, lr=lr, weight_decay=weight_decay)
    for step, ours in enumerate(trained(optimizer, 0, lr, weight_decay)):
        theirs.param_groups[0]["lr"] = lr * float(
            Cosine(final_fraction=0.1).factor(torch.tensor(step), scalar(5.0), NUM_STEPS)
        )
        for key, grad in draws(1000 + step).items():
            reference[key].grad = grad + reference[key].detach()
        theirs.step()
        for key, expected in reference.items():
            torch.testing.assert_close(ours[key], expected.detach(), rtol=1e-11, atol=1e-13)


def test_every_optimizer_has_a_reference():
    assert REFERENCES.keys() == OPTIMIZERS.keys()


def test_settings_away_from_the_defaults_equal_pytorchs(name, optimizer):
    changed = {"momentum": 0.5, "beta1": 0.6, "beta2": 0.7, "eps": 1e-2}
    settings = {key: changed[key] for key in parameters(type(optimizer))}
    optimizer = type(optimizer)(**settings)
    reference = {key: torch.nn.Parameter(tensor) for key, tensor in draws(0).items()}
    theirs = REFERENCES[name](list(reference.values()), optimizer, lr=0.1, weight_decay=0.2)
    params, state = draws(0), optimizer.init(draws(0))
    for step in range(NUM_STEPS):
        grads = draws(step)
        knobs = {"lr": scalar(0.1), "lr_factor": scalar(1.0), "weight_decay": scalar(0.2)}
        params, state = optimizer.update(params, grads, state, knobs, torch.tensor(step))
        for key, grad in grads.items():
            reference[key].grad = grad
        theirs.step()
    for key, expected in reference.items():
        torch.testing.assert_close(params[key], expected.detach(), rtol=1e-11, atol=1e-13)


def test_vmapped_lanes_equal_separate_runs(optimizer):
    """Three lanes with their own parameters, learning rates and weight decays."""
    by_lane = {"lr": [1e-3, 0.1, 0.5], "lr_factor": [0.2, 1.0, 0.7], "weight_decay": [0.0, 0.1, 0.01]}
    models = [(draws(seed), optimizer.init(draws(seed))) for seed in range(3)]
    params, state = pytree.tree_map(lambda *leaves: torch.stack(leaves), *models)
    knobs = {name: torch.tensor(values, dtype=torch.float64) for name, values in by_lane.items()}
    update = torch.func.vmap(optimizer.update, in_dims=(0, None, 0, 0, None))
    for step in range(NUM_STEPS):
        grads, at = draws(step), torch.tensor(step)
        params, state = update(params, grads, state, knobs, at)
        models = [
            optimizer.update(model, grads, moments, {name: values[lane] for name, values in knobs.items()}, at)
            for lane, (model, moments) in enumerate(models)
        ]
    together = pytree.tree_leaves((params, state))
    alone = pytree.tree_leaves(pytree.tree_map(lambda *leaves: torch.stack(leaves), *models))
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-15)


def test_state_has_the_shapes_of_the_parameters(optimizer):
    params = draws(0)
    for moment in optimizer.init(params).values():
        assert {key: tensor.shape for key, tensor in moment.items()} == {key: p.shape for key, p in params.items()}
        assert all(tensor.dtype == torch.float64 and not tensor.any() for tensor in moment.values())


def test_state_keeps_its_structure_and_inputs_are_not_written(optimizer):
    params, grads = draws(0), draws(1)
    state = optimizer.init(params)
    knobs = {"lr": scalar(0.1), "lr_factor": scalar(1.0), "weight_decay": scalar(0.1)}
    _, new = optimizer.update(params, grads, state, knobs, torch.tensor(0))
    assert pytree.tree_structure(new) == pytree.tree_structure(state)
    torch.testing.assert_close((params, grads), (draws(0), draws(1)), rtol=0, atol=0)
    torch.testing.assert_close(state, optimizer.init(params), rtol=0, atol=0)


def test_every_parameter_changes_training(optimizer):
    assert ignored_parameters(optimizer, lambda entry: trained(entry, 0, 0.1, 0.1, 3)) == set()


class IgnoresMomentum(load_class(OPTIMIZERS["sgd_momentum"])):
    def update(self, params, grads, state, knobs, step):
        return SGD().update(params, grads, {}, knobs, step)[0], state


def test_an_ignored_parameter_is_found():
    assert ignored_parameters(IgnoresMomentum(), lambda entry: trained(entry, 0, 0.1, 0.1, 3)) == {"momentum"}


@pytest.mark.parametrize("knob", ["lr", "weight_decay"])
def test_every_knob_that_is_named_changes_training(optimizer, knob):
    knobs = {"lr": 0.1, "weight_decay": 0.1}
    assert knob in optimizer.knobs
    one, other = (trained(optimizer, 0, **(knobs | {knob: value}), num_steps=1) for value in (0.1, 0.2))
    assert all(not torch.equal(one[0][key], other[0][key]) for key in SHAPES)


def test_source_is_stated(optimizer):
    assert optimizer.source != Optimizer.source
    assert type(optimizer).__doc__


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_lie_in_0_to_1_and_warmup_is_linear(name):
    schedule = load_class(SCHEDULES[name])()
    assert schedule.source != Schedule.source
    for num_steps in (1, 2, 30):
        for warmup in (0.0, 1.0, 2.5, 10.0, 100.0):
            factors = [float(schedule.factor(torch.tensor(t), scalar(warmup), num_steps)) for t in range(num_steps)]
            assert all(0 <= factor <= 1 for factor in factors)
            for step, factor in enumerate(factors):
                if step + 1 <= warmup:
                    assert factor == pytest.approx((step + 1) / warmup, rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_under_vmap_equal_a_loop(name):
    schedule = load_class(SCHEDULES[name])()
    warmups = torch.tensor([0.0, 3.0, 7.5, 50.0], dtype=torch.float64)
    for step in map(torch.tensor, range(20)):
        together = torch.func.vmap(lambda warmup, step=step: schedule.factor(step, warmup, 20))(warmups)
        alone = torch.stack([schedule.factor(step, warmup, 20) for warmup in warmups])
        torch.testing.assert_close(together, alone, rtol=0, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_parameter_of_a_schedule_changes_it(name):
    def factors(schedule):
        return [schedule.factor(torch.tensor(step), scalar(3.0), 10) for step in range(10)]

    assert ignored_parameters(load_class(SCHEDULES[name])(), factors) == set()


def test_a_constant_schedule_is_1_after_warmup():
    assert [float(Constant().factor(torch.tensor(step), scalar(2.0), 5)) for step in range(5)] == [0.5, 1, 1, 1, 1]
