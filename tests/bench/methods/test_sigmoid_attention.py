"""Sigmoid attention equals its definition; a weight depends on its own key alone."""

import math

import numpy
import pytest
import torch

from bench.methods.sigmoid_attention import SigmoidAttention
from tests.bench.methods.naive import FULL, MASKS, TOKENS, by_rows, queries_and_keys, randn


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition(mask):
    q, k = queries_and_keys(MASKS[mask])
    bias = -math.log(TOKENS)  # of the sequence's tokens, also where a row has fewer keys
    expected = by_rows(q, k, MASKS[mask], lambda q, i, k, j: 1 / (1 + numpy.exp(-(k @ q + bias))))
    torch.testing.assert_close(SigmoidAttention().weights(q, k, MASKS[mask], {}), expected, rtol=1e-12, atol=0)


def test_keys_do_not_compete():
    q, k = queries_and_keys()
    others = torch.cat([k[:, :, :1], randn(5, *k[:, :, 1:].shape)], dim=2)
    one, other = (SigmoidAttention().weights(q, keys, FULL, {}) for keys in (k, others))
    assert torch.equal(one[..., 0], other[..., 0])
    assert not torch.allclose(one[..., 1], other[..., 1])


@pytest.mark.parametrize("num_keys", [10, 1000])
def test_rows_of_logits_near_zero_sum_to_about_one(num_keys):
    """The purpose of the bias: N sigmoid(-log N) = N / (N + 1)."""
    q, k = torch.zeros(1, 1, 1, 2), torch.randn(1, 1, num_keys, 2, generator=torch.Generator().manual_seed(0))
    p = SigmoidAttention().weights(q, k, torch.ones(1, num_keys, dtype=torch.bool), {})
    assert p.sum().item() == pytest.approx(num_keys / (num_keys + 1), rel=1e-5)
