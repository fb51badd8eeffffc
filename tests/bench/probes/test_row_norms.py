"""The least entropy of rows of given norms: Theorem 3.1's own formula, attained, exceeded by all others, row by row."""

import math

import numpy as np
import pytest
import torch

from analysis.scores.causes.theory import least_entropy
from bench.probes.attention import row_entropies
from bench.probes.base import Attention
from bench.probes.row_norms import RowNorms, least_entropies


def of_logits(z_BHQK: torch.Tensor, mask: torch.Tensor) -> Attention:
    p_BHQK = z_BHQK.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return Attention(z_BHQK=z_BHQK, p_BHQK=p_BHQK, mask_B1QK=mask)


@pytest.mark.parametrize("num_keys", [2, 4, 197])
def test_the_least_entropy_is_that_of_the_theorem(num_keys):
    norms = torch.tensor([0.0, 2.0, 5.0, 20.0, 1e4], dtype=torch.float64)
    found = least_entropies(norms, torch.tensor(num_keys))
    assert found.tolist() == pytest.approx(least_entropy(norms.numpy(), num_keys), abs=1e-12)
    assert found[0].item() == pytest.approx(math.log(num_keys))


def test_a_row_with_one_logit_above_equal_others_attains_it():
    z = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    z[..., 2] = torch.tensor([0.5, 3.0, 9.0], dtype=torch.float64)
    layer = of_logits(z + 7, torch.ones(3, 5, dtype=torch.bool))
    found = RowNorms().measure(layer)
    assert found["entropy_bound"].item() == pytest.approx(row_entropies(layer).mean().item())
    assert found["row_norm"].item() == pytest.approx(12.5 / 3 * math.sqrt(4 / 5))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1e3])
def test_no_row_lies_below_whatever_keys_it_sees(scale):
    generator = torch.Generator().manual_seed(0)
    z = scale * torch.randn(4, 3, 9, 9, dtype=torch.float64, generator=generator)
    layer = of_logits(z, torch.ones(9, 9, dtype=torch.bool).tril())
    bound = RowNorms().measure(layer)["entropy_bound"].item()
    assert 0 <= bound <= row_entropies(layer).mean().item() + 1e-12
    assert bound <= np.mean([math.log(n) for n in range(1, 10)])
