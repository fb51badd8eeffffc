"""Schedules equal their closed forms and PyTorch's where it has them."""

import itertools
import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, MultiStepLR, SequentialLR

from bench.optimizers.schedules import WSD, Constant, Cosine, InverseSqrt, Linear, Step


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


@pytest.mark.parametrize("final_fraction", [0.0, 0.1, 1.0])
def test_linear_equals_pytorchs(final_fraction):
    expected = factors_of_pytorch(
        20, lambda optimizer: LinearLR(optimizer, start_factor=1, end_factor=final_fraction, total_iters=20)
    )
    assert factors(Linear(final_fraction=final_fraction), 20, 0) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("num_steps", "num_drops", "milestones"), [(12, 2, [4, 8]), (10, 3, [3, 5, 8]), (7, 1, [4])])
def test_step_equals_pytorchs(num_steps, num_drops, milestones):
    """A drop between two steps acts on the later one."""
    expected = factors_of_pytorch(num_steps, lambda optimizer: MultiStepLR(optimizer, milestones, gamma=0.3))
    assert factors(Step(num_drops=num_drops, gamma=0.3), num_steps, 0) == pytest.approx(expected, rel=1e-12)


def test_steps_past_the_last_have_the_factor_of_the_last_drop():
    after = [float(Step(gamma=0.3).factor(torch.tensor(step), torch.tensor(0.0), 12)) for step in (11, 12, 40)]
    assert after == pytest.approx([0.09] * 3)


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


@pytest.mark.parametrize("num_steps", [30, 299, 300, 10_000])
def test_drops_fall_on_the_same_steps_in_float32(num_steps):
    warmup, steps = torch.tensor(6.0), torch.arange(num_steps)
    seen = Step(num_drops=4, gamma=0.5).factor(steps, warmup, num_steps)
    number = [min(max((5 * (step - 6)) // (num_steps - 6), 0), 4) for step in range(num_steps)]
    expected = [min(1, (step + 1) / 6) * 0.5**k for step, k in enumerate(number)]
    torch.testing.assert_close(seen, torch.tensor(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize("warmup_steps", [1.0, 7.0, 200.0])
def test_inverse_sqrt_is_vaswanis_formula_as_a_share_of_its_peak(warmup_steps):
    """min(t^-1/2, t w^-3/2) of its value at t = w."""
    times = [step + 1 for step in range(50)]
    expected = [min(t**-0.5, t * warmup_steps**-1.5) / warmup_steps**-0.5 for t in times]
    assert factors(InverseSqrt(), 50, warmup_steps) == pytest.approx(expected, rel=1e-12)


def test_inverse_sqrt_without_warmup_is_constant_for_its_timescale():
    expected = [1.0] * 16 + [4 / t**0.5 for t in range(17, 51)]
    assert factors(InverseSqrt(timescale=16), 50, 0) == pytest.approx(expected, rel=1e-12)
    assert factors(InverseSqrt(), 50, 0) == pytest.approx([t**-0.5 for t in range(1, 51)], rel=1e-12)


@pytest.mark.parametrize("warmup_steps", [0.0, 10.0])
def test_wsd_decays_over_the_last_part_of_all_steps(warmup_steps):
    warmup = [(step + 1) / warmup_steps for step in range(int(warmup_steps))]
    constant = [1.0] * (80 - len(warmup))
    decaying = [0.1 + 0.9 * (1 - k / 20) for k in range(20)]
    found = factors(WSD(decay_fraction=0.2, final_fraction=0.1), 100, warmup_steps)
    assert found == pytest.approx(warmup + constant + decaying, rel=1e-12)


def test_wsd_that_always_decays_is_linear():
    assert factors(WSD(decay_fraction=1.0), 40, 8) == pytest.approx(factors(Linear(), 40, 8), rel=1e-12)


def test_cosine_never_rises_after_warmup_and_ends_near_its_final_fraction():
    seen = factors(Cosine(final_fraction=0.1), 1000, 10)
    assert all(later <= earlier for earlier, later in itertools.pairwise(seen[10:]))
    assert seen[-1] == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("schedule", [Constant(), Cosine(), Linear(), InverseSqrt(), Step(), WSD()])
def test_warmup_longer_than_training_only_warms_up(schedule):
    assert factors(schedule, 5, 50) == pytest.approx([(step + 1) / 50 for step in range(5)], rel=1e-12)
