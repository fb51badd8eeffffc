"""Every schedule's factors: in [0, 1], a linear warmup, alike for lanes together and alone, every parameter used."""

import dataclasses

import pytest
import torch

from bench.entry import load_class
from bench.optimizers import SCHEDULES
from bench.optimizers.schedules import Constant, Schedule
from tests.variants import ignored_parameters


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


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
        torch.testing.assert_close(together, alone, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_constants_of_a_schedule_may_be_tensors(name):
    schedule = load_class(SCHEDULES[name])()
    constants = {key: value for key, value in dataclasses.asdict(schedule).items() if isinstance(value, float)}

    def factors(own):
        entry = dataclasses.replace(schedule, **own)
        return torch.stack([entry.factor(torch.tensor(step), scalar(3.0), 10) for step in range(10)])

    by_lane = {key: torch.stack([scalar(value), scalar(value / 2)]) for key, value in constants.items()}
    if constants:
        together = torch.func.vmap(factors)(by_lane)
        halved = {key: value / 2 for key, value in constants.items()}
        torch.testing.assert_close(together, torch.stack([factors({}), factors(halved)]), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_parameter_of_a_schedule_changes_it(name):
    def factors(schedule):
        return [schedule.factor(torch.tensor(step), scalar(3.0), 30) for step in range(30)]

    assert ignored_parameters(load_class(SCHEDULES[name])(), factors) == set()


def test_a_constant_schedule_is_1_after_warmup():
    assert [float(Constant().factor(torch.tensor(step), scalar(2.0), 5)) for step in range(5)] == [0.5, 1, 1, 1, 1]
