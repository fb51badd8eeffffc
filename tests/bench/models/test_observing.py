"""Observing a layer in parts of its batch and heads equals observing it at once.

Shapes: B batch, H heads, Q queries, K keys, D width of a head.
"""

from dataclasses import dataclass

import pytest
import torch

from bench.entry import load_class
from bench.methods.mask import Mask
from bench.methods.softmax import Softmax
from bench.models import attention
from bench.models.attention import Mode, attend, observe_attention
from bench.probes import PROBES as ALL_PROBES
from bench.probes import build_probes
from bench.probes.base import measured_by

PROBES = build_probes(None)

BATCH, HEADS, TOKENS, WIDTH = 4, 6, 5, 3
MASK = Mask.shared(torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril(), "causal")


@dataclass(frozen=True, kw_only=True)
class Tempered(Softmax):
    """A temperature of each head, and one that the heads share."""

    def logits(self, q_BHQD, k_BHKD, mask_B1QK, state):
        own_H11, shared_111 = state["own"], state["shared"]
        return super().logits(q_BHQD, k_BHKD, mask_B1QK, state) * own_H11 * shared_111


def randn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


STATE = {"own": randn(2, HEADS, 1, 1), "shared": randn(3, 1, 1, 1), "step": torch.tensor(0)}


def queries_and_keys(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(randn(seed, BATCH, HEADS, TOKENS, WIDTH, dtype=dtype) for seed in (0, 1))


@pytest.mark.parametrize("num_matrices", [0, 1, 2, 3, 5, 6, 12, 23])
def test_observing_in_parts_equals_observing_at_once(monkeypatch, num_matrices):
    """Room for so many matrices of logits: parts of heads, and of a head's batch; one at least."""
    at_once = observe_attention(PROBES, Tempered(), *queries_and_keys(), MASK, STATE)
    sizes = []

    class Watched(Tempered):
        def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
            sizes.append(q_BHQD.shape[0] * q_BHQD.shape[1])
            return super().weights(q_BHQD, k_BHKD, mask_B1QK, state)

    monkeypatch.setattr(attention, "MAX_OBSERVED_ELEMENTS", num_matrices * TOKENS**2)
    in_parts = observe_attention(PROBES, Watched(), *queries_and_keys(), MASK, STATE)
    torch.testing.assert_close(in_parts, at_once, rtol=1e-13, atol=0)
    assert sum(sizes) == BATCH * HEADS
    assert max(sizes) <= max(1, num_matrices)
    assert len(sizes) > 1


@pytest.mark.parametrize("num_matrices", [1, 2, 4, 6, 12])
def test_the_least_head_in_parts_is_the_least_of_the_whole_batch(monkeypatch, num_matrices):
    """Where another head is the least in every example: the mean of the leasts of parts would be less."""
    state = STATE | {"own": torch.ones(HEADS, 1, 1, dtype=torch.float64)}
    q, k = queries_and_keys()
    q = q * torch.where(torch.arange(BATCH)[:, None, None, None] == torch.arange(HEADS)[:, None, None], 20, 1)
    at_once = observe_attention(PROBES, Tempered(), q, k, MASK, state)
    monkeypatch.setattr(attention, "MAX_OBSERVED_ELEMENTS", num_matrices * TOKENS**2)
    torch.testing.assert_close(observe_attention(PROBES, Tempered(), q, k, MASK, state), at_once, rtol=1e-13, atol=0)


def test_parts_under_vmap_equal_a_loop(monkeypatch):
    monkeypatch.setattr(attention, "MAX_OBSERVED_ELEMENTS", 2 * TOKENS**2)
    q, k = (torch.stack([x, 2 * x.flip(0), -x]) for x in queries_and_keys())

    def observed(q, k):
        return observe_attention(PROBES, Tempered(), q, k, MASK, STATE)

    expected = torch.stack([observed(q[i], k[i]) for i in range(3)])
    torch.testing.assert_close(torch.func.vmap(observed)(q, k), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_observed_in_float32(dtype):
    """As if the same numbers had come in float32, also under autocast."""
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}
    q, k = (x.to(dtype) for x in queries_and_keys(torch.float32))
    expected = observe_attention(PROBES, Tempered(), q.float(), k.float(), MASK, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        observed = observe_attention(PROBES, Tempered(), q, k, MASK, state)
    assert observed.dtype == torch.float32
    assert torch.equal(observed, expected)


def test_the_mode_says_what_is_watched():
    """Largest logits over allowed keys alone, one for each head, of queries as they are scaled."""
    q, k = queries_and_keys()
    v = randn(4, BATCH, HEADS, TOKENS, WIDTH)

    def watched(mode: Mode):
        return attend(Softmax(), q, k, v, MASK, STATE, mode, logit_scale=0.5)[1]

    z_BHQK = (0.5 * q @ k.mT).masked_fill(~MASK.allowed_B1QK, -torch.inf)
    torch.testing.assert_close(watched(Mode(max_logits=True)), z_BHQK.amax(dim=(0, 2, 3)).float(), rtol=1e-6, atol=0)
    assert watched(Mode(is_training=True)) is None
    quantities = watched(Mode(probes=PROBES, max_logits=True))
    assert quantities.shape == (len(measured_by(PROBES)),)
    largest = quantities[list(measured_by(PROBES)).index("max_logit")]
    torch.testing.assert_close(largest, z_BHQK.amax(), rtol=1e-12, atol=0)


IS_TOKEN_BT = torch.arange(TOKENS) < torch.tensor([[TOKENS - index * 2] for index in range(BATCH)]).clamp_min(1)


@pytest.mark.parametrize("mask", [Mask.padded(IS_TOKEN_BT), Mask.causal(TOKENS, is_token_BT=IS_TOKEN_BT)])
def test_parts_of_a_padded_batch_are_the_whole_and_padding_leaves_all_that_is_watched(mask):
    """Examples of unequal lengths one by one and together; then with other padding."""
    every = [load_class(target) for target in ALL_PROBES.values()]
    probes = tuple(one() for one in every if one.is_of_attention)
    q, k = queries_and_keys()
    loud = torch.where(IS_TOKEN_BT[:, None, :, None], 1.0, 30.0)
    seen = [
        observe_attention(probes, Softmax(), *tensors, mask, STATE, max_elements=size)
        for tensors in ((q, k), (loud * q, loud * k))
        for size in (None, 1)
    ]
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], rtol=1e-12, atol=1e-14)
    largest = attend(Softmax(), loud * q, loud * k, k, mask, STATE, Mode(max_logits=True), logit_scale=1.0)[1]
    torch.testing.assert_close(
        largest.amax().double(), seen[0][list(measured_by(probes)).index("max_logit")], rtol=1e-6, atol=0
    )


def test_the_reference_mode_takes_the_dense_reference():
    @dataclass(frozen=True, kw_only=True)
    class Fast(Softmax):
        def attend(self, q_BHQD, k_BHKD, v_BHKD, mask, state):
            return torch.zeros_like(v_BHKD)

    q, k = queries_and_keys()
    v = randn(4, BATCH, HEADS, TOKENS, WIDTH)
    fast, reference = (
        attend(Fast(), q, k, v, MASK, STATE, Mode(is_reference=is_reference), logit_scale=1.0)[0]
        for is_reference in (False, True)
    )
    assert not fast.any()
    torch.testing.assert_close(reference, Softmax().weights(q, k, MASK.allowed_B1QK, STATE) @ v, rtol=1e-12, atol=0)
