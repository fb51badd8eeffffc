"""Inverse fourth roots equal those by eigenvalues, and bear matrices that are nearly singular."""

import pytest
import torch

from bench.optimizers.shampoo import Shampoo, inverse_fourth_roots

STEPS = [torch.tensor(step) for step in range(12)]


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 3, 40])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e6, 1e8])
def test_roots_equal_those_by_eigenvalues(size, condition):
    vectors, _ = torch.linalg.qr(draw(0, 2, size, size))
    values = torch.logspace(0, 1, size, base=condition, dtype=torch.float64) * torch.tensor([[1e-6], [1e9]])
    expected = (vectors * values[:, None] ** -0.25) @ vectors.mT
    found = inverse_fourth_roots((vectors * values[:, None]) @ vectors.mT)
    torch.testing.assert_close(
        found / expected.abs().amax((-2, -1), keepdim=True),
        expected / expected.abs().amax((-2, -1), keepdim=True),
        rtol=0,
        atol=max(1e-9, condition * 1e-14),  # 16 ulps of the norm are added to every eigenvalue
    )


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3, 1e8])
def test_float32_keeps_the_directions_of_gradients_of_low_rank(scale):
    """Of 64 eigenvalues 54 are eps: below rounding at large scales, and no gradient points there."""
    grads = scale * draw(0, 64, 10)
    values, vectors = torch.linalg.eigh(grads.mT @ grads)
    root = (vectors * (1e-4 + values) ** -0.5) @ vectors.mT  # a fourth root from either side
    knobs = {"lr": torch.ones(())}
    shampoo, p = Shampoo(), torch.zeros(64, 10)
    moved, _ = shampoo.update("w", p, grads.float(), shampoo.init("w", p), knobs, STEPS[0])
    assert moved.dtype == torch.float32
    torch.testing.assert_close(-moved.double(), grads @ root, rtol=0, atol=3e-6 * (grads @ root).abs().max().item())


@pytest.mark.parametrize(("condition", "is_off_by"), [(1e2, 5e-4), (1e4, 0.05), (1e6, 0.9)])
def test_roots_in_float32_would_be_off_by_what_is_stated(condition, is_off_by):
    vectors, _ = torch.linalg.qr(draw(0, 64, 64))
    values = torch.logspace(0, 1, 64, base=condition, dtype=torch.float64)
    expected = (vectors * values**-0.25) @ vectors.mT
    a_1NN = ((vectors * values) @ vectors.mT)[None]
    errors = [
        (torch.linalg.matrix_norm(root.double() - expected, 2) / torch.linalg.matrix_norm(expected, 2)).item()
        for root in (inverse_fourth_roots(a_1NN.float())[0], inverse_fourth_roots(a_1NN)[0])
    ]
    assert is_off_by / 10 < errors[0] < is_off_by
    assert errors[1] < 1e-7


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
