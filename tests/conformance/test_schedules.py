"""What every schedule keeps to: bench.testing of each."""

import pytest
import torch

from bench.entry import load_class
from bench.optimizers import SCHEDULES
from bench.optimizers.schedules import Constant, Schedule
from bench.testing.optimizer_steps import scalar
from bench.testing.schedules import SCHEDULE_PROPERTIES


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("words", SCHEDULE_PROPERTIES)
def test_every_schedule_has_every_property(name, words):
    SCHEDULE_PROPERTIES[words].check(load_class(SCHEDULES[name])())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_source_is_stated(name):
    assert load_class(SCHEDULES[name]).source != Schedule.source


def test_a_constant_schedule_is_1_after_warmup():
    assert [float(Constant().factor(torch.tensor(step), scalar(2.0), 5)) for step in range(5)] == [0.5, 1, 1, 1, 1]
