"""Softmax attention is PyTorch's; the window is a band of the mask."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from bench.methods.mask import Mask
from bench.methods.softmax import Softmax, WindowSoftmax

TOKENS, WIDTH = 9, 4
FULL = torch.ones(TOKENS, TOKENS, dtype=torch.bool)


def queries_and_keys(num_queries: int = TOKENS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q_BHQD = torch.randn(2, 3, num_queries, WIDTH, generator=generator, dtype=torch.float64)
    return q_BHQD, torch.randn(2, 3, TOKENS, WIDTH, generator=generator, dtype=torch.float64)


def window(mask_QK: torch.Tensor, width: int) -> torch.Tensor:
    return WindowSoftmax(width=width).restrict(Mask.shared(mask_QK, "full")).allowed_B1QK


def weights_of_pytorch(q_BHQD, k_BHKD, mask_QK) -> torch.Tensor:
    """Weights of PyTorch's attention, read off with the identity as values."""
    identity = torch.eye(k_BHKD.shape[2], dtype=q_BHQD.dtype).expand(*q_BHQD.shape[:2], -1, -1)
    return scaled_dot_product_attention(q_BHQD, k_BHKD, identity, attn_mask=mask_QK, scale=1.0)


@pytest.mark.parametrize("mask_QK", [FULL, FULL.tril(), FULL.triu(-2)], ids=["full", "causal", "band"])
def test_softmax_equals_pytorchs(mask_QK):
    q, k = queries_and_keys()
    expected = weights_of_pytorch(q, k, mask_QK)
    torch.testing.assert_close(Softmax().weights(q, k, mask_QK, {}), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("width", [TOKENS - 1, TOKENS, 100])
def test_a_window_over_all_keys_equals_softmax(width):
    q, k = queries_and_keys()
    actual = WindowSoftmax().weights(q, k, window(FULL, width), {})
    assert torch.equal(actual, Softmax().weights(q, k, FULL, {}))


@pytest.mark.parametrize("width", [1, 3, TOKENS - 2])
@pytest.mark.parametrize("mask_QK", [FULL, FULL.tril()], ids=["full", "causal"])
def test_a_window_equals_a_band_of_the_mask(width, mask_QK):
    q, k = queries_and_keys()
    band_QK = mask_QK.clone()
    for i in range(TOKENS):
        for j in range(TOKENS):
            band_QK[i, j] &= abs(i - j) <= width
    assert torch.equal(window(mask_QK, width)[0, 0], band_QK)
    expected = weights_of_pytorch(q, k, band_QK)
    actual = WindowSoftmax().weights(q, k, window(mask_QK, width), {})
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15)


def test_a_window_is_no_mask_that_a_causal_path_may_assume():
    for kind in ("full", "causal"):
        assert WindowSoftmax().restrict(Mask.shared(FULL, kind)).kind == "custom"


def test_the_last_queries_see_the_rows_of_all_queries():
    q, k = queries_and_keys()
    last = WindowSoftmax().weights(q[:, :, -3:], k, window(FULL[-3:], 2), {})
    expected = WindowSoftmax().weights(q, k, window(FULL, 2), {})[:, :, -3:]
    torch.testing.assert_close(last, expected, rtol=1e-12, atol=1e-15)
