"""Lion's steps have one size."""

import torch

from bench.optimizers.lion import Lion

LR = 0.1
KNOBS = {"lr": torch.tensor(LR, dtype=torch.float64), "weight_decay": torch.tensor(0.0, dtype=torch.float64)}


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def first_step(optimizer, p: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    return optimizer.update("p", p, grad, optimizer.init("p", p), KNOBS, torch.tensor(0))[0] - p


def test_lion_moves_each_number_by_the_learning_rate():
    grad = draw(1, 4, 3)
    torch.testing.assert_close(first_step(Lion(), draw(0, 4, 3), grad), -LR * grad.sign(), rtol=0, atol=1e-15)
