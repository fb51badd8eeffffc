"""`attend` equals the dense reference for every method, whichever path it takes.

Shapes: B batch, H heads, Q queries, K keys, T tokens, D width of a head, E width of a value, L lanes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Heads, Method
from bench.methods.fast.tiny import TINY_MAX_KEYS, TINY_MAX_WIDTH
from bench.methods.kernel import EluKernel, KernelAttention, ReluKernel
from bench.methods.mask import Mask, MaskKind
from bench.methods.qk_layernorm import QKLayerNormFree
from bench.methods.softmax import Softmax, WindowSoftmax, masked_softmax
from bench.testing.paths import (
    EXACT,
    KINDS,
    LONG,
    NUM_HEADS,
    SHORT,
    WIDTH,
    both_paths,
    inputs,
    mask_of,
    output_and_gradients,
    randn,
    runs,
    state_of,
)
from tests.repetitions import EACH_METHOD

ROUNDING = {torch.float32: 3e-6, torch.bfloat16: 8e-3}  # by the largest too; 25 units in the last place, and 1


@pytest.fixture(params=EACH_METHOD)
def method(request) -> Method:
    return load_class(METHODS[request.param])()


def assert_close(actual: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], tolerance: float) -> None:
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(b.abs().max().item(), 1e-30))


@pytest.mark.parametrize(
    ("dtype", "is_mixed"), [(torch.float32, False), (torch.bfloat16, False), (torch.float32, True)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_attend_is_as_exact_as_the_reference_in_lower_precision(method, kind, dtype, is_mixed):
    """Errors against float64 are at most twice the reference's and a rounding; is_mixed: under autocast to bfloat16.

    Of the output and what q, k and v get; a gain's gradient is a sum of theirs, in which rounding can cancel or not.
    """
    qkv = inputs(LONG, dtype=dtype)
    exact, _ = both_paths(method, mask_of(kind, LONG), tuple(x.double() for x in qkv))
    reference, automatic = both_paths(method, mask_of(kind, LONG), qkv, is_mixed=is_mixed)
    rounding = ROUNDING[torch.bfloat16 if is_mixed else dtype]
    for truth, dense, fast in zip(exact[:4], reference[:4], automatic[:4], strict=True):
        dense_error, fast_error = ((x.double() - truth).abs().max().item() for x in (dense, fast))
        assert fast_error <= 2 * dense_error + rounding * truth.abs().max().item()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_vmap_fallback")
def test_lanes_equal_a_loop_without_looping(method, kind):
    mask, num_lanes = mask_of(kind, LONG), 3
    qkv = [torch.stack(x) for x in zip(*(inputs(LONG, seed=10 * lane) for lane in range(num_lanes)), strict=True)]
    state = state_of(method, LONG, torch.float64)
    floating = [tensor for tensor in state.values() if tensor.is_floating_point()]

    def of_lane(*qkv: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return output_and_gradients(runs(method, mask, state)[1], *qkv, *floating)

    alone = [of_lane(*(x[lane] for x in qkv)) for lane in range(num_lanes)]
    assert_close(torch.func.vmap(of_lane)(*qkv), tuple(map(torch.stack, zip(*alone, strict=True))), EXACT)


@pytest.mark.parametrize("method", [Softmax(), ReluKernel()])
@pytest.mark.parametrize("in_dims", [(0, None, None), (None, 0, 1), (2, 1, None)])
@pytest.mark.usefixtures("no_vmap_fallback")
def test_lanes_may_share_inputs_and_cotangents(method, in_dims):
    """Gradients of one lane, and of all lanes together, where some inputs or the gradient are the same for all."""
    mask = mask_of("causal", LONG)
    qkv = inputs(LONG)
    qkv = [x if dim is None else torch.stack([x, x + 1, x - 1], dim) for x, dim in zip(qkv, in_dims, strict=True)]

    def of_lane(attend: Callable) -> Callable:
        return lambda *qkv: torch.func.grad(lambda *x: attend(method, *x, mask, {}).sum(), (0, 1, 2))(*qkv)

    def of_all(attend: Callable) -> tuple[torch.Tensor, ...]:
        run = torch.func.vmap(lambda *x: attend(method, *x, mask, {}), in_dims)
        return torch.func.grad(lambda *x: run(*x).sum(), (0, 1, 2))(*qkv)

    attends = (type(method).attend, Method.attend)
    assert_close(*(torch.func.vmap(of_lane(attend), in_dims)(*qkv) for attend in attends), EXACT)
    assert_close(*(of_all(attend) for attend in attends), EXACT)


@pytest.mark.usefixtures("no_vmap_fallback")
def test_lanes_may_have_masks_of_their_own():
    """One a lane for all of its examples, and one an example."""
    allowed_LTT = torch.stack([mask_of(kind, LONG).allowed_B1QK[0, 0] for kind in ("full", "causal", "custom")])
    is_key_LBT = torch.arange(LONG) < torch.tensor([[LONG, 70], [3, LONG], [1, 90]])[..., None]
    q, k, v = inputs(LONG)

    def of_lane(attend: Callable) -> Callable:
        return lambda allowed_TT, is_key_BT: (
            attend(Softmax(), q, k, v, Mask.shared(allowed_TT, "custom"), {}),
            attend(Softmax(), q, k, v, Mask.padded(is_key_BT), {}),
        )

    actual, expected = (
        torch.stack(torch.func.vmap(of_lane(attend))(allowed_LTT, is_key_LBT))
        for attend in (Softmax.attend, Method.attend)
    )
    assert_close((actual,), (expected,), EXACT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value_width", [1, 9])
@pytest.mark.parametrize("method", [Softmax(), EluKernel()])
def test_values_may_be_narrower_or_wider_than_queries(method, value_width, kind):
    q, k, _ = inputs(LONG)
    reference, automatic = both_paths(method, mask_of(kind, LONG), (q, k, randn(6, 2, NUM_HEADS, LONG, value_width)))
    assert_close(automatic, reference, EXACT)


@pytest.mark.parametrize("kind", ["full", "padded", "custom"])
@pytest.mark.parametrize("method", [Softmax(), EluKernel()])
def test_queries_may_be_fewer_than_keys(method, kind):
    q, k, v = inputs(LONG)
    allowed_B1QK = mask_of(kind, LONG).allowed_B1QK
    mask = Mask.padded(allowed_B1QK[:, 0, 0], num_queries=5)
    if kind != "padded":
        mask = Mask.shared(allowed_B1QK[0, 0, -5:], kind)
    reference, automatic = both_paths(method, mask, (q[:, :, -5:], k, v))
    assert_close(automatic, reference, EXACT)


EXTREMES = {
    "large": lambda q, k: (1e2 * q, 1e2 * k),
    "one_hot": lambda q, k: (1e4 * q, 1e4 * k),
    "very_negative": lambda q, k: (-1e2 * q.abs(), -1e2 * k.abs()),
    "zero_queries": lambda q, k: (0 * q, k),
    "zero_keys": lambda q, k: (q, 0 * k),
    "tiny": lambda q, k: (1e-90 * q, 1e-90 * k),
    "some_rows_without_features": lambda q, k: (torch.where(torch.arange(LONG)[:, None] % 3 == 0, -q.abs(), q), k),
    "first_keys_without_features": lambda q, k: (q, torch.where(torch.arange(LONG)[:, None] < 70, -k.abs(), k)),
    "one_huge_key": lambda q, k: (q, torch.where(torch.arange(LONG)[:, None] == 70, 1e6 * k, k)),
}


@pytest.mark.parametrize("method", [Softmax(), QKLayerNormFree(), ReluKernel(), ReluKernel(eps=1e-3), EluKernel()])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extreme", EXTREMES)
def test_attend_equals_the_reference_at_extremes(method, kind, extreme):
    """Tolerances are those of terms: a query's gradient is a sum of keys, and the other way round."""
    q, k, v = inputs(LONG)
    q, k = EXTREMES[extreme](q, k)
    reference, automatic = both_paths(method, mask_of(kind, LONG), (q, k, v))
    largest_q, largest_k = (max(1.0, x.abs().max().item()) for x in (q, k))
    for actual, expected, terms in zip(automatic[:4], reference[:4], (1, largest_k, largest_q, 1), strict=True):
        scale = max(terms, expected.abs().max().item())
        torch.testing.assert_close(actual, expected, rtol=0, atol=10 * EXACT * scale)


@pytest.mark.parametrize("broken", ["query", "key", "value"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_that_is_not_finite_is_seen(method, kind, broken):
    """Divergence is found by what is not finite: no fast path may hide it."""
    index = ("query", "key", "value").index(broken)
    qkv = [x.clone() for x in inputs(LONG)]
    qkv[index][0, 0, 70, 1] = math.nan
    reference, automatic = both_paths(method, mask_of(kind, LONG), tuple(qkv))

    def is_finite(tensors: tuple[torch.Tensor, ...]) -> bool:
        return all(bool(t.isfinite().all()) for t in tensors)

    assert is_finite(automatic) == is_finite(reference)


def test_hidden_keys_change_nothing_on_fast_paths():
    q, k, v = inputs(LONG)
    last = torch.arange(LONG)[:, None] >= LONG - 5
    mask = mask_of("causal", LONG)
    for method in (ReluKernel(), Softmax()):
        expected, actual = (method.attend(q, *(x + noise * last for x in (k, v)), mask, {}) for noise in (0, 1e8))
        torch.testing.assert_close(actual[:, :, : LONG - 5], expected[:, :, : LONG - 5], rtol=1e-13, atol=0)


def test_a_second_derivative_raises():
    q, k, v = inputs(LONG)

    def norm_of_gradient(q: torch.Tensor) -> torch.Tensor:
        gradient = torch.func.grad(lambda q: Softmax().attend(q, k, v, mask_of("full", LONG), {}).square().sum())
        return gradient(q).square().sum()

    with pytest.raises(NotImplementedError):
        torch.func.grad(norm_of_gradient)(q)


def heads(num_keys: int) -> Heads:
    return Heads(num_heads=NUM_HEADS, width=WIDTH, num_keys=num_keys)


def chosen(method: Method, num_keys: int, kind: MaskKind) -> str:
    """Where tiny.py's kernels do not run."""
    return method.fast_path(heads(num_keys), kind, has_tiny=False)


def test_paths():
    expected = {
        ("softmax", "full"): "sdpa",
        ("softmax", "custom"): "sdpa",
        ("qk_layernorm_free", "causal"): "sdpa",
        ("sigma_reparam_qk", "causal"): "sdpa",
        ("softmax", "padded"): "sdpa",
        ("relu_kernel", "causal"): "linear",
        ("relu_kernel", "padded"): "linear",
        ("relu_kernel", "custom"): "dense",
        ("soft_capping", "causal"): "dense",
    }
    methods = {name: load_class(METHODS[name])() for name, _ in expected}
    assert {key: chosen(methods[key[0]], LONG, key[1]) for key in expected} == expected
    assert {chosen(methods[name], SHORT, kind) for name, kind in expected} == {"dense"}


@pytest.mark.parametrize("kind", KINDS)
def test_short_sequences_of_narrow_heads_are_tiny_where_its_kernels_run(kind):
    def chosen_there(name: str, num_keys: int, width: int = TINY_MAX_WIDTH) -> str:
        of = Heads(num_heads=NUM_HEADS, width=width, num_keys=num_keys)
        return load_class(METHODS[name])().fast_path(of, kind, has_tiny=True)

    for name in ("softmax", "window_softmax", "qk_layernorm_free", "sigma_reparam_qk", "relu_kernel", "elu_kernel"):
        assert chosen_there(name, TINY_MAX_KEYS) == "tiny"
        assert chosen_there(name, TINY_MAX_KEYS, TINY_MAX_WIDTH + 1) == "dense"
        assert chosen_there(name, TINY_MAX_KEYS + 1) == "dense"
    assert chosen_there("soft_capping", TINY_MAX_KEYS) == "dense"


@dataclass(frozen=True, kw_only=True)
class OtherLogits(Softmax):
    def logits(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return (q_BHQD @ k_BHKD.mT).sin()


@dataclass(frozen=True, kw_only=True)
class OtherWeights(Softmax):
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return masked_softmax(2 * self.logits(q_BHQD, k_BHKD, mask_B1QK, state), mask_B1QK)


class Squared:
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return super().weights(q_BHQD, k_BHKD, mask_B1QK, state).square()


@dataclass(frozen=True, kw_only=True)
class SquaredSoftmax(Squared, WindowSoftmax):
    pass


@dataclass(frozen=True, kw_only=True)
class SquaredKernel(Squared, ReluKernel):
    pass


@dataclass(frozen=True, kw_only=True)
class OtherFeatures(KernelAttention):
    def features(self, x_BHTD):
        return x_BHTD.square()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", [OtherLogits(), OtherWeights(), SquaredSoftmax(), SquaredKernel()])
def test_a_class_with_logits_or_weights_of_its_own_is_dense(other, kind):
    assert chosen(other, LONG, kind) == "dense"
    reference, automatic = both_paths(other, mask_of(kind, LONG), inputs(LONG))
    assert_close(automatic, reference, EXACT)


PLUG_IN = """
from dataclasses import dataclass
from bench.methods.softmax import Softmax

@dataclass(frozen=True, kw_only=True)
class Own(Softmax):
    def logits(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return (q_BHQD @ k_BHKD.mT).sin()

@dataclass(frozen=True, kw_only=True)
class OfOwn(Own):
    pass
"""


@pytest.mark.parametrize("name", ["Own", "OfOwn"])
@pytest.mark.parametrize(("num_tokens", "has_tiny"), [(LONG, False), (SHORT, True)])
def test_a_plug_in_with_logits_of_its_own_is_dense(name, num_tokens, has_tiny, tmp_path, monkeypatch):
    """A class that says nothing of fast paths, and one derived from it."""
    (tmp_path / "plug_in_logits.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    own = load_class(f"plug_in_logits:{name}")()
    for kind in KINDS:
        assert own.fast_path(heads(num_tokens), kind, has_tiny=has_tiny) == "dense"
        assert Softmax().fast_path(heads(num_tokens), kind, has_tiny=has_tiny) != "dense"
        reference, automatic = both_paths(own, mask_of(kind, num_tokens), inputs(num_tokens))
        assert_close(automatic, reference, 0)


def test_a_kernel_with_features_of_its_own_is_linear():
    assert chosen(OtherFeatures(), LONG, "causal") == "linear"
    reference, automatic = both_paths(OtherFeatures(), mask_of("causal", LONG), inputs(LONG))
    assert_close(automatic, reference, EXACT)
