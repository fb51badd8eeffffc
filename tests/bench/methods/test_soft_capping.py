"""Soft-capping equals its definition, stays below its cap, and is softmax where the cap is far away."""

import math

import numpy
import pytest
import torch

from bench.methods.soft_capping import SoftCapping
from bench.methods.softmax import Softmax
from tests.bench.methods.naive import FULL, MASKS, by_rows, queries_and_keys, softmax


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cap", [0.5, 50.0])
def test_weights_equal_the_definition(mask, cap):
    q, k = queries_and_keys(MASKS[mask], scale=3)

    def row(q, i, k, j):
        return softmax(numpy.array([cap * math.tanh(k_j @ q / cap) for k_j in k]))

    expected = by_rows(q, k, MASKS[mask], row)
    torch.testing.assert_close(SoftCapping(cap=cap).weights(q, k, MASKS[mask], {}), expected, rtol=1e-12, atol=0)


def test_logits_lie_within_the_cap_and_keep_their_order():
    q, k = queries_and_keys(scale=5)
    z, plain = SoftCapping(cap=5).logits(q, k, FULL, {}), Softmax().logits(q, k, FULL, {})
    assert z.abs().amax() <= 5
    assert plain.abs().amax() > 20
    assert torch.equal(z.argsort(dim=-1), plain.argsort(dim=-1))


def test_a_far_cap_is_softmax():
    q, k = queries_and_keys()
    expected = Softmax().weights(q, k, FULL, {})
    errors = [(SoftCapping(cap=c).weights(q, k, FULL, {}) - expected).abs().max() for c in (10, 100, 1e3)]
    # c tanh(z / c) = z - z^3 / (3 c^2): a tenfold cap is a hundredfold nearer
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 50
