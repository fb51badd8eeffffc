"""Probes of one attention layer equal their definitions, written out as loops."""

import dataclasses
import math

import pytest
import torch

from bench.probes.attention import entropy, frobenius_norm, logit_variance, max_logit, row_mass
from bench.probes.base import Attention

BATCH, HEADS, QUERIES, KEYS = 3, 2, 4, 5
MASKS = {
    "full": torch.ones(QUERIES, KEYS, dtype=torch.bool),
    "causal": torch.ones(QUERIES, KEYS, dtype=torch.bool).tril(),
    "last_key_hidden": torch.ones(QUERIES, KEYS, dtype=torch.bool).index_fill(1, torch.tensor([KEYS - 1]), False),
}


@pytest.fixture(params=MASKS)
def layer(request) -> Attention:
    mask_QK = MASKS[request.param]
    generator = torch.Generator().manual_seed(0)
    z_BHQK = 2 * torch.randn(BATCH, HEADS, QUERIES, KEYS, generator=generator, dtype=torch.float64)
    return Attention(z_BHQK=z_BHQK, p_BHQK=z_BHQK.masked_fill(~mask_QK, -math.inf).softmax(dim=-1), mask_QK=mask_QK)


def rows(layer: Attention) -> list[tuple[list[float], list[float]]]:
    """Logits and weights of every row's allowed keys."""
    return [
        (
            [layer.z_BHQK[b, h, q, k].item() for k in range(KEYS) if layer.mask_QK[q, k]],
            [layer.p_BHQK[b, h, q, k].item() for k in range(KEYS) if layer.mask_QK[q, k]],
        )
        for b in range(BATCH)
        for h in range(HEADS)
        for q in range(QUERIES)
    ]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_entropy_equals_a_loop(layer):
    expected = mean([-sum(p * math.log(p) for p in weights) for _, weights in rows(layer)])
    assert entropy(layer).item() == pytest.approx(expected, rel=1e-12)


def test_frobenius_norm_equals_a_loop(layer):
    matrices = [layer.p_BHQK[b, h] for b in range(BATCH) for h in range(HEADS)]
    expected = mean([math.sqrt(sum(p**2 for p in matrix.flatten().tolist())) for matrix in matrices])
    assert frobenius_norm(layer).item() == pytest.approx(expected, rel=1e-12)


def test_row_mass_equals_a_loop(layer):
    halved = dataclasses.replace(layer, p_BHQK=layer.p_BHQK.square())
    assert row_mass(layer).item() == pytest.approx(1, rel=1e-12)
    assert row_mass(halved).item() == pytest.approx(mean([sum(weights) for _, weights in rows(halved)]), rel=1e-12)


def test_entropy_of_rows_that_need_not_sum_to_1_is_that_of_the_divided_row(layer):
    """Whatever a row's sum; a row of zeros has none."""
    factor_Q1 = torch.tensor([[0.1], [3.0], [1.0], [7.0]])
    scaled = dataclasses.replace(layer, p_BHQK=factor_Q1 * layer.p_BHQK, rows_sum_to_one=False)
    assert entropy(scaled).item() == pytest.approx(entropy(layer).item(), rel=1e-12)
    empty = dataclasses.replace(scaled, p_BHQK=torch.zeros_like(layer.p_BHQK))
    assert entropy(empty).item() == 0


def test_logit_variance_equals_a_loop(layer):
    expected = mean([mean([(z - mean(logits)) ** 2 for z in logits]) for logits, _ in rows(layer)])
    assert logit_variance(layer).item() == pytest.approx(expected, rel=1e-12)


def test_max_logit_equals_a_loop(layer):
    assert max_logit(layer).item() == max(max(logits) for logits, _ in rows(layer))


def test_uniform_and_one_hot_rows_reach_the_bounds():
    uniform = torch.full((1, 1, 4, 4), 1 / 4, dtype=torch.float64)
    one_hot = torch.eye(4, dtype=torch.float64)[None, None]
    mask_QK = torch.ones(4, 4, dtype=torch.bool)
    for p_BHQK, expected_entropy, expected_norm in ((uniform, math.log(4), 1.0), (one_hot, 0.0, 2.0)):
        layer = Attention(z_BHQK=p_BHQK, p_BHQK=p_BHQK, mask_QK=mask_QK)
        assert entropy(layer).item() == pytest.approx(expected_entropy, abs=1e-15)
        assert frobenius_norm(layer).item() == pytest.approx(expected_norm, rel=1e-15)


def test_equal_logits_have_no_variance():
    z_BHQK = torch.full((2, 1, 3, 3), 7.5, dtype=torch.float64)
    layer = Attention(z_BHQK=z_BHQK, p_BHQK=z_BHQK, mask_QK=torch.ones(3, 3, dtype=torch.bool).tril())
    assert logit_variance(layer).item() == 0
