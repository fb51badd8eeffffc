"""NormSoftmax equals its definition; the variance of its logits is 1, or at least 1."""

import numpy
import pytest
import torch

from bench.methods.norm_softmax import EPS, NormSoftmax, NormSoftmaxBounded
from bench.methods.softmax import Softmax
from bench.probes.attention import logit_variance
from bench.probes.base import Attention
from tests.bench.methods.naive import FULL, MASKS, by_rows, queries_and_keys, softmax


def standardised(q, i, k, j):
    z = k @ q
    return softmax(z / numpy.sqrt(z.var() + EPS))


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition(mask):
    q, k = queries_and_keys(MASKS[mask])
    actual = NormSoftmax().weights(q, k, MASKS[mask], {})
    torch.testing.assert_close(actual, by_rows(q, k, MASKS[mask], standardised), rtol=1e-9, atol=0)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_bounded_weights_equal_the_definition(mask, scale):
    q, k = queries_and_keys(MASKS[mask], scale=scale)

    def row(q, i, k, j):
        z = k @ q
        return softmax(z / min(numpy.sqrt(z.var() + EPS), 1.5))

    actual = NormSoftmaxBounded(max_divisor=1.5).weights(q, k, MASKS[mask], {})
    torch.testing.assert_close(actual, by_rows(q, k, MASKS[mask], row), rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_logits_of_every_row_have_variance_one_whatever_their_scale(scale):
    q, k = queries_and_keys(scale=scale)
    z = NormSoftmax().logits(q, k, FULL, {})
    torch.testing.assert_close(z.var(dim=-1, correction=0), torch.ones_like(z[..., 0]), rtol=1e-5, atol=0)
    layer = Attention(z_BHQK=z, p_BHQK=z, mask_B1QK=FULL)
    torch.testing.assert_close(logit_variance(layer).item(), 1.0, rtol=1e-5, atol=0)


def test_bounded_logits_have_variance_one_at_least_and_larger_ones_are_softmaxs():
    q, k = queries_and_keys()
    variance = Softmax().logits(q, k, FULL, {}).var(dim=-1, correction=0)
    actual = NormSoftmaxBounded().logits(q, k, FULL, {}).var(dim=-1, correction=0)
    assert (variance < 1).any()
    assert (variance > 1).any()
    torch.testing.assert_close(actual, variance.clamp_min(1), rtol=1e-9, atol=0)
    expected = Softmax().weights(q, k, FULL, {})[variance > 1]
    torch.testing.assert_close(NormSoftmaxBounded().weights(q, k, FULL, {})[variance > 1], expected)


def test_rows_of_one_key_or_equal_logits_are_uniform():
    q, k = queries_and_keys()
    first = NormSoftmax().weights(q, k, FULL.tril(), {})[:, :, 0]
    assert torch.equal(first, torch.eye(7, dtype=torch.float64)[0].expand(2, 3, -1))
    equal = NormSoftmax().weights(q, torch.ones_like(k), FULL, {})
    torch.testing.assert_close(equal, torch.full_like(equal, 1 / 7))
