"""What every attention method keeps to, whatever it computes.

Shapes: B batch, H heads, Q queries, K keys, D width of a head, N models.
"""

import dataclasses
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from annotated_types import Gt
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils import _pytree as pytree
from variants import ignored_parameters

from bench.entry import load_class
from bench.lane import LaneProgram
from bench.methods import METHODS
from bench.methods.base import Method
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Constant
from bench.optimizers.sgd import SGD
from bench.probes.attention import Attention, entropy, frobenius_norm
from bench.randomness import normal
from bench.workloads.in_context_regression import InContextRegression

NUM_TOKENS, WIDTH = 12, 3  # more tokens than a default window holds on one side
MASKS = {
    "full": torch.ones(NUM_TOKENS, NUM_TOKENS, dtype=torch.bool),
    "causal": torch.ones(NUM_TOKENS, NUM_TOKENS, dtype=torch.bool).tril(),
    "one_key": torch.eye(NUM_TOKENS, dtype=torch.bool),
    "last_key_hidden": torch.ones(NUM_TOKENS, NUM_TOKENS, dtype=torch.bool).index_fill(1, torch.tensor([11]), False),
    "last_queries": torch.ones(4, NUM_TOKENS, dtype=torch.bool),
}


@pytest.fixture(params=METHODS)
def method(request) -> Method:
    return load_class(METHODS[request.param])()


@pytest.fixture(params=MASKS)
def mask_QK(request) -> torch.Tensor:
    return MASKS[request.param]


def queries_and_keys(seed: int, mask_QK: torch.Tensor, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    num_queries, num_keys = mask_QK.shape
    q_BHQD = torch.randn(2, 2, num_queries, WIDTH, generator=generator, dtype=dtype)
    return q_BHQD, torch.randn(2, 2, num_keys, WIDTH, generator=generator, dtype=dtype)


def learned(method: Method, seed: int, dtype=torch.float64) -> dict[str, torch.Tensor]:
    """Learned tensors a little away from their start."""
    generator = torch.Generator().manual_seed(seed)
    start = method.init_params(WIDTH)
    return {
        name: p.to(dtype) + 0.1 * torch.randn(p.shape, generator=generator, dtype=dtype) for name, p in start.items()
    }


def attention(method: Method, q_BHQD, k_BHKD, mask_QK, params) -> torch.Tensor:
    """Weights as a model asks for them."""
    q_BHQD, k_BHKD = method.normalize(q_BHQD, k_BHKD, params)
    return method.weights(q_BHQD, k_BHKD, method.allowed(mask_QK), params)


def test_rows_are_distributions_over_allowed_keys(method, mask_QK):
    p_BHQK = attention(method, *queries_and_keys(0, mask_QK), mask_QK, learned(method, 1))
    assert p_BHQK.shape == (2, 2, *mask_QK.shape)
    assert p_BHQK.dtype == torch.float64
    torch.testing.assert_close(
        p_BHQK.sum(dim=-1), torch.ones(2, 2, len(mask_QK), dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert (p_BHQK >= 0).all()
    assert (p_BHQK <= 1 + 1e-12).all()
    assert (p_BHQK[..., ~method.allowed(mask_QK)] == 0).all()


def test_allowed_keys_are_a_subset_of_the_mask_and_never_none(method, mask_QK):
    allowed_QK = method.allowed(mask_QK)
    assert allowed_QK.dtype == torch.bool
    assert not (allowed_QK & ~mask_QK).any()
    assert allowed_QK.any(dim=-1).all()


def test_hidden_keys_change_nothing(method):
    """Keys and values that a query may not see change neither its weights, its output nor their gradients."""
    mask_QK = MASKS["causal"]
    generator = torch.Generator().manual_seed(2)
    q_BHQD, k_BHKD = queries_and_keys(0, mask_QK)
    v_BHKD = torch.randn(k_BHKD.shape, generator=generator, dtype=torch.float64)
    num_seen = 7
    later_K = (torch.arange(NUM_TOKENS) >= num_seen)[:, None]

    def seen(scale: float) -> tuple[torch.Tensor, ...]:
        noise = [scale * later_K * torch.randn(k_BHKD.shape, generator=generator, dtype=torch.float64) for _ in "kv"]
        q, k, v = (x.clone().requires_grad_() for x in (q_BHQD, k_BHKD + noise[0], v_BHKD + noise[1]))
        p_BHQK = attention(method, q, k, mask_QK, learned(method, 1))[:, :, :num_seen]
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


def weights_and_gradients(
    method: Method, q_BHQD, k_BHKD, mask_QK, seed: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    params = {name: p.requires_grad_() for name, p in learned(method, seed, q_BHQD.dtype).items()}
    q_BHQD, k_BHKD = (x.detach().clone().requires_grad_() for x in (q_BHQD, k_BHKD))
    p_BHQK = attention(method, q_BHQD, k_BHKD, mask_QK, params)
    cotangent = torch.randn(p_BHQK.shape, generator=torch.Generator().manual_seed(seed), dtype=p_BHQK.dtype)
    inputs = [q_BHQD, k_BHKD, *params.values()]
    return p_BHQK, list(torch.autograd.grad((p_BHQK * cotangent).sum(), inputs))


def assert_finite(method: Method, q_BHQD, k_BHKD, mask_QK, seed: int) -> None:
    p_BHQK, grads = weights_and_gradients(method, q_BHQD, k_BHKD, mask_QK, seed)
    torch.testing.assert_close(p_BHQK.sum(dim=-1), torch.ones(p_BHQK.shape[:-1]), rtol=1e-5, atol=0)
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("extreme", EXTREMES)
def test_weights_and_gradients_are_finite_at_extremes(method, mask_QK, extreme):
    q_BHQD, k_BHKD = EXTREMES[extreme](*queries_and_keys(0, mask_QK, torch.float32))
    assert_finite(method, q_BHQD, k_BHKD, mask_QK, 1)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=40, deadline=None, derandomize=True)
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
    assert_finite(load_class(METHODS[name])(), scale * q_BHQD, scale * k_BHKD, MASKS["full"], 1)


def test_vmap_over_models_equals_a_loop(method):
    mask_QK = MASKS["causal"]
    models = [(*queries_and_keys(seed, mask_QK), learned(method, seed)) for seed in range(3)]

    def all_of(q_BHQD, k_BHKD, params):
        limited = method.limit_grads(params), method.limit_params(params)
        return attention(method, q_BHQD, k_BHKD, mask_QK, params), limited

    assert_close(torch.func.vmap(all_of)(*stack(models)), stack([all_of(*model) for model in models]))


def stack(trees: list) -> Any:
    return pytree.tree_map(lambda *leaves: torch.stack(leaves), *trees)


def assert_close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(pytree.tree_leaves(actual), pytree.tree_leaves(expected), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("role", ["query", "key", "value"])
def test_linear_under_vmap_equals_a_loop(method, role):
    linear = method.linear(role)
    generator = torch.Generator().manual_seed(0)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.ones(shape, dtype=torch.float64)

    weights = [torch.randn(4, WIDTH, generator=generator, dtype=torch.float64) for _ in range(3)]
    models = [linear.init(weight_IO, draw) for weight_IO in weights]

    def step(params, buffers):
        buffers = linear.refresh(params, buffers)
        return linear.weight(params, buffers), buffers

    assert_close(torch.func.vmap(step)(*stack(models)), stack([step(*model) for model in models]))
    for params, buffers in models:
        assert linear.weight(params, buffers).shape == (4, WIDTH)
        assert buffers.keys() == linear.refresh(params, buffers).keys()


def test_entropy_and_norm_lie_within_their_bounds(method, mask_QK):
    for scale in (1e-2, 1, 1e3):
        q_BHQD, k_BHKD = queries_and_keys(3, mask_QK)
        p_BHQK = attention(method, scale * q_BHQD, scale * k_BHKD, mask_QK, learned(method, 1))
        layer = Attention(z_BHQK=method.logits(q_BHQD, k_BHKD), p_BHQK=p_BHQK, mask_QK=method.allowed(mask_QK))
        num_queries, num_keys = mask_QK.shape
        assert 0 <= entropy(layer) <= math.log(num_keys) + 1e-12
        # Prop. 5.3 for Q rows of K keys: each row's 2-norm lies in [1 / sqrt K, 1].
        assert math.sqrt(num_queries / num_keys) - 1e-12 <= frobenius_norm(layer) <= math.sqrt(num_queries) + 1e-12


def test_permuting_the_keys_permutes_the_weights(method):
    mask_QK = MASKS["full"]
    if not torch.equal(method.allowed(mask_QK), mask_QK):
        pytest.skip("the method depends on the keys' positions")
    q_BHQD, k_BHKD = queries_and_keys(4, mask_QK)
    params = learned(method, 1)
    order_K = torch.randperm(NUM_TOKENS, generator=torch.Generator().manual_seed(5))
    permuted = attention(method, q_BHQD, k_BHKD[:, :, order_K], mask_QK, params)
    expected = attention(method, q_BHQD, k_BHKD, mask_QK, params)[..., order_K]
    torch.testing.assert_close(permuted, expected, rtol=1e-12, atol=1e-15)


def test_permuting_the_queries_permutes_the_rows(method):
    mask_QK = MASKS["full"]
    if not torch.equal(method.allowed(mask_QK), mask_QK):
        pytest.skip("the method depends on the queries' positions")
    q_BHQD, k_BHKD = queries_and_keys(4, mask_QK)
    params = learned(method, 1)
    order_Q = torch.randperm(NUM_TOKENS, generator=torch.Generator().manual_seed(5))
    permuted = attention(method, q_BHQD[:, :, order_Q], k_BHKD, mask_QK, params)
    torch.testing.assert_close(
        permuted, attention(method, q_BHQD, k_BHKD, mask_QK, params)[:, :, order_Q], rtol=1e-12, atol=0
    )


def test_source_and_what_it_controls_are_stated(method):
    assert method.source != Method.source
    assert type(method).controls != Method.controls
    assert type(method).__doc__


def training(method: Method) -> list:
    """Lane and loss after each of three steps of a small model."""
    workload = InContextRegression(num_pairs=NUM_TOKENS, batch_size=4, dimension=2, depth=2, initial_gain=1.0)
    program = LaneProgram(workload=workload, method=method, optimizer=SGD(), schedule=Constant())
    seed = torch.tensor(0)
    lane = program.start(seed, torch.tensor(1.0, dtype=torch.float64))
    knobs = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
    seen = []
    for step in range(3):
        batches = workload.batches(seed[None], torch.tensor([step]))
        batch = {name: tensor[0, 0].double() for name, tensor in batches.items()}
        lane, loss, _ = program.train(lane, batch, knobs, torch.tensor(step))
        assert lane["alive"]
        seen.append((lane["params"], loss))
    return seen


def test_every_parameter_changes_training(method):
    assert ignored_parameters(method, training) == set()


@dataclass(frozen=True, kw_only=True)
class OneIgnored(Softmax):
    temperature: Annotated[float, Gt(0)] = 1.0
    sharpness: Annotated[float, Gt(0)] = 1.0

    def logits(self, q_BHQD, k_BHKD):
        return super().logits(q_BHQD, k_BHKD) / self.temperature


def test_an_ignored_parameter_is_found():
    assert ignored_parameters(OneIgnored(), training) == {"sharpness"}


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


def test_draws_of_a_model_differ_by_layer_and_role(method):
    workload = InContextRegression(depth=2)
    seed, zero = torch.tensor(0), torch.tensor(0)
    params, _ = workload.init(method, lambda name, shape: normal(seed, name, zero, shape), torch.tensor(1.0))
    weights = [p for name, p in params.items() if name.endswith(".weight")]
    assert len(weights) == 6
    assert len({tuple(w.flatten().tolist()) for w in weights}) == 6
