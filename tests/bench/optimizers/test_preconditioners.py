"""What divides a step, of this gradient, by hand."""

import math

import pytest
import torch

from bench.optimizers.adam import Adam
from bench.optimizers.rmsprop import RMSprop

GRAD = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
HELD = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
KNOBS = {"lr": torch.tensor(0.1), "weight_decay": torch.tensor(0.0)}


def divided_by(optimizer: Adam | RMSprop, step: int) -> list[float]:
    state = {"first": torch.zeros_like(GRAD), "second": HELD}
    found = optimizer.preconditioner("w", torch.ones_like(GRAD), GRAD, state, KNOBS, torch.tensor(step))
    return found[0].tolist()


@pytest.mark.parametrize("step", [0, 4])
def test_adams_is_its_corrected_root_times_the_correction_of_the_mean(step):
    """Cohen et al. 2022, Eq. 3, with this gradient in the moments."""
    second = [0.9 * held + 0.1 * grad**2 for held, grad in ((1.0, 3.0), (2.0, -4.0))]
    roots = [math.sqrt(value / (1 - 0.9 ** (step + 1))) for value in second]
    expected = [(1 - 0.5 ** (step + 1)) * (root + 0.01) for root in roots]
    assert divided_by(Adam(beta1=0.5, beta2=0.9, eps=0.01), step) == pytest.approx(expected, rel=1e-6)


def test_rmsprops_is_its_root():
    expected = [math.sqrt(0.9 * held + 0.1 * grad**2) + 0.01 for held, grad in ((1.0, 3.0), (2.0, -4.0))]
    assert divided_by(RMSprop(beta2=0.9, eps=0.01), 3) == pytest.approx(expected, rel=1e-6)
