"""Inverse fourth roots equal those by eigenvalues, and bear matrices that are nearly singular."""

import pytest
import torch

from bench.optimizers.shampoo import Shampoo, inverse_fourth_roots

STEPS = [torch.tensor(step) for step in range(12)]


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 3, 40])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_roots_equal_those_by_eigenvalues(size, condition):
    vectors, _ = torch.linalg.qr(draw(0, 2, size, size))
    values = torch.logspace(0, 1, size, base=condition, dtype=torch.float64) * torch.tensor([[1e-6], [1e9]])
    expected = (vectors * values[:, None] ** -0.25) @ vectors.mT
    found = inverse_fourth_roots((vectors * values[:, None]) @ vectors.mT)
    torch.testing.assert_close(
        found / expected.abs().amax((-2, -1), keepdim=True),
        expected / expected.abs().amax((-2, -1), keepdim=True),
        rtol=0,
        atol=1e-9,
    )


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3, 1e8])
def test_float32_keeps_the_directions_of_gradients_of_low_rank(scale):
    """Of 64 eigenvalues 54 are eps: below rounding at large scales, and no gradient points there."""
    grads = scale * draw(0, 64, 10)
    left = 1e-4 * torch.eye(64, dtype=torch.float64) + grads @ grads.mT
    exact = inverse_fourth_roots(left[None])[0] @ grads
    found = inverse_fourth_roots(left.float()[None])[0] @ grads.float()
    assert found.isfinite().all()
    torch.testing.assert_close(found.double() / exact.abs().max(), exact / exact.abs().max(), rtol=0, atol=1e-3)


def test_a_repeated_gradient_moves_as_adagrad_along_its_singular_vectors():
    """Of singular value s after t steps: s (eps + t s^2)^-1/2, from both sides a fourth root."""
    left, values, right = torch.linalg.svd(draw(0, 5, 3), full_matrices=False)
    grad = (left * values) @ right
    p = torch.zeros(5, 3, dtype=torch.float64)
    shampoo, knobs = Shampoo(eps=0.01), {"lr": torch.tensor(0.1, dtype=torch.float64)}
    state, moved = shampoo.init("w", p), torch.zeros(3, dtype=torch.float64)
    for step in STEPS:
        p, state = shampoo.update("w", p, grad, state, knobs, step)
        moved -= 0.1 * values * (0.01 + (step + 1) * values**2) ** -0.5
    torch.testing.assert_close(p, (left * moved) @ right, rtol=1e-9, atol=1e-12)
