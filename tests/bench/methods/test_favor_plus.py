"""FAVOR+ estimates softmax: without bias, and better with more features; its features are orthogonal in blocks."""

import math
import zlib

import numpy
import pytest
import torch
from scipy.stats import kstest

from bench.methods.base import Heads
from bench.methods.favor_plus import STABILIZER, FavorPlus
from bench.methods.softmax import Softmax
from tests.bench.methods.naive import FULL, MASKS, NUM_HEADS, TOKENS, WIDTH, by_rows, queries_and_keys


def features(method: FavorPlus, seed: int, width: int = WIDTH) -> torch.Tensor:
    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    heads = Heads(num_heads=NUM_HEADS, width=width, num_keys=TOKENS)
    return method.init_buffers(heads, draw)["features"]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("num_features", [1, 6, 64])
def test_weights_equal_the_definition(mask, num_features):
    """Features written out without the shifts against overflow; the stabiliser is relative to the largest."""
    q, k = queries_and_keys(MASKS[mask], scale=0.5)
    method = FavorPlus(num_features=num_features)
    w_MD = features(method, 0)
    balance = WIDTH**0.25

    def phi(x):
        return numpy.exp(w_MD[0].numpy() @ x - x @ x / 2)

    def similarity(q, k):
        return phi(q) @ phi(k) / num_features + STABILIZER * phi(q).max() * phi(k).max()

    def row(q, i, k, j):
        similarities = numpy.array([similarity(q * balance, x / balance) for x in k])
        return similarities / similarities.sum()

    actual = method.weights(q, k, MASKS[mask], {"features": w_MD})
    expected = by_rows(q, k, MASKS[mask], row)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=0)


def test_more_features_are_nearer_to_softmax():
    q, k = (0.2 * x for x in queries_and_keys())
    exact = Softmax().weights(q, k, FULL, {})
    errors = []
    for num_features in (16, 256, 4096):
        method = FavorPlus(num_features=num_features)
        estimates = [method.weights(q, k, FULL, {"features": features(method, seed)}) for seed in range(20)]
        errors.append(torch.stack([(p - exact).square().mean() for p in estimates]).mean().sqrt().item())
    # the error falls as 1 / sqrt(M): by 4 for each 16-fold
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.4)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.4)
    assert errors[2] < 0.01


def test_products_of_features_estimate_the_exponential_without_bias():
    q, k = 0.6 * torch.randn(2, 1, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    method = FavorPlus(num_features=8)
    estimates = []
    for seed in range(3000):
        w_MD = features(method, seed)[0]
        phi_q, phi_k = ((x @ w_MD.T - x.square().sum() / 2).exp() for x in (q, k))
        estimates.append((phi_q * phi_k).mean().item())
    standard_error = numpy.std(estimates) / math.sqrt(len(estimates))
    assert abs(numpy.mean(estimates) - math.exp((q * k).sum())) < 4 * standard_error
    assert standard_error < 0.02


@pytest.mark.parametrize(("num_features", "width"), [(12, 4), (10, 4), (3, 5)])
def test_features_are_orthogonal_within_blocks(num_features, width):
    w_MD = features(FavorPlus(num_features=num_features), 0, width)
    assert w_MD.shape == (1, num_features, width)
    for block in w_MD[0].split(width):
        products = block @ block.T
        torch.testing.assert_close(products, products.diagonal().diag(), rtol=0, atol=1e-12)


def test_features_have_norms_and_directions_of_gaussian_vectors():
    w_MD = torch.cat([features(FavorPlus(num_features=4), seed)[0] for seed in range(500)])
    assert kstest(w_MD.square().sum(dim=-1).numpy(), "chi2", args=(WIDTH,)).pvalue > 0.01
    for channel in range(WIDTH):
        assert kstest(w_MD[:, channel].numpy(), "norm").pvalue > 0.001


def test_a_balance_between_queries_and_keys_keeps_noise_low_at_the_models_scale():
    """Queries arrive times 1/sqrt(D): unbalanced, the same features would estimate far worse."""
    width = 64
    q, k = (torch.randn(1, 1, 20, width, generator=torch.Generator().manual_seed(s)).double() for s in (0, 1))
    q = 0.3 * q / math.sqrt(width)
    mask_QK = torch.ones(20, 20, dtype=torch.bool)
    method = FavorPlus()
    state = {"features": features(method, 0, width)}
    exact = Softmax().weights(q, k, mask_QK, {})
    lopsided = method.weights(q / width**0.25, k * width**0.25, mask_QK, state)
    balanced = method.weights(q, k, mask_QK, state)
    assert (balanced - exact).abs().mean() < (lopsided - exact).abs().mean() / 2
