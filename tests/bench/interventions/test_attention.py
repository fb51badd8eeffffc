"""What interventions do to logits and rows: closed forms, and nothing at all at the neutral strength."""

import math

import pytest
import torch

from bench.interventions.attention import EntropyFloor, LogitClamp, LogitScale, Temperature
from bench.interventions.thermostat import EntropyThermostat
from bench.methods.softmax import masked_softmax

CAUSAL = torch.ones(6, 6, dtype=torch.bool).tril()


def logits(scale: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(2, 3, 6, 6, generator=generator, dtype=torch.float64)


def strength(value: float) -> torch.Tensor:
    return torch.full((3, 1, 1), value, dtype=torch.float64)


@pytest.mark.parametrize("kind", [Temperature(), LogitScale(), LogitClamp(), EntropyFloor(), EntropyThermostat()])
def test_at_the_neutral_strength_values_and_gradients_are_left_to_the_bit(kind):
    z = logits().requires_grad_()
    p = masked_softmax(kind.logits(z, CAUSAL, strength(kind.neutral)), CAUSAL)
    p = kind.weights(p, CAUSAL, strength(kind.neutral))
    plain = masked_softmax(z, CAUSAL)
    assert torch.equal(p, plain)
    direction = logits()
    one, other = (torch.autograd.grad((x * direction).sum(), z, retain_graph=True)[0] for x in (p, plain))
    assert torch.equal(one, other)


def test_temperature_divides_logits():
    assert torch.equal(Temperature().logits(logits(), CAUSAL, strength(0.25)), logits() / 0.25)


def test_logits_are_scaled_to_the_largest_that_is_asked_for_of_allowed_keys_by_head():
    z = LogitScale().logits(logits(), CAUSAL, strength(1e3))
    largest = z.abs().masked_fill(~CAUSAL, 0).amax(dim=(0, 2, 3))
    torch.testing.assert_close(largest, torch.full_like(largest, 1e3))
    assert LogitScale().logits(torch.zeros(2, 3, 6, 6), CAUSAL, strength(1e3)).isfinite().all()


def test_clamped_logits_keep_what_lies_within():
    z = LogitClamp().logits(logits(), CAUSAL, strength(2.0))
    assert torch.equal(z, logits().clamp(-2, 2))


@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_no_row_has_less_entropy_than_the_floor_and_sharp_rows_have_no_more_than_needed(share):
    p = masked_softmax(logits(30.0), CAUSAL)
    floored = EntropyFloor().weights(p, CAUSAL, strength(share))
    floor = share * torch.arange(1, 7, dtype=torch.float64).log()
    entropy = torch.special.entr(floored).sum(-1)
    assert (entropy >= floor - 1e-9).all()
    untouched = torch.special.entr(p).sum(-1) >= floor
    assert torch.equal(floored[untouched], p[untouched])
    torch.testing.assert_close(floored.sum(-1), torch.ones(2, 3, 6, dtype=torch.float64))


def test_of_a_one_hot_row_the_share_of_the_uniform_one_is_the_share_of_entropy():
    """H(p) = 0: a = share, so p = (1 - share) e_1 + share / n."""
    one_hot = torch.eye(4, dtype=torch.float64).expand(1, 3, 4, 4)
    full = torch.ones(4, 4, dtype=torch.bool)
    floored = EntropyFloor().weights(one_hot, full, strength(0.5))
    torch.testing.assert_close(floored[0, 0, 0], torch.tensor([0.625, 0.125, 0.125, 0.125], dtype=torch.float64))
    assert torch.special.entr(floored).sum(-1).min() > 0.5 * math.log(4)


def test_rows_that_need_not_sum_to_one_keep_their_sums():
    p = 0.3 * masked_softmax(logits(30.0), CAUSAL)
    floored = EntropyFloor().weights(p, CAUSAL, strength(0.9))
    torch.testing.assert_close(floored.sum(-1), p.sum(-1))


def test_a_thermostat_heats_heads_below_its_set_point_alone_by_what_they_lack():
    sharp, flat = logits(30.0)[:, :1], logits(0.01)[:, 1:]
    z = torch.cat([sharp, flat], dim=1)
    kind = EntropyThermostat(set_point=0.5)
    heated = kind.logits(z, CAUSAL, strength(4.0))
    assert torch.equal(heated[:, 1:], flat)
    entropy = torch.special.entr(masked_softmax(sharp, CAUSAL)).sum(-1).mean(dim=(0, 2))
    lacking = 0.5 - entropy / torch.arange(1, 7, dtype=torch.float64).log().mean()
    torch.testing.assert_close(heated[:, :1], sharp / (1 + 4 * lacking))
    assert torch.special.entr(masked_softmax(heated[:, :1], CAUSAL)).sum(-1).mean() > entropy


def test_no_gradient_flows_through_the_temperature_of_a_thermostat():
    z = logits(30.0).requires_grad_()
    heated = EntropyThermostat().logits(z, CAUSAL, strength(4.0))
    (grad,) = torch.autograd.grad(heated.sum(), z)
    assert torch.allclose(grad, (heated / z).detach(), rtol=1e-12)
