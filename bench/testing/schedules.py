"""What every schedule keeps to: SCHEDULE_PROPERTIES, by what they say."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.optimizers.schedules import Schedule
from bench.testing.basics import SCHEDULE_BASICS
from bench.testing.optimizer_steps import scalar
from bench.testing.properties import Property, require, require_close
from bench.testing.variants import ignored_parameters, untried_parameters

if TYPE_CHECKING:
    from torch import Tensor


def factors_lie_in_0_to_1(schedule: Schedule) -> str:
    """Of short and long runs; warmup is linear."""
    least = 1.0
    for num_steps in (1, 2, 30):
        for warmup in (0.0, 1.0, 2.5, 10.0, 100.0):
            for step in range(num_steps):
                factor = schedule.factor(torch.tensor(step), scalar(warmup), num_steps)
                at = f"at step {step} of {num_steps} with {warmup:g} steps of warmup"
                require(factor.shape == (), f"shape {tuple(factor.shape)} {at}, required a scalar")
                value = float(factor)
                require(0 <= value <= 1, f"{value:.4g} {at}, required one in [0, 1]")
                expected = (step + 1) / warmup if step + 1 <= warmup else value
                require(math.isclose(value, expected, rel_tol=1e-12), f"{value:.4g} {at}, required {expected:.4g}")
                least = min(least, value)
    return f"from {least:.2g} to 1"


def lanes_equal_a_loop(schedule: Schedule) -> str:
    """Factors of lanes with warmups of their own, together and one by one."""
    warmups = torch.tensor([0.0, 3.0, 7.5, 50.0], dtype=torch.float64)
    evidence = ""
    for step in map(torch.tensor, range(20)):
        together = torch.func.vmap(lambda warmup, step=step: schedule.factor(step, warmup, 20))(warmups)
        alone = torch.stack([schedule.factor(step, warmup, 20) for warmup in warmups])
        evidence = require_close(together, alone, "lanes together and one by one", rtol=1e-13, atol=1e-15)
    return evidence


def constants_may_differ_between_lanes(schedule: Schedule) -> str:
    """Constants that are floats may be tensors, one value a lane."""
    fields = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule)}
    constants = {key: value for key, value in fields.items() if isinstance(value, float)}

    def factors(own: dict) -> Tensor:
        entry = dataclasses.replace(schedule, **own)
        return torch.stack([entry.factor(torch.tensor(step), scalar(3.0), 10) for step in range(10)])

    if not constants:
        return "there are none"
    by_lane = {key: torch.stack([scalar(value), scalar(value / 2)]) for key, value in constants.items()}
    alone = torch.stack([factors({}), factors({key: value / 2 for key, value in constants.items()})])
    what = "constants as tensors and as numbers"
    require_close(torch.func.vmap(factors)(by_lane), alone, what, rtol=1e-13, atol=1e-15)
    return ", ".join(constants)


def every_parameter_changes_it(schedule: Schedule) -> str:
    """For each declared parameter some other value changes a factor."""

    def factors(entry: Schedule) -> list[Tensor]:
        return [entry.factor(torch.tensor(step), scalar(3.0), 30) for step in range(30)]

    ignored = ignored_parameters(schedule, factors)
    require(not ignored, f"no other value of {', '.join(sorted(ignored))} changes a factor")
    untried = untried_parameters(schedule)
    return f"not tried: {', '.join(sorted(untried))}" if untried else "all that are declared"


SCHEDULE_PROPERTIES: dict[str, Property] = {
    **SCHEDULE_BASICS,
    "factors lie in 0 to 1, warmup is linear": Property(
        of="decay", check=factors_lie_in_0_to_1, is_sampled=True, is_basic=True
    ),
    "lanes equal a loop": Property(of="decay", check=lanes_equal_a_loop),
    "constants may differ between lanes": Property(of="decay", check=constants_may_differ_between_lanes),
    "every parameter changes it": Property(of="decay", check=every_parameter_changes_it),
}
