"""Probes of one attention layer equal their definitions, written out as loops."""

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch

from bench.methods.mask import Mask
from bench.methods.softmax import WindowSoftmax
from bench.probes.attention import (
    Entropy,
    frobenius_norm,
    logit_variance,
    max_logit,
    row_entropies,
    row_mass,
    uniform_entropy,
)
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
    return Attention(z_BHQK=z_BHQK, p_BHQK=z_BHQK.masked_fill(~mask_QK, -math.inf).softmax(dim=-1), mask_B1QK=mask_QK)


def rows(layer: Attention, heads: Sequence[int] = range(HEADS)) -> list[tuple[list[float], list[float]]]:
    """Logits and weights of the allowed keys of every row of these heads."""
    return [
        (
            [layer.z_BHQK[b, h, q, k].item() for k in range(KEYS) if layer.mask_B1QK[q, k]],
            [layer.p_BHQK[b, h, q, k].item() for k in range(KEYS) if layer.mask_B1QK[q, k]],
        )
        for b in range(BATCH)
        for h in heads
        for q in range(QUERIES)
    ]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def entropy(layer: Attention) -> torch.Tensor:
    return row_entropies(layer).mean()


def test_entropy_equals_a_loop(layer):
    expected = mean([-sum(p * math.log(p) for p in weights) for _, weights in rows(layer)])
    assert entropy(layer).item() == pytest.approx(expected, rel=1e-12)


def test_entropy_of_the_least_head_equals_a_loop(layer):
    def of_head(h: int) -> float:
        return mean([-sum(p * math.log(p) for p in weights) for _, weights in rows(layer, heads=[h])])

    measured = Entropy().measure(layer)
    assert measured["least_head_entropy"].item() == pytest.approx(min(map(of_head, range(HEADS))), rel=1e-12)
    assert measured["least_head_entropy"] < measured["entropy"]


def test_one_collapsed_head_shows_in_the_least_and_hardly_in_the_mean():
    p_BHQK = torch.full((2, 4, 6, 6), 1 / 6, dtype=torch.float64)
    p_BHQK[:, 2] = torch.eye(6)
    layer = Attention(z_BHQK=p_BHQK, p_BHQK=p_BHQK, mask_B1QK=torch.ones(6, 6, dtype=torch.bool))
    measured = Entropy().measure(layer)
    assert measured["least_head_entropy"].item() == 0
    assert measured["entropy"].item() == pytest.approx(3 / 4 * math.log(6), rel=1e-12)


def restricted(num_tokens: int, *, causal: bool, width: int | None) -> Attention:
    """Rows that are uniform over the keys that they see."""
    allowed_QK = torch.ones(num_tokens, num_tokens, dtype=torch.bool)
    mask = Mask.shared(allowed_QK.tril() if causal else allowed_QK, "causal" if causal else "full")
    mask_11QK = (mask if width is None else WindowSoftmax(width=width).restrict(mask)).allowed_B1QK
    p_11QK = (mask_11QK / mask_11QK.sum(dim=-1, keepdim=True)).double()
    return Attention(z_BHQK=p_11QK, p_BHQK=p_11QK, mask_B1QK=mask_11QK)


@pytest.mark.parametrize(
    ("num_tokens", "causal", "width", "expected"),
    [
        (21, False, None, math.log(21)),
        (256, True, None, math.lgamma(257) / 256),  # log(256!) / 256 = 4.56, where log 256 = 5.55
        (1024, True, 1, 1023 / 1024 * math.log(2)),  # two keys a row, and one in the first
        (1024, False, 1, (2 * math.log(2) + 1022 * math.log(3)) / 1024),
        (1, True, None, 0.0),
    ],
)
def test_uniform_rows_have_the_uniform_entropy(num_tokens, causal, width, expected):
    layer = restricted(num_tokens, causal=causal, width=width)
    assert uniform_entropy(layer).item() == pytest.approx(expected, rel=1e-6)  # p of the layer is float32's 1 / n
    assert entropy(layer).item() == pytest.approx(expected, rel=1e-6)


def test_the_entropy_of_causal_rows_of_256_tokens_is_at_most_4_56():
    assert uniform_entropy(restricted(256, causal=True, width=None)).item() == pytest.approx(4.56, abs=0.005)


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
        layer = Attention(z_BHQK=p_BHQK, p_BHQK=p_BHQK, mask_B1QK=mask_QK)
        assert entropy(layer).item() == pytest.approx(expected_entropy, abs=1e-15)
        assert frobenius_norm(layer).item() == pytest.approx(expected_norm, rel=1e-15)


def test_equal_logits_have_no_variance():
    z_BHQK = torch.full((2, 1, 3, 3), 7.5, dtype=torch.float64)
    layer = Attention(z_BHQK=z_BHQK, p_BHQK=z_BHQK, mask_B1QK=torch.ones(3, 3, dtype=torch.bool).tril())
    assert logit_variance(layer).item() == 0


def test_entropy_of_signed_rows_is_that_of_absolute_values():
    p_BHQK = torch.tensor([[1.5, -0.5], [0.5, 0.5], [2.0, -1.0]], dtype=torch.float64)[None, None]
    mask_QK = torch.ones(3, 2, dtype=torch.bool)
    layer = Attention(z_BHQK=p_BHQK, p_BHQK=p_BHQK, mask_B1QK=mask_QK, rows_are_signed=True)
    by_hand = [math.log(4) - 3 / 4 * math.log(3), math.log(2), math.log(3) - 2 / 3 * math.log(2)]
    torch.testing.assert_close(row_entropies(layer)[0, 0], torch.tensor(by_hand, dtype=torch.float64))
