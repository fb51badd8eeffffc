"""What Adafactor keeps of second moments, and how far its steps go."""

import pytest
import torch

from bench.optimizers.adafactor import Adafactor

LR = 0.1
KNOBS = {"lr": torch.tensor(LR, dtype=torch.float64)}


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def first_step(optimizer, p: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    return optimizer.update("p", p, grad, optimizer.init("p", p), KNOBS, torch.tensor(0))[0] - p


@pytest.mark.parametrize("shape", [(6, 5), (7,), ()])
def test_adafactor_divides_by_squares_of_rank_1_exactly(shape):
    """So that a first step is the sign of the gradient."""
    grad = draw(1, shape[0], 1) * draw(2, 1, shape[1]) if len(shape) == 2 else draw(1, *shape)
    moved = first_step(Adafactor(), torch.zeros_like(grad), grad)
    torch.testing.assert_close(moved, -LR * grad.sign(), rtol=1e-12, atol=0)


def test_adafactor_clips_steps_by_their_root_mean_square():
    """After small gradients a large one would move by far more than the learning rate."""
    optimizer, p = Adafactor(clip_threshold=0.5), draw(0, 4, 3)
    state = optimizer.init("p", p)
    for step in range(20):
        p, state = optimizer.update("p", p, 1e-3 * draw(step, 4, 3), state, KNOBS, torch.tensor(step))
    moved = optimizer.update("p", p, draw(99, 4, 3), state, KNOBS, torch.tensor(20))[0] - p
    assert moved.square().mean().sqrt().item() == pytest.approx(0.5 * LR, rel=1e-12)


def test_adafactor_keeps_a_row_and_a_column():
    assert sum(tensor.numel() for tensor in Adafactor().init("p", draw(0, 40, 30)).values()) == 70


def test_adafactor_bears_rows_and_columns_of_zeros_beside_huge_gradients():
    """Moments of 1e-30 beside 1e20 in float32."""
    grad = torch.zeros(4, 3)
    grad[0, 0] = 1e10
    moved = first_step(Adafactor(clip_threshold=1e6), torch.zeros(4, 3), grad)
    expected = torch.zeros(4, 3)
    expected[0, 0] = -LR
    torch.testing.assert_close(moved, expected.double(), rtol=1e-5, atol=0, check_dtype=False)
