"""LAMB's steps are as long as the tensors that they move."""

import pytest
import torch

from bench.optimizers.lamb import Lamb

LR = 0.1
KNOBS = {"lr": torch.tensor(LR, dtype=torch.float64), "weight_decay": torch.tensor(0.0, dtype=torch.float64)}


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def first_step(optimizer, p: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    return optimizer.update("p", p, grad, optimizer.init("p", p), KNOBS, torch.tensor(0))[0] - p


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_lamb_moves_a_tensor_by_its_own_length(scale):
    p = scale * draw(0, 4, 3)
    moved = first_step(Lamb(), p, draw(1, 4, 3))
    assert moved.norm().item() == pytest.approx(LR * p.norm().item(), rel=1e-12)


def test_lamb_moves_a_tensor_of_zeros_as_adam_does():
    grad = draw(1, 5)
    moved = first_step(Lamb(), torch.zeros_like(grad), grad)
    torch.testing.assert_close(moved, -LR * grad / (grad.abs() + 1e-6), rtol=1e-12, atol=0)
