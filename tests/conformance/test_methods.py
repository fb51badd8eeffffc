"""What every attention method keeps to, whatever it computes.

Shapes: B batch, H heads, Q queries, K keys, D width of a head, N models.
"""

import dataclasses
import math
import subprocess
import sys
import zlib
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Heads, Mask, Method
from bench.methods.linear import ROLES
from bench.models import attention as models_attention
from bench.probes import build_probes
from bench.probes.attention import frobenius_norm, row_entropies, row_mass, uniform_entropy
from bench.probes.base import Attention

NUM_HEADS, NUM_TOKENS, WIDTH = 3, 12, 4  # more tokens than a default window holds on one side
HEADS = Heads(num_heads=NUM_HEADS, width=WIDTH, num_keys=NUM_TOKENS)
FULL = torch.ones(NUM_TOKENS, NUM_TOKENS, dtype=torch.bool)
MASKS = {
    "full": Mask(allowed_QK=FULL, kind="full"),
    "causal": Mask(allowed_QK=FULL.tril(), kind="causal"),
    "one_key": Mask(allowed_QK=torch.eye(NUM_TOKENS, dtype=torch.bool), kind="custom"),
    "last_key_hidden": Mask(allowed_QK=FULL.index_fill(1, torch.tensor([11]), False), kind="custom"),
    "last_queries": Mask(allowed_QK=FULL[:4], kind="custom"),
}
DEPENDS_ON_POSITIONS = {"window_softmax", "cosformer"}


METHODS_BY_CLASS = {load_class(target): name for name, target in METHODS.items()}


def with_name(name: str) -> Method:
    return load_class(METHODS[name])()


@pytest.fixture(params=METHODS)
def method(request) -> Method:
    return with_name(request.param)


@pytest.fixture(params=MASKS)
def mask(request) -> Mask:
    return MASKS[request.param]


def queries_and_keys(seed: int, mask: Mask, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    num_queries, num_keys = mask.allowed_QK.shape
    q_BHQD = torch.randn(2, NUM_HEADS, num_queries, WIDTH, generator=generator, dtype=torch.float64)
    k_BHKD = torch.randn(2, NUM_HEADS, num_keys, WIDTH, generator=generator, dtype=torch.float64)
    return q_BHQD.to(dtype), k_BHKD.to(dtype)


def learned(method: Method, seed: int, dtype=torch.float64) -> dict[str, torch.Tensor]:
    """Learned tensors a little away from their start."""
    generator = torch.Generator().manual_seed(seed)
    start = method.init_params(HEADS)
    return {
        name: (p + 0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64)).to(dtype)
        for name, p in start.items()
    }


def fixed(method: Method, seed: int, dtype=torch.float64) -> dict[str, torch.Tensor]:
    """What is not trained: buffers, and the step."""

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    buffers = {name: buffer.to(dtype) for name, buffer in method.init_buffers(HEADS, draw).items()}
    return buffers | {"step": torch.tensor(990)}


def state_of(method: Method, seed: int, dtype=torch.float64) -> dict[str, torch.Tensor]:
    return learned(method, seed, dtype) | fixed(method, seed, dtype)


def prepared(method: Method, q_BHQD, k_BHKD, state) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys as a model hands them to the method's attention."""
    q_BHQD, k_BHKD = method.normalize(q_BHQD, k_BHKD, state)
    return q_BHQD * method.logit_scale(WIDTH**-0.5), k_BHKD


def attention(method: Method, q_BHQD, k_BHKD, mask: Mask, state) -> torch.Tensor:
    """Weights as a model asks for them."""
    return method.weights(*prepared(method, q_BHQD, k_BHKD, state), method.restrict(mask).allowed_QK, state)


def test_rows_are_distributions_over_allowed_keys(method, mask):
    p_BHQK = attention(method, *queries_and_keys(0, mask), mask, state_of(method, 1))
    allowed_QK = method.restrict(mask).allowed_QK
    assert p_BHQK.shape == (2, NUM_HEADS, *mask.allowed_QK.shape)
    assert p_BHQK.dtype == torch.float64
    if method.rows_sum_to_one:
        ones = torch.ones(p_BHQK.shape[:-1], dtype=torch.float64)
        torch.testing.assert_close(p_BHQK.sum(dim=-1), ones, rtol=1e-12, atol=0)
    assert (p_BHQK >= 0).all()
    assert (p_BHQK <= 1 + 1e-12).all()
    assert (p_BHQK[..., ~allowed_QK] == 0).all()
    assert (p_BHQK.sum(dim=-1) > 0).all()


ROW_MASSES = {
    "softmax_one": lambda z: z.logsumexp(dim=-1).sigmoid(),
    "sigmoid_attention": lambda z: (1 / (1 + NUM_TOKENS * (-z).exp())).sum(dim=-1),
}


def test_row_masses_of_all_methods_whose_rows_need_not_sum_to_one_are_known():
    assert {name for name in METHODS if not with_name(name).rows_sum_to_one} == ROW_MASSES.keys()


@pytest.mark.parametrize("name", ROW_MASSES)
def test_row_mass_has_its_closed_form(name, mask):
    method = with_name(name)
    q_BHQD, k_BHKD = prepared(method, *queries_and_keys(0, mask), {})
    z_BHQK = (q_BHQD @ k_BHKD.mT).masked_fill(~mask.allowed_QK, -torch.inf)
    actual = method.weights(q_BHQD, k_BHKD, mask.allowed_QK, {}).sum(dim=-1)
    torch.testing.assert_close(actual, ROW_MASSES[name](z_BHQK), rtol=1e-12, atol=0)


def test_allowed_keys_are_a_subset_of_the_mask_and_never_none(method, mask):
    allowed_QK = method.restrict(mask).allowed_QK
    assert allowed_QK.dtype == torch.bool
    assert not (allowed_QK & ~mask.allowed_QK).any()
    assert allowed_QK.any(dim=-1).all()


def test_later_tokens_change_nothing(method):
    """Later queries, keys and values change neither weights, output nor their gradients under a causal mask."""
    mask, state = MASKS["causal"], state_of(method, 1)
    generator = torch.Generator().manual_seed(2)
    start = (*queries_and_keys(0, mask), torch.randn(2, NUM_HEADS, NUM_TOKENS, WIDTH, generator=generator).double())
    num_seen = 7
    later_T1 = (torch.arange(NUM_TOKENS) >= num_seen)[:, None]

    def seen(scale: float) -> tuple[torch.Tensor, ...]:
        noisy = [x + scale * later_T1 * torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in start]
        q, k, v = (x.requires_grad_() for x in noisy)
        p_BHQK = attention(method, q, k, mask, state)[:, :, :num_seen]
        output_BHQD = p_BHQK @ v
        grads = torch.autograd.grad(output_BHQD.square().sum(), (q, k, v))
        assert all((grad[:, :, num_seen:] == 0).all() for grad in grads)
        return p_BHQK[..., :num_seen], output_BHQD, *(grad[:, :, :num_seen] for grad in grads)

    for expected, actual in zip(seen(0), seen(1e3), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


EXTREMES = {
    "large": lambda q, k: (1e3 * q, 1e3 * k),
    "very_large": lambda q, k: (1e4 * q, 1e4 * k),
    "very_large_and_alike": lambda q, k: (1e4 * k[:, :, -q.shape[2] :], 1e4 * k),
    "very_negative": lambda q, k: (-1e4 * q.abs(), -1e4 * k.abs()),
    "opposite": lambda q, k: (1e4 * q.abs(), -1e4 * k.abs()),
    "zero_queries": lambda q, k: (0 * q, k),
    "zero_keys": lambda q, k: (q, 0 * k),
    "all_zero": lambda q, k: (0 * q, 0 * k),
    "equal_keys": lambda q, k: (q, k[:, :, :1].expand_as(k)),
    "equal_channels": lambda q, k: (q[..., :1].expand_as(q), k[..., :1].expand_as(k)),
    "very_small": lambda q, k: (1e-20 * q, 1e-20 * k),
}


def weights_and_gradients(method: Method, q_BHQD, k_BHKD, mask: Mask) -> tuple[torch.Tensor, list[torch.Tensor]]:
    params = {name: p.requires_grad_() for name, p in learned(method, 1, q_BHQD.dtype).items()}
    q_BHQD, k_BHKD = (x.detach().clone().requires_grad_() for x in (q_BHQD, k_BHKD))
    p_BHQK = attention(method, q_BHQD, k_BHKD, mask, params | fixed(method, 1, q_BHQD.dtype))
    cotangent = torch.randn(p_BHQK.shape, generator=torch.Generator().manual_seed(1), dtype=p_BHQK.dtype)
    inputs = [q_BHQD, k_BHKD, *params.values()]
    return p_BHQK, list(torch.autograd.grad((p_BHQK * cotangent).sum(), inputs))


def assert_finite(method: Method, q_BHQD, k_BHKD, mask: Mask) -> None:
    p_BHQK, grads = weights_and_gradients(method, q_BHQD, k_BHKD, mask)
    assert p_BHQK.isfinite().all()
    if method.rows_sum_to_one:
        torch.testing.assert_close(p_BHQK.sum(dim=-1), torch.ones(p_BHQK.shape[:-1]), rtol=1e-5, atol=0)
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("extreme", EXTREMES)
def test_weights_and_gradients_are_finite_at_extremes(method, extreme):
    for mask in MASKS.values():
        assert_finite(method, *EXTREMES[extreme](*queries_and_keys(0, mask, torch.float32)), mask)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(-4, 4).map(lambda power: 10**power),
    sign=st.sampled_from([None, 1, -1]),
)
def test_weights_and_gradients_are_finite_at_every_scale(name, seed, scale, sign):
    """Between small and saturated lie features that are positive, yet too small to divide by."""
    q_BHQD, k_BHKD = queries_and_keys(seed, MASKS["full"], torch.float32)
    if sign is not None:
        q_BHQD, k_BHKD = sign * q_BHQD.abs(), sign * k_BHKD.abs()
    assert_finite(with_name(name), scale * q_BHQD, scale * k_BHKD, MASKS["full"])


def test_vmap_over_models_equals_a_loop(method):
    mask = MASKS["causal"]
    models = [(*queries_and_keys(seed, mask), learned(method, seed), fixed(method, seed)) for seed in range(3)]

    def all_of(q_BHQD, k_BHKD, params, buffers):
        z_BHQK = method.logits(*prepared(method, q_BHQD, k_BHKD, params | buffers), FULL, params | buffers)
        max_logit_H = 200 * z_BHQK.amax(dim=(0, 2, 3))
        output_BHQD = attention(method, q_BHQD, k_BHKD, mask, params | buffers) @ k_BHKD
        return (
            method.combine(output_BHQD, dict.fromkeys(method.roles, q_BHQD)),
            method.scale_loss(q_BHQD.square().mean(), buffers["step"]),
            method.limit_grads(params, buffers["step"]),
            method.limit_params(params, buffers["step"]),
            method.limit_projections(q_BHQD[:, :, 0], k_BHKD[:, :, 0], max_logit_H, buffers["step"]),
        )

    assert_close(torch.func.vmap(all_of)(*stack(models)), stack([all_of(*model) for model in models]))


def stack(trees: list) -> Any:
    return pytree.tree_map(lambda *leaves: torch.stack(leaves), *trees)


def assert_close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(pytree.tree_leaves(actual), pytree.tree_leaves(expected), rtol=1e-11, atol=1e-14)


def test_linear_layers_under_vmap_equal_a_loop(method):
    generator = torch.Generator().manual_seed(0)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.ones(shape, dtype=torch.float64)

    for role in (*ROLES, *method.roles):
        linear = method.linear(role)
        weights = [torch.randn(5, WIDTH, generator=generator, dtype=torch.float64) for _ in range(3)]
        models = [linear.init(weight_IO, draw) for weight_IO in weights]

        def step(params, buffers, linear=linear):
            buffers = linear.refresh(params, buffers)
            return linear.weight(params, buffers), buffers

        assert_close(torch.func.vmap(step)(*stack(models)), stack([step(*model) for model in models]))
        for params, buffers in models:
            assert linear.weight(params, buffers).shape == (5, WIDTH)
            assert buffers.keys() == linear.refresh(params, buffers).keys()


def test_entropy_norm_and_mass_lie_within_their_bounds(method, mask):
    for scale in (1e-2, 1, 1e3):
        q_BHQD, k_BHKD = queries_and_keys(3, mask)
        layer = Attention(
            z_BHQK=q_BHQD @ k_BHKD.mT,
            p_BHQK=attention(method, scale * q_BHQD, scale * k_BHKD, mask, state_of(method, 1)),
            mask_QK=method.restrict(mask).allowed_QK,
            rows_sum_to_one=method.rows_sum_to_one,
        )
        num_queries, num_keys = mask.allowed_QK.shape
        assert 0 <= row_entropies(layer).mean() <= uniform_entropy(layer) + 1e-12
        assert uniform_entropy(layer) <= math.log(num_keys) + 1e-12
        assert 0 <= row_mass(layer) <= num_keys
        # Prop. 5.3 for Q rows of K keys: the 2-norm of a row that sums to 1 lies in [1 / sqrt K, 1].
        if method.rows_sum_to_one:
            assert math.sqrt(num_queries / num_keys) - 1e-12 <= frobenius_norm(layer) <= math.sqrt(num_queries) + 1e-12


@pytest.mark.parametrize("name", sorted(METHODS.keys() - DEPENDS_ON_POSITIONS))
def test_permuting_tokens_permutes_rows_and_columns(name):
    method, mask = with_name(name), MASKS["full"]
    q_BHQD, k_BHKD = queries_and_keys(4, mask)
    state = state_of(method, 1)
    generator = torch.Generator().manual_seed(5)
    order_Q, order_K = (torch.randperm(NUM_TOKENS, generator=generator) for _ in "qk")
    permuted = attention(method, q_BHQD[:, :, order_Q], k_BHKD[:, :, order_K], mask, state)
    expected = attention(method, q_BHQD, k_BHKD, mask, state)[:, :, order_Q][..., order_K]
    torch.testing.assert_close(permuted, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", sorted(DEPENDS_ON_POSITIONS))
def test_methods_that_depend_on_positions_do(name):
    method, mask = with_name(name), MASKS["full"]
    q_BHQD, k_BHKD = queries_and_keys(4, mask)
    flipped = attention(method, q_BHQD, k_BHKD.flip(2), mask, {}).flip(-1)
    assert not torch.allclose(flipped, attention(method, q_BHQD, k_BHKD, mask, {}))


def own_of(state: dict[str, torch.Tensor], order_H: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state of some heads: tensors whose first dimension is that of heads are theirs alone."""
    return {name: x[order_H] if x.ndim and len(x) == NUM_HEADS else x for name, x in state.items()}


def test_learned_tensors_and_buffers_are_by_head_or_shared(method):
    for name, tensor in state_of(method, 1).items():
        assert name == "step" or len(tensor) in (1, NUM_HEADS)


def test_heads_are_computed_alone_or_in_another_order(method, mask):
    """Permuting heads and their own tensors permutes the weights; a head's weights need no other head."""
    q_BHQD, k_BHKD = queries_and_keys(6, mask)
    state = state_of(method, 1)
    whole = attention(method, q_BHQD, k_BHKD, mask, state)
    for order in ([2, 0, 1], [1], [0, 2]):
        order_H = torch.tensor(order)
        some = attention(method, q_BHQD[:, order_H], k_BHKD[:, order_H], mask, own_of(state, order_H))
        torch.testing.assert_close(some, whole[:, order_H], rtol=1e-12, atol=1e-15)


def test_observation_in_parts_equals_the_whole(method, monkeypatch):
    mask = method.restrict(MASKS["causal"])
    state = state_of(method, 1)
    q_BHQD, k_BHKD = prepared(method, *queries_and_keys(7, mask), state)
    whole = models_attention.observe_attention(build_probes(None), method, q_BHQD, k_BHKD, mask, state)
    monkeypatch.setattr(models_attention, "MAX_OBSERVED_ELEMENTS", 1)
    parts = models_attention.observe_attention(build_probes(None), method, q_BHQD, k_BHKD, mask, state)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)
    assert whole.isfinite().all()


def test_attend_equals_the_weighted_sum_of_values(method, mask):
    state, mask = state_of(method, 1), method.restrict(mask)
    q_BHQD, k_BHKD = prepared(method, *queries_and_keys(8, mask), state)
    v_BHKD = k_BHKD.roll(1, dims=2).sin()
    expected = method.weights(q_BHQD, k_BHKD, mask.allowed_QK, state) @ v_BHKD
    torch.testing.assert_close(method.attend(q_BHQD, k_BHKD, v_BHKD, mask, state), expected, rtol=1e-10, atol=1e-12)


def test_float32_agrees_with_float64(method, mask):
    for seed in range(3):
        exact = attention(method, *queries_and_keys(seed, mask), mask, state_of(method, seed))
        single = torch.float32
        actual = attention(method, *queries_and_keys(seed, mask, single), mask, state_of(method, seed, single))
        assert actual.dtype == single
        torch.testing.assert_close(actual.double(), exact, rtol=1e-4, atol=1e-5)


def test_source_and_what_it_controls_are_stated(method):
    assert method.source != Method.source
    assert type(method).controls != Method.controls
    assert type(method).__doc__


def test_an_instance_is_frozen(method):
    for field in dataclasses.fields(method):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, field.name, None)


def test_names_and_parameters_are_read_without_torch():
    code = """
import sys
from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.workloads import WORKLOADS
for entries in (METHODS, OPTIMIZERS, SCHEDULES, WORKLOADS):
    for target in entries.values():
        entry_class = load_class(target)
        parameters(entry_class), entry_class(), entry_class.source
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
