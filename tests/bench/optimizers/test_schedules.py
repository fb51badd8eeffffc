"""Schedules equal their closed forms and PyTorch's where it has them."""

import itertools
import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, SequentialLR

from bench.optimizers.schedules import Constant, Cosine


def factors(schedule, num_steps: int, warmup_steps: float) -> list[float]:
    warmup = torch.tensor(warmup_steps, dtype=torch.float64)
    return [float(schedule.factor(torch.tensor(step), warmup, num_steps)) for step in range(num_steps)]


def factors_of_pytorch(num_steps: int, make_scheduler) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(optimizer)
    seen = []
    for _ in range(num_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("warmup_steps", [2, 5])
def test_warmup_equals_pytorchs_linear_one(warmup_steps):
    expected = factors_of_pytorch(
        12, lambda optimizer: LinearLR(optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps - 1)
    )
    assert factors(Constant(), 12, warmup_steps) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("final_fraction", [0.0, 0.1, 1.0])
def test_cosine_equals_pytorchs(final_fraction):
    expected = factors_of_pytorch(20, lambda optimizer: CosineAnnealingLR(optimizer, T_max=20, eta_min=final_fraction))
    assert factors(Cosine(final_fraction=final_fraction), 20, 0) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_warmup_then_cosine_equals_pytorchs():
    """PyTorch's warmup reaches 1 one step before its cosine starts at 1, as ours does."""

    def scheduler(optimizer):
        warmup = LambdaLR(optimizer, lambda step: (step + 1) / 4)
        return SequentialLR(optimizer, [warmup, CosineAnnealingLR(optimizer, T_max=16, eta_min=0.2)], milestones=[4])

    expected = factors_of_pytorch(20, scheduler)
    assert factors(Cosine(final_fraction=0.2), 20, 4) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("warmup_steps", [0.0, 3.0, 7.5])
def test_cosine_equals_its_closed_form(warmup_steps):
    expected = []
    for step in range(30):
        warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        progress = min(max((step - warmup_steps) / (30 - warmup_steps), 0.0), 1.0)
        expected.append(warmup * (0.25 + 0.75 * (1 + math.cos(math.pi * progress)) / 2))
    assert factors(Cosine(final_fraction=0.25), 30, warmup_steps) == pytest.approx(expected, rel=1e-12)


def test_cosine_never_rises_after_warmup_and_ends_near_its_final_fraction():
    seen = factors(Cosine(final_fraction=0.1), 1000, 10)
    assert all(later <= earlier for earlier, later in itertools.pairwise(seen[10:]))
    assert seen[-1] == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("schedule", [Constant(), Cosine()])
def test_warmup_longer_than_training_only_warms_up(schedule):
    assert factors(schedule, 5, 50) == pytest.approx([(step + 1) / 50 for step in range(5)], rel=1e-12)
