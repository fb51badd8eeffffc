"""LipschitzNorm equals its definition; its logits lie in [-1, 1] whatever the norms."""

import numpy
import pytest
import torch

from bench.methods.lipschitz_norm import LipschitzNorm
from tests.bench.methods.naive import FULL, MASKS, by_rows, queries_and_keys, softmax


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition(mask):
    q, k = queries_and_keys(MASKS[mask])

    def row(q, i, k, j):
        return softmax(k @ q / (numpy.linalg.norm(q) * max(numpy.linalg.norm(k_j) for k_j in k)))

    actual = LipschitzNorm().weights(q, k, MASKS[mask], {})
    torch.testing.assert_close(actual, by_rows(q, k, MASKS[mask], row), rtol=1e-12, atol=0)


def test_logits_reach_one_and_never_pass_it():
    _, k = queries_and_keys()
    z = LipschitzNorm().logits(k, k, FULL, {})
    torch.testing.assert_close(z.abs().amax(dim=(-2, -1)), torch.ones(2, 3, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_scale_of_queries_and_keys_changes_nothing(factor):
    q, k = queries_and_keys()
    expected = LipschitzNorm().weights(q, k, FULL, {})
    torch.testing.assert_close(LipschitzNorm().weights(factor * q, k, FULL, {}), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(LipschitzNorm().weights(q, factor * k, FULL, {}), expected, rtol=1e-12, atol=0)


def test_no_weight_is_more_than_e_squared_times_another():
    q, k = queries_and_keys(scale=1e3)
    p = LipschitzNorm().weights(q, k, FULL, {})
    assert (p.amax(dim=-1) / p.amin(dim=-1)).max() <= numpy.exp(2)
