"""QKNorm equals its definition; its logits lie in [-g, g]."""

import math

import numpy
import pytest
import torch

from bench.methods.base import Heads
from bench.methods.qk_norm import QKNorm
from tests.bench.methods.naive import FULL, MASKS, NUM_HEADS, TOKENS, WIDTH, by_rows, queries_and_keys, softmax


def unit(x: numpy.ndarray) -> numpy.ndarray:
    return x / numpy.sqrt((x**2).sum())


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("g", [-1.0, 0.5, 8.0])
def test_weights_equal_the_definition(mask, g):
    q, k = queries_and_keys(MASKS[mask])
    state = {"g": torch.full((1, 1, 1), g, dtype=torch.float64)}
    expected = by_rows(q, k, MASKS[mask], lambda q, i, k, j: softmax(numpy.array([g * unit(q) @ unit(x) for x in k])))
    actual = QKNorm().weights(*QKNorm().normalize(q, k, state), MASKS[mask], state)
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=0)


def test_logits_lie_within_g_and_reach_it():
    _, k = queries_and_keys()
    state = {"g": torch.full((1, 1, 1), 3.0, dtype=torch.float64)}
    z = QKNorm().logits(*QKNorm().normalize(1e4 * k, -1e4 * k, state), FULL, state)
    torch.testing.assert_close(z.amin().item(), -3.0, rtol=1e-12, atol=0)
    assert z.abs().amax() <= 3 + 1e-12


def test_g_is_one_number_a_layer_and_starts_as_in_the_paper():
    params = QKNorm().init_params(Heads(num_heads=NUM_HEADS, width=WIDTH, num_keys=TOKENS))
    assert params["g"].shape == (1, 1, 1)
    assert params["g"].item() == pytest.approx(math.log2(TOKENS**2 - TOKENS), rel=1e-6)


def test_the_models_scale_plays_no_part():
    assert QKNorm().logit_scale(0.125) == 1
