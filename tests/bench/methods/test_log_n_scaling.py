"""Log-N scaling equals its definition; its factor starts at 1 on average over causal rows."""

import math

import numpy
import pytest
import torch

from bench.methods.base import Heads
from bench.methods.log_n_scaling import LogNScaling
from bench.methods.softmax import Softmax
from tests.bench.methods.naive import FULL, MASKS, NUM_HEADS, by_rows, queries_and_keys, softmax


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition_head_by_head(mask):
    q, k = queries_and_keys(MASKS[mask])
    scales = [0.3, 1.0, -2.0]
    rows = [lambda q, i, k, j, s=s: softmax(s * math.log(len(j)) * (k @ q)) for s in scales]
    state = {"s": torch.tensor(scales, dtype=torch.float64)[:, None, None]}
    actual = LogNScaling().weights(q, k, MASKS[mask], state)
    torch.testing.assert_close(actual, by_rows(q, k, MASKS[mask], *rows), rtol=1e-11, atol=0)


@pytest.mark.parametrize("num_keys", [2, 16, 1024])
def test_the_factor_starts_at_one_on_average(num_keys):
    s = LogNScaling().init_params(Heads(num_heads=NUM_HEADS, width=8, num_keys=num_keys))["s"]
    assert s.shape == (NUM_HEADS, 1, 1)
    mean = numpy.log(numpy.arange(1, num_keys + 1)).mean()
    numpy.testing.assert_allclose(s.numpy() * mean, 1, rtol=1e-6)


def test_a_factor_of_one_is_softmax():
    q, k = queries_and_keys()
    state = {"s": torch.full((1, 1, 1), 1 / math.log(7), dtype=torch.float64)}
    torch.testing.assert_close(LogNScaling().weights(q, k, FULL, state), Softmax().weights(q, k, FULL, {}))


def test_sharpness_does_not_fall_with_the_number_of_keys():
    """One key ahead by 3 among equal ones: softmax lets go of it as rows grow, s log(n) with s = 1/2 does not."""
    ahead = {}
    for num_keys in (10, 1000):
        q = torch.ones(1, 1, 1, 1)
        k = torch.zeros(1, 1, num_keys, 1).index_fill(2, torch.tensor([0]), 3.0)
        mask_QK = torch.ones(1, num_keys, dtype=torch.bool)
        scaled = LogNScaling().weights(q, k, mask_QK, {"s": torch.full((1, 1, 1), 0.5)})
        ahead[num_keys] = scaled[..., 0].item(), Softmax().weights(q, k, mask_QK, {})[..., 0].item()
    assert ahead[10][0] == pytest.approx(10**1.5 / (10**1.5 + 9), rel=1e-5)
    assert ahead[1000][0] > ahead[10][0]
    assert ahead[1000][1] < ahead[10][1] / 10
