"""cosFormer equals its definition, and the decomposition by which the paper makes it linear."""

import math

import numpy
import pytest
import torch

from bench.methods.cosformer import CosFormer
from bench.methods.kernel import ReluKernel
from bench.methods.mask import Mask
from tests.bench.methods.naive import FULL, MASKS, TOKENS, by_rows, queries_and_keys


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition(mask):
    q, k = queries_and_keys(MASKS[mask])
    q[..., 0], k[..., 0] = q[..., 0].abs(), k[..., 0].abs()  # no row is empty

    num_queries = len(MASKS[mask])

    def row(q, i, k, j):
        i = i - (TOKENS - num_queries)  # queries count from the start, too
        similarity = (numpy.maximum(k, 0) @ numpy.maximum(q, 0)) * numpy.cos(math.pi / 2 * (i - j) / TOKENS)
        return similarity / similarity.sum()

    actual = CosFormer().weights(q, k, MASKS[mask], {})
    torch.testing.assert_close(actual, by_rows(q, k, MASKS[mask], row), rtol=1e-11, atol=1e-16)


def test_weights_equal_a_kernel_of_twice_the_width():
    """cos(a - b) = cos a cos b + sin a sin b: ReLU kernel attention on features turned by position."""
    q, k = queries_and_keys()
    angle_T1 = math.pi / 2 * torch.arange(TOKENS, dtype=torch.float64)[:, None] / TOKENS
    turned = [torch.cat([x.relu() * angle_T1.cos(), x.relu() * angle_T1.sin()], dim=-1) for x in (q, k)]
    expected = ReluKernel().weights(*turned, FULL.tril(), {})
    torch.testing.assert_close(CosFormer().weights(q, k, FULL.tril(), {}), expected, rtol=1e-11, atol=1e-16)


def test_in_cross_attention_both_count_from_the_start_and_the_longer_sequence_is_the_length():
    """As in the authors' code; of two examples each has its own length, whatever the batch's is."""
    q, k = torch.ones(2, 1, 5, 2), torch.ones(2, 1, 3, 2)
    mask = Mask.padded(
        torch.tensor([[1, 1, 1], [1, 1, 0]]).bool(), torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).bool()
    )
    p = CosFormer().weights(q, k, mask.allowed_B1QK, mask.state)
    for example, num_queries, num_keys, longest in ((0, 5, 3, 5), (1, 1, 2, 2)):
        distance = torch.arange(num_queries)[:, None] - torch.arange(num_keys)
        nearness = (math.pi / 2 * distance / longest).cos()
        expected = nearness / nearness.sum(dim=-1, keepdim=True)
        torch.testing.assert_close(p[example, 0, :num_queries, :num_keys], expected)


def test_near_keys_count_more_among_equal_ones():
    q, k = torch.ones(1, 1, TOKENS, 2), torch.ones(1, 1, TOKENS, 2)
    first = CosFormer().weights(q, k, FULL, {})[0, 0, 0]
    assert (first.diff() < 0).all()
    assert first[-1] > 0


def test_scale_of_queries_and_keys_changes_nothing():
    q, k = queries_and_keys()
    expected = CosFormer().weights(q, k, FULL, {})
    torch.testing.assert_close(CosFormer().weights(1e4 * q, 1e-4 * k, FULL, {}), expected, rtol=1e-11, atol=1e-16)


def test_a_row_without_similarity_is_uniform():
    q, k = queries_and_keys()
    q[:, :, 2] = -1
    p = CosFormer().weights(q, k, FULL.tril(), {})
    torch.testing.assert_close(p[:, :, 2, :3], torch.full((2, 3, 3), 1 / 3, dtype=torch.float64))
