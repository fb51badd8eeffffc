"""Where a model multiplies in bfloat16, logits and rows are in float32 for every method, dense and fused."""

from dataclasses import dataclass

import pytest
import torch

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Heads, Mask, Method
from bench.methods.fast.fused import LINEAR_MIN_KEYS, SDPA_MIN_KEYS
from bench.methods.shaped_logits import ShapedLogits
from bench.methods.sigmoid_attention import SigmoidAttention
from bench.methods.soft_capping import SoftCapping
from bench.methods.softmax import Softmax
from bench.models.attention import Mode, attend
from bench.probes import build_probes

NUM_KEYS, WIDTH = 128, 32
HEADS = Heads(num_heads=2, width=WIDTH, num_keys=NUM_KEYS)
CAUSAL = Mask(allowed_QK=torch.ones(NUM_KEYS, NUM_KEYS, dtype=torch.bool).tril(), kind="causal")
# Standard deviations of queries and keys: near the start, logits of 1, and collapsed rows, logits of 40.
SCALES = (0.02, 1.0, 40**0.5)
# Root of the mean squared error of P V by that of P V: bfloat16 rounds by 2^-9 = 0.2%; three such roundings are allowed
# for (queries and keys, P, what is given back), and one of logits of 40 moves a weight by up to 40 * 2^-9 = 8%.
BOUND = {0.02: 0.005, 1.0: 0.005, 40**0.5: 0.01}


def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(name)))


def qkv(scale: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, NUM_KEYS, WIDTH, generator=generator) for _ in range(3))
    return [x.bfloat16() for x in (scale * q, scale * k, v)]


def attended(method: Method, scale: float, mode: Mode, *, is_exact: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """P V and P as a model in mixed precision has them, or in float64 from the same numbers."""
    state = {**method.init_params(HEADS), **method.init_buffers(HEADS, draw), "step": torch.tensor(5)}
    q_BHTD, k_BHTD, v_BHTD = qkv(scale)
    if is_exact:
        state = {name: x.double() if x.is_floating_point() else x for name, x in state.items()}
        q_BHTD, k_BHTD, v_BHTD = q_BHTD.double(), k_BHTD.double(), v_BHTD.double()
    mask = method.restrict(CAUSAL)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not is_exact, cache_enabled=False):
        output, weights = attend(method, q_BHTD, k_BHTD, v_BHTD, mask, state, mode, logit_scale=WIDTH**-0.5)
    assert weights is not None
    return output, weights


def relative_error(approximate: torch.Tensor, exact: torch.Tensor) -> float:
    return ((approximate.double() - exact).square().mean() / exact.square().mean()).sqrt().item()


def test_the_sizes_reach_the_fast_paths():
    assert max(SDPA_MIN_KEYS, LINEAR_MIN_KEYS["causal"]) <= NUM_KEYS
    assert Softmax().fast_path(HEADS, "causal", has_tiny=False) == "sdpa"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", METHODS)
def test_one_bound_of_the_error_holds_for_every_method_and_path(name, scale):
    method = load_class(METHODS[name])()
    exact = attended(method, scale, Mode(keeps_weights=True), is_exact=True)[0]
    for is_reference in (True, False):
        output, weights = attended(method, scale, Mode(keeps_weights=True, is_reference=is_reference))
        assert weights.dtype == torch.float32
        assert output.dtype == torch.bfloat16
        assert relative_error(output, exact) <= BOUND[scale]


@dataclass(frozen=True, kw_only=True)
class Identity(ShapedLogits):
    """Softmax that no fast path takes."""

    source = "test"


@pytest.mark.parametrize("method", [SoftCapping(cap=1e9), Identity()])
def test_softmax_written_otherwise_has_the_arithmetic_of_softmax(method):
    """Logits with a standard deviation of 40."""
    exact = attended(Softmax(), SCALES[-1], Mode(keeps_weights=True), is_exact=True)[0]
    fused, dense = (attended(each, SCALES[-1], Mode(keeps_weights=True))[0] for each in (Softmax(), method))
    assert relative_error(dense, exact) == pytest.approx(relative_error(fused, exact), rel=0.1)


def test_weights_of_sigmoid_attention_near_the_start_keep_what_tells_them_apart():
    """They differ by 0.01% of themselves, a twentieth of a rounding to bfloat16."""
    method = SigmoidAttention()
    exact, found = (attended(method, 0.02, Mode(keeps_weights=True), is_exact=e)[1][..., -1, :] for e in (True, False))
    assert relative_error(found - found.mean(-1, keepdim=True), exact - exact.mean(-1, keepdim=True)) < 0.02


def test_probes_see_the_numbers_that_train():
    """Logits and rows of a method are asked for the same queries and keys in training and in observing."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    @dataclass(frozen=True, kw_only=True)
    class Recorded(ShapedLogits):
        source = "test"

        def normalize(self, q_BHQD, k_BHKD, state):
            return q_BHQD / 3, k_BHKD

        def weights(self, q_BHQD, k_BHKD, mask_QK, state):
            assert not torch.is_autocast_enabled("cpu")
            seen.append((q_BHQD, k_BHKD))
            return super().weights(q_BHQD, k_BHKD, mask_QK, state)

    attended(Recorded(), 1.0, Mode(probes=build_probes(None)))
    (observed_q, observed_k), (trained_q, trained_k) = seen
    assert torch.equal(observed_q, trained_q)
    assert torch.equal(observed_k, trained_k)
    assert trained_q.dtype == torch.float32
    assert torch.equal(trained_q, trained_q.bfloat16().float())  # as a matrix unit reads it
