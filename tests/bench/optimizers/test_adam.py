"""What sets the three weight decays of Adam apart."""

import math

import pytest
import torch

from bench.optimizers.adam import Adam, AdamW, AdamWIndependent

WEIGHT_DECAY = 0.3
FACTORS = (0.25, 0.5, 1.0, 0.7, 0.1)


def shrunk(optimizer: Adam, lr: float) -> float:
    """What a parameter of 1 becomes under gradients of 0 and a schedule of FACTORS."""
    p = torch.ones((), dtype=torch.float64)
    state = optimizer.init("p", p)
    for step, factor in enumerate(FACTORS):
        knobs = {"lr": lr * factor, "lr_factor": factor, "weight_decay": WEIGHT_DECAY}
        knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
        p, state = optimizer.update("p", p, torch.zeros_like(p), state, knobs, torch.tensor(step))
    return p.item()


@pytest.mark.parametrize("lr", [1e-4, 0.1, 3.0])
def test_independent_decay_follows_the_schedule_and_not_the_learning_rate(lr):
    expected = math.prod(1 - factor * WEIGHT_DECAY for factor in FACTORS)
    assert shrunk(AdamWIndependent(decays="all"), lr) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("lr", [1e-4, 0.1, 3.0])
def test_decoupled_decay_is_scaled_by_the_learning_rate(lr):
    expected = math.prod(1 - lr * factor * WEIGHT_DECAY for factor in FACTORS)
    assert shrunk(AdamW(decays="all"), lr) == pytest.approx(expected, rel=1e-14)


def test_coupled_decay_moves_by_the_learning_rate_whatever_its_size():
    """Adam divides the decay by its own size: the first step is lr."""
    lr = 0.01
    p = torch.ones((), dtype=torch.float64)
    knobs = {"lr": lr, "lr_factor": 1.0, "weight_decay": WEIGHT_DECAY}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
    adam = Adam(eps=1e-300, decays="all")
    p, _ = adam.update("p", p, torch.zeros_like(p), adam.init("p", p), knobs, torch.tensor(0))
    assert p.item() == pytest.approx(1 - lr, rel=1e-14)
