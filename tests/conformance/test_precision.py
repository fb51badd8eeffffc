"""Where a model multiplies in bfloat16, logits and rows are in float32 for every method, dense and fused."""

import math
from dataclasses import dataclass

import pytest
import torch

from bench.methods.base import Method
from bench.methods.fast.fused import LINEAR_MIN_KEYS, SDPA_MIN_KEYS, softmax_attention
from bench.methods.mask import Mask
from bench.methods.shaped_logits import ShapedLogits
from bench.methods.sigmoid_attention import SigmoidAttention
from bench.methods.soft_capping import SoftCapping
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.probes import build_probes
from bench.testing.method_case import MethodCase
from bench.testing.paths import MIXED_HEADS, SCALES, attended, relative_error


def of(method: Method, scale: float, mode: Mode, *, is_exact: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """P V and P of a method."""
    return attended(MethodCase(method=method), scale, mode, is_exact=is_exact)


def test_the_sizes_reach_the_fast_paths():
    assert max(SDPA_MIN_KEYS, LINEAR_MIN_KEYS["causal"]) <= MIXED_HEADS.num_keys
    assert Softmax().fast_path(MIXED_HEADS, "causal", has_tiny=False) == "sdpa"


@dataclass(frozen=True, kw_only=True)
class Identity(ShapedLogits):
    """Softmax that no fast path takes."""

    source = "test"


@pytest.mark.parametrize("method", [SoftCapping(cap=1e9), Identity()])
def test_softmax_written_otherwise_has_the_arithmetic_of_softmax(method):
    """Logits with a standard deviation of 40."""
    exact = of(Softmax(), SCALES[-1], Mode(keeps_weights=True), is_exact=True)[0]
    fused, dense = (of(each, SCALES[-1], Mode(keeps_weights=True))[0] for each in (Softmax(), method))
    assert relative_error(dense, exact) == pytest.approx(relative_error(fused, exact), rel=0.1)


def test_weights_of_sigmoid_attention_near_the_start_keep_what_tells_them_apart():
    """They differ by 0.01% of themselves, a twentieth of a rounding to bfloat16."""
    method = SigmoidAttention()
    exact, found = (of(method, 0.02, Mode(keeps_weights=True), is_exact=e)[1][..., -1, :] for e in (True, False))
    assert relative_error(found - found.mean(-1, keepdim=True), exact - exact.mean(-1, keepdim=True)) < 0.02


def test_probes_see_the_numbers_that_train():
    """Logits and rows of a method are asked for the same queries and keys in training and in observing."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    @dataclass(frozen=True, kw_only=True)
    class Recorded(ShapedLogits):
        source = "test"

        def normalize(self, q_BHQD, k_BHKD, state):
            return q_BHQD / 3, k_BHKD

        def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
            assert not torch.is_autocast_enabled("cpu")
            seen.append((q_BHQD, k_BHKD))
            return super().weights(q_BHQD, k_BHKD, mask_B1QK, state)

    of(Recorded(), 1.0, Mode(probes=build_probes(None)))
    (observed_q, observed_k), (trained_q, trained_k) = seen
    assert torch.equal(observed_q, trained_q)
    assert torch.equal(observed_k, trained_k)
    assert trained_q.dtype == torch.float32
    assert torch.equal(trained_q, trained_q.bfloat16().float())  # as a matrix unit reads it


def gradients_of_queries(scale: float) -> tuple[float, float]:
    """The error of softmax's gradient in bfloat16, relative to float64: by the fused path and by the dense one.

    Queries and keys near one another, as in trained attention, with a largest logit of about `scale`.
    """
    draw = torch.Generator().manual_seed(0)
    common = torch.randn(1, 4, 1, 64, generator=draw)
    near = [common + 0.02 * torch.randn(1, 4, 512, 64, generator=draw) for _ in range(2)]
    v, weight = (torch.randn(1, 4, 512, 64, generator=draw) for _ in range(2))
    parts = [(one * math.sqrt(scale / 100)).bfloat16() for one in near] + [v.bfloat16()]
    is_allowed = torch.ones(512, 512, dtype=torch.bool).tril()

    def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        wide = torch.promote_types(q.dtype, torch.float32)
        logits = (q.to(wide) @ k.to(wide).mT).masked_fill(~is_allowed, -torch.inf)
        return logits.softmax(dim=-1).to(v.dtype) @ v

    def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return softmax_attention(q, k, v, Mask.causal(512))

    def gradient(attend, given: list[torch.Tensor]) -> torch.Tensor:
        q, k, v = (one.detach().requires_grad_() for one in given)
        return torch.autograd.grad((attend(q, k, v).double() * weight).sum(), q)[0].double()

    exact = gradient(dense, [one.double() for one in parts])
    return tuple(float((gradient(path, parts) - exact).norm() / exact.norm()) for path in (fused, dense))


def test_the_fused_gradient_is_wrong_where_float32_no_longer_tells_logits_apart():
    """P is made anew from a stored log-sum of exponentials: at 2^24 its last bit is one whole unit of a logit."""
    fused, dense = gradients_of_queries(1e4)
    assert fused < 0.5
    assert dense < 0.1
    fused, dense = gradients_of_queries(1e7)
    assert fused > 1 > 2 * dense
