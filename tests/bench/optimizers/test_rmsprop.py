"""RMSprop's average starts at 0 and is not corrected for it."""

import torch

from bench.optimizers.rmsprop import RMSprop

LR = 0.1
KNOBS = {"lr": torch.tensor(LR, dtype=torch.float64), "weight_decay": torch.tensor(0.0, dtype=torch.float64)}


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def first_step(optimizer, p: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    return optimizer.update("p", p, grad, optimizer.init("p", p), KNOBS, torch.tensor(0))[0] - p


def test_rmsprop_starts_with_steps_larger_than_the_learning_rate():
    grad = draw(1, 5)
    moved = first_step(RMSprop(eps=1e-300), torch.zeros_like(grad), grad)
    torch.testing.assert_close(moved, -LR * grad.sign() / 0.1**0.5, rtol=1e-12, atol=0)
