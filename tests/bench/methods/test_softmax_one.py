"""Softmax-1 equals its definition, is softmax where logits are high, and nothing where they are low."""

import numpy
import pytest
import torch

from bench.methods.softmax import Softmax
from bench.methods.softmax_one import SoftmaxOne
from tests.bench.methods.naive import FULL, MASKS, by_rows, queries_and_keys, randn


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition(mask):
    q, k = queries_and_keys(MASKS[mask])
    expected = by_rows(q, k, MASKS[mask], lambda q, i, k, j: numpy.exp(k @ q) / (1 + numpy.exp(k @ q).sum()))
    torch.testing.assert_close(SoftmaxOne().weights(q, k, MASKS[mask], {}), expected, rtol=1e-12, atol=0)


def rows(shift: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys whose logits are `shift` plus a standard normal."""
    q = torch.ones(1, 1, 7, 1, dtype=torch.float64)
    return q, shift + randn(0, 1, 1, 7, 1)


def test_large_logits_give_softmax():
    for shift, tolerance in ((10, 1e-4), (1000, 1e-14)):
        expected = Softmax().weights(*rows(shift), FULL, {})
        torch.testing.assert_close(SoftmaxOne().weights(*rows(shift), FULL, {}), expected, rtol=tolerance, atol=0)


def test_small_logits_give_nothing_without_overflow():
    assert SoftmaxOne().weights(*rows(-30), FULL, {}).sum(dim=-1).max() < 1e-10
    assert (SoftmaxOne().weights(*rows(-1e4), FULL, {}) == 0).all()


def test_it_is_softmax_with_a_further_key_of_logit_zero():
    q, k = queries_and_keys()
    one_more = torch.cat([k, torch.zeros_like(k[:, :, :1])], dim=2)
    mask_QK = torch.ones(7, 8, dtype=torch.bool)
    expected = Softmax().weights(q, one_more, mask_QK, {})[..., :-1]
    torch.testing.assert_close(SoftmaxOne().weights(q, k, FULL, {}), expected, rtol=1e-12, atol=0)
