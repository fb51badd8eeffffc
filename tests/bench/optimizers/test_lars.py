"""How far LARS moves a tensor."""

import pytest
import torch

from bench.optimizers.lars import Lars

LR = 0.5
KNOBS = {"lr": torch.tensor(LR, dtype=torch.float64), "weight_decay": torch.tensor(0.0, dtype=torch.float64)}


def first_step(p: torch.Tensor, grad: torch.Tensor, trust: float = 1e-3) -> torch.Tensor:
    optimizer = Lars(trust=trust)
    return optimizer.update("w", p, grad, optimizer.init("w", p), KNOBS, torch.tensor(0))[0] - p


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_lars_moves_a_matrix_by_a_share_of_its_own_length_whatever_the_gradients(scale):
    draw = torch.Generator().manual_seed(0)
    p, grad = (torch.randn(4, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    moved = first_step(p, scale * grad, trust=0.02)
    assert moved.norm().item() == pytest.approx(LR * 0.02 * p.norm().item(), rel=1e-12)


def test_lars_moves_gains_and_what_is_0_as_sgd_does():
    grad = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(first_step(torch.ones(4, dtype=torch.float64), grad), -LR * grad)
    zeros = torch.zeros(2, 2, dtype=torch.float64)
    torch.testing.assert_close(first_step(zeros, zeros + 1), zeros - LR)
