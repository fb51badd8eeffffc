"""Heads that collapsed or are on the first token, and rows whose theta is below one half: by hand, by brute force."""

import itertools
import math

import pytest
import torch

from bench.probes.base import Attention
from bench.probes.heads import Heads, SharpRows

FULL = torch.ones(4, 4, dtype=torch.bool)


def of_rows(p_HK: torch.Tensor, mask: torch.Tensor = FULL) -> Attention:
    """One sequence whose heads have a row each, for every query."""
    p_BHQK = p_HK.double()[None, :, None].expand(1, -1, len(mask), -1)
    return Attention(z_BHQK=p_BHQK, p_BHQK=p_BHQK, mask_B1QK=mask)


def test_a_head_on_the_first_token_is_a_sink_and_no_collapse():
    sink, collapsed, uniform = torch.eye(4)[0], torch.eye(4)[2], torch.full((4,), 0.25)
    found = Heads().measure(of_rows(torch.stack([sink, collapsed, uniform, uniform])))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"collapsed_heads": 0.25, "first_token_heads": 0.25, "least_entropy_off_first_token": 0}
    )
    found = Heads().measure(of_rows(torch.stack([sink, uniform])))
    assert found["least_entropy_off_first_token"].item() == pytest.approx(math.log(4))


def test_of_sinks_alone_the_least_entropy_is_that_of_uniform_rows():
    found = Heads().measure(of_rows(torch.eye(4)[:1]))
    assert found["least_entropy_off_first_token"].item() == pytest.approx(math.log(4))


def test_thresholds_have_effect():
    p = torch.tensor([[0.1, 0.9, 0.0, 0.0]])
    share = torch.special.entr(p).sum().item() / math.log(4)
    assert Heads(collapsed_below=share * 1.01).measure(of_rows(p))["collapsed_heads"].item() == 1
    assert Heads(collapsed_below=share * 0.99).measure(of_rows(p))["collapsed_heads"].item() == 0
    assert Heads(first_token_above=0.05).measure(of_rows(p))["first_token_heads"].item() == 1


def test_rows_that_see_one_key_are_left_out():
    causal = FULL.tril()
    p = torch.eye(4).double()[None, None].clone()
    p[0, 0, 1:] = causal[1:].double() / causal[1:].sum(-1, keepdim=True)
    layer = Attention(z_BHQK=p, p_BHQK=p, mask_B1QK=causal)
    assert SharpRows().measure(layer)["sharp_rows"].item() == 0
    assert Heads().measure(layer)["least_entropy_off_first_token"].item() == pytest.approx(math.log(24) / 3)


def theta(p: torch.Tensor) -> float:
    """The (infinity -> 1) norm of diag(p) - p p^T, over all signs."""
    jacobian = torch.diag(p) - p[:, None] * p
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(p)))).double()
    return (signs @ jacobian).abs().sum(-1).max().item()


def test_sharp_rows_are_those_with_theta_below_one_half():
    generator = torch.Generator().manual_seed(0)
    rows = (4 * torch.randn(300, 7, generator=generator).double()).softmax(-1)
    edges = torch.tensor([0.853, 0.8536]).double()[:, None]
    rows = torch.cat([rows, torch.cat([edges, (1 - edges) / 6 * torch.ones(6)], dim=1)])
    mask = torch.ones(1, 7, dtype=torch.bool)
    found = [SharpRows().measure(of_rows(row[None], mask))["sharp_rows"].item() for row in rows]
    expected = [float(theta(row) < 0.5) for row in rows]
    assert found == expected
    assert 0.2 < sum(expected) / len(expected) < 0.8


def test_theta_has_the_published_values():
    assert theta(torch.tensor([0.9, 0.1]).double()) == pytest.approx(0.36)
    assert theta(torch.tensor([0.99, 0.01]).double()) == pytest.approx(0.04, abs=5e-4)
