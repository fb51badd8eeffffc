"""Rotary positions turn pairs of channels by angles that grow with the token: lengths stay, products see distances.

Shapes: B batch, H heads, T tokens, D width of a head, F pairs of channels.
"""

import pytest
import torch

from bench.models.attention import rotary

NUM_TOKENS, WIDTH, BASE = 12, 8, 10_000.0
CPU = torch.device("cpu")


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotate(x_BHTD: torch.Tensor) -> torch.Tensor:
    return rotary(x_BHTD.shape[-2], WIDTH, BASE, CPU)(x_BHTD)


def test_equals_multiplication_by_complex_numbers():
    """Channel i and channel i + D/2 are one number, turned by t base^(-2i/D). Angles are computed in float32."""
    x_BHTD = randn(0, 2, 3, NUM_TOKENS, WIDTH)
    angle_TF = torch.arange(NUM_TOKENS)[:, None] * BASE ** (-torch.arange(WIDTH // 2, dtype=torch.float64) * 2 / WIDTH)
    z_BHTF = torch.complex(*x_BHTD.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angle_TF), angle_TF)
    torch.testing.assert_close(rotate(x_BHTD), torch.cat([z_BHTF.real, z_BHTF.imag], dim=-1), rtol=0, atol=1e-5)


def test_keeps_lengths_and_the_first_token():
    x_BHTD = randn(0, 2, 3, NUM_TOKENS, WIDTH)
    lengths = [torch.linalg.vector_norm(x, dim=-1) for x in (rotate(x_BHTD), x_BHTD)]
    torch.testing.assert_close(*lengths, rtol=1e-6, atol=0)
    assert torch.equal(rotate(x_BHTD)[:, :, 0], x_BHTD[:, :, 0])


def test_products_depend_on_the_distance_alone():
    """One query and one key at every place: Z is constant along diagonals, and not along rows."""
    q_TD, k_TD = (rotate(randn(seed, 1, WIDTH).expand(NUM_TOKENS, WIDTH)) for seed in (0, 1))
    z_TT = q_TD @ k_TD.T
    for distance in range(-NUM_TOKENS + 1, NUM_TOKENS):
        diagonal = z_TT.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)
    assert z_TT[0].std() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype(dtype):
    x_BHTD = randn(0, 1, 1, NUM_TOKENS, WIDTH).to(dtype)
    assert rotate(x_BHTD).dtype == dtype
    torch.testing.assert_close(rotate(x_BHTD).double(), rotate(x_BHTD.double()), rtol=1e-2, atol=1e-2)
