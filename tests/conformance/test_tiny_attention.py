"""Attention by the kernels of tiny.py equals the dense reference.

On CUDA, without a GPU in Triton's interpreter, and on a processor by those that its C compiler makes.

Shapes: B batch, H heads, Q queries, K keys, T tokens, D width of a head, E width of a value, L lanes.
"""

from collections.abc import Callable

import pytest
import torch
from torch.fx import GraphModule

from bench.methods import kernel, softmax
from bench.methods.base import Method
from bench.methods.fast.fused import heads_of
from bench.methods.fast.tiny import is_triton_installed, takes, tiny_attention
from bench.methods.fast.tiny_cpu import is_compiled
from bench.methods.kernel import EluKernel, KernelAttention, ReluKernel, SigmoidKernel
from bench.methods.mask import Mask, MaskKind
from bench.methods.softmax import Softmax, WindowSoftmax
from bench.training.compile import _is_view, cost, trace

HAS_CUDA = torch.cuda.is_available()
INTERPRETER = "TRITON_INTERPRET"  # Triton asks for it where kernels are defined, and again where they run
with pytest.MonkeyPatch.context() as _environment:
    if not HAS_CUDA:
        _environment.setenv(INTERPRETER, "1")
    if is_triton_installed():
        import bench.methods.fast.tiny_kernels  # noqa: F401

ON_GPU = (pytest.mark.gpu, pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device"))
# NumPy, which interprets, warns of rows that are 0/0; Inductor warns on its own account.
pytestmark = pytest.mark.filterwarnings("default", "ignore::RuntimeWarning")
TOKENS, WIDTH, VALUE_WIDTH = 21, 4, 5  # no power of two, and values wider than queries
KINDS = ("full", "causal", "padded", "custom")
METHODS = (Softmax(), ReluKernel(), ReluKernel(eps=1e-3), EluKernel(), SigmoidKernel())
ROUNDING = 3e-6  # by the largest of what is compared, or by 1: 25 units in the last place of float32
Tensors = tuple[torch.Tensor, ...]


INTERPRETED = pytest.mark.skipif(HAS_CUDA or not is_triton_installed(), reason="CUDA's kernels, or no Triton")
COMPILED = pytest.mark.skipif(not is_compiled(), reason="no C compiler")
ON_PROCESSOR = [
    pytest.param("interpreter", marks=INTERPRETED, id="interpreted"),
    pytest.param("cpu", marks=COMPILED, id="compiled"),
]


@pytest.fixture(params=[*ON_PROCESSOR, pytest.param("cuda", marks=ON_GPU)])
def device(request, monkeypatch) -> str:
    if request.param == "interpreter":
        monkeypatch.setenv(INTERPRETER, "1")
        return "cpu"
    monkeypatch.delenv(INTERPRETER, raising=False)
    return request.param


def randn(seed: int, *shape: int, device: str) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def inputs(
    device: str, *lanes: int, tokens: int = TOKENS, width: int = WIDTH, value_width: int = VALUE_WIDTH
) -> Tensors:
    """q, k, v and a gradient of the output, of three examples and two heads.

    The first channel is mostly positive: few rows are without features, or so near that the reference is inexact too.
    """
    widths = (width, width, value_width, value_width)
    tensors = [randn(seed, *lanes, 3, 2, tokens, own, device=device) for seed, own in enumerate(widths)]
    for x in tensors[:2]:
        x[..., 0] += 2
    return tuple(tensors)


def mask_of(kind: MaskKind, device: str, tokens: int = TOKENS) -> Mask:
    if kind == "padded":  # of three examples
        length_B1 = torch.tensor([[tokens], [1], [tokens - tokens // 3]], device=device)
        return Mask.padded(torch.arange(tokens, device=device) < length_B1)
    allowed_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
    if kind == "causal":
        allowed_TT = allowed_TT.tril()
    if kind == "custom":
        random_TT = randn(9, tokens, tokens, device=device) > 0
        allowed_TT = random_TT | torch.eye(tokens, dtype=torch.bool, device=device)
    return Mask.shared(allowed_TT, kind)


def tiny(method: Method, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask) -> torch.Tensor:
    if isinstance(method, KernelAttention):
        return tiny_attention(method.features(q), method.features(k), v, mask, is_softmax=False, eps=method.eps)
    return tiny_attention(q, k, v, mask, is_softmax=True)


def dense(method: Method, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask) -> torch.Tensor:
    return Method.attend(method, q, k, v, mask, {})


def pulled(attend: Callable, method: Method, mask: Mask) -> Callable[..., Tensors]:
    """The output and the gradients of q, k and v as training takes them, as a function of q, k, v and a gradient."""

    def of(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor) -> Tensors:
        output, pullback, *_ = torch.func.vjp(lambda q, k, v: attend(method, q, k, v, mask), q, k, v)
        with torch.no_grad():
            return output, *pullback(grad, retain_graph=False)

    return of


def assert_as_exact_as_dense(method: Method, mask: Mask, tensors: Tensors) -> None:
    """Errors against float64 are at most twice those of the reference in float32 and a rounding."""
    exact = pulled(dense, method, mask)(*(x.double() for x in tensors))
    reference, fast = (pulled(attend, method, mask)(*tensors) for attend in (dense, tiny))
    for truth, one, other in zip(exact, reference, fast, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        dense_error, fast_error = ((x.double() - truth).abs().max().item() for x in (one, other))
        assert fast_error <= 2 * dense_error + ROUNDING * max(1.0, truth.abs().max().item())


def assert_close(actual: Tensors, expected: Tensors, tolerance: float) -> None:
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(b.abs().max().item(), 1e-30))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_output_and_gradients_equal_the_reference(method, kind, device):
    assert_as_exact_as_dense(method, mask_of(kind, device), inputs(device))


@pytest.mark.parametrize("method", [Softmax(), SigmoidKernel()])
@pytest.mark.parametrize(("tokens", "width", "value_width"), [(1, 1, 1), (16, 3, 4), (32, 8, 8), (2, 8, 9), (31, 4, 1)])
def test_any_short_sequence_and_narrow_head(method, tokens, width, value_width, device):
    tensors = inputs(device, tokens=tokens, width=width, value_width=value_width)
    assert_as_exact_as_dense(method, mask_of("full", device, tokens), tensors)


@pytest.mark.parametrize("method", [Softmax(), ReluKernel()])
@pytest.mark.parametrize("kind", ["full", "custom"])
def test_queries_may_be_fewer_than_keys(method, kind, device):
    q, k, v, grad = inputs(device)
    mask = Mask.shared(mask_of(kind, device).allowed_B1QK[0, 0, -5:], kind)
    assert_as_exact_as_dense(method, mask, (q[:, :, -5:], k, v, grad[:, :, -5:]))


def test_a_window_of_keys_and_inputs_that_are_views(device):
    q, k, v, grad = (x.mT.contiguous().mT for x in inputs(device))
    mask = WindowSoftmax(width=2).restrict(mask_of("full", device))
    assert_as_exact_as_dense(Softmax(), mask, (q, k, v, grad[:1, :1].expand_as(grad)))


def token(x: torch.Tensor) -> torch.Tensor:
    return torch.arange(x.shape[-2], device=x.device)[:, None]


EXTREMES = {
    "one_hot": lambda q, k: (1e4 * q, 1e4 * k),
    "very_negative": lambda q, k: (-1e2 * q.abs(), -1e2 * k.abs()),
    "zero_queries": lambda q, k: (0 * q, k),
    "zero_keys": lambda q, k: (q, 0 * k),
    "denominators_below_the_least": lambda q, k: (1e-11 * q, 1e-11 * k),
    "rows_without_features": lambda q, k: (torch.where(token(q) % 3 == 0, -q.abs(), q), k),
    "keys_without_features": lambda q, k: (q, torch.where(token(k) % 3 == 0, -k.abs(), k)),
    "one_huge_key": lambda q, k: (q, k * (1 + 1e6 * (k == k.amax(dim=-2, keepdim=True)))),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extremes_equal_the_reference(method, extreme, device):
    """Tolerances are those of terms: a query's gradient is a sum of keys, and the other way round."""
    q, k, v, grad = inputs(device)
    q, k = EXTREMES[extreme](q, k)
    largest_q, largest_k = (max(1.0, x.abs().max().item()) for x in (q, k))
    for kind in ("full", "causal"):
        reference, fast = (pulled(attend, method, mask_of(kind, device))(q, k, v, grad) for attend in (dense, tiny))
        for actual, expected, terms in zip(fast, reference, (1, largest_k, largest_q, 1), strict=True):
            scale = max(terms, expected.abs().max().item())
            torch.testing.assert_close(actual, expected, rtol=0, atol=10 * ROUNDING * scale)


@pytest.mark.parametrize("broken", [0, 1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_seen(method, broken, device):
    """Divergence is found by it: as the reference, whether in the output or in the gradients."""
    tensors = [x.clone() for x in inputs(device)]
    tensors[broken][0, 0, 7, 1] = torch.nan
    for kind in ("full", "causal"):
        reference, fast = (pulled(attend, method, mask_of(kind, device))(*tensors) for attend in (dense, tiny))
        assert [bool(x.isfinite().all()) for x in fast] == [bool(x.isfinite().all()) for x in reference]


@pytest.mark.parametrize("method", [Softmax(), ReluKernel()])
@pytest.mark.parametrize("in_dims", [(0, 0, 0, 0), (0, None, None, None), (None, 0, 1, 0), (2, 1, None, 0)])
def test_lanes_equal_a_loop(method, in_dims, device):
    """Also where lanes share inputs or gradients."""
    num_lanes, mask = 3, mask_of("custom", device)
    stacked, single = inputs(device, num_lanes), inputs(device)
    tensors = [
        own if dim is None else of_lanes.movedim(0, dim)
        for of_lanes, own, dim in zip(stacked, single, in_dims, strict=True)
    ]
    run = pulled(tiny, method, mask)
    expected = [
        run(*(x if dim is None else x.select(dim, lane) for x, dim in zip(tensors, in_dims, strict=True)))
        for lane in range(num_lanes)
    ]
    assert_close(torch.func.vmap(run, in_dims)(*tensors), tuple(map(torch.stack, zip(*expected, strict=True))), 1e-6)


def test_lanes_may_have_masks_of_their_own(device):
    """One a lane for all of its examples, and one an example."""
    kinds = ("full", "causal", "custom")
    allowed_LTT = torch.stack([mask_of(kind, device).allowed_B1QK[0, 0] for kind in kinds])
    is_key_BT = mask_of("padded", device).allowed_B1QK[:, 0, 0]
    is_key_LBT, tensors = torch.stack([is_key_BT.roll(shift, 0) for shift in range(3)]), inputs(device)

    def of_lane(attend: Callable) -> Callable[[torch.Tensor, torch.Tensor], Tensors]:
        return lambda allowed_TT, is_key_BT: (
            *pulled(attend, Softmax(), Mask.shared(allowed_TT, "custom"))(*tensors),
            *pulled(attend, Softmax(), Mask.padded(is_key_BT))(*tensors),
        )

    actual, expected = (torch.func.vmap(of_lane(attend))(allowed_LTT, is_key_LBT) for attend in (tiny, dense))
    assert_close(actual, expected, ROUNDING)


def test_gradients_of_all_lanes_together_equal_the_reference(device):
    """Of vmap inside, where the lanes share keys."""
    q, k, v, _ = inputs(device, 3)

    def total(attend: Callable) -> Callable:
        run = torch.func.vmap(lambda q, k, v: attend(Softmax(), q, k, v, mask_of("causal", device)), (0, None, 0))
        return lambda q, k, v: run(q, k, v).square().sum()

    actual, expected = (torch.func.grad(total(attend), (0, 1, 2))(q, k[0], v) for attend in (tiny, dense))
    assert_close(actual, expected, ROUNDING)


def test_a_second_derivative_raises(device):
    q, k, v, _ = inputs(device)

    def norm_of_gradient(q: torch.Tensor) -> torch.Tensor:
        gradient = torch.func.grad(lambda q: tiny(Softmax(), q, k, v, mask_of("full", device)).square().sum())
        return gradient(q).square().sum()

    with pytest.raises(NotImplementedError):
        torch.func.grad(norm_of_gradient)(q)


def operations(traced: GraphModule) -> list[str]:
    """By name, other than views."""
    nodes = [node for node in traced.graph.nodes if node.op == "call_function"]
    return [str(node.target) for node in nodes if not _is_view(node.target)]


@pytest.mark.parametrize("lanes", [(), (3,)], ids=["alone", "lanes"])
def test_a_trace_has_one_operation_forward_and_one_backward(lanes, device):
    tensors = inputs(device, *lanes)
    run = pulled(tiny, Softmax(), mask_of("full", device))
    run = torch.func.vmap(run) if lanes else run
    with torch.no_grad():
        traced, _ = trace(run, tensors)
    assert operations(traced) == ["bench.tiny_attention.default", "bench.tiny_attention_backward.default"]
    assert_close(tuple(traced(*tensors)), run(*tensors), 0)
    num_products = 2 + 5  # P and P V, and backward P again and the gradients of it, q, k and v
    pairs = tensors[0].numel() * TOKENS
    assert cost(traced).flops == 2 * num_products * pairs
    read = (*tensors[:3], *tensors)
    assert cost(traced).num_bytes == 4 * sum(x.numel() for x in (*read, tensors[3], *tensors[:3]))


@COMPILED
def test_what_the_kernels_take_on_a_processor():
    q, k, v, _ = inputs("cpu")
    assert takes(q, k, v)
    assert not takes(q.double(), k.double(), v.double())
    long = torch.cat([k, k], dim=-2)
    assert not takes(q, long, long)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not takes(q, k, v)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
def test_what_the_kernels_take_on_cuda():
    q, k, v, _ = inputs("cuda")
    assert takes(q, k, v)
    assert not takes(q.double(), k.double(), v.double())
    assert not takes(q, k, v.bfloat16())
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert not takes(q, k, v)


def force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels run wherever a path asks for them."""
    for module in (softmax, kernel):
        monkeypatch.setattr(module, "takes", lambda q, k, v: True)


def test_a_kernel_that_takes_this_path_keeps_its_eps(device, monkeypatch):
    force(monkeypatch)
    method, mask = ReluKernel(eps=0.3), mask_of("full", device)
    q, k, v, _ = inputs(device)
    assert method.fast_path(heads_of(q, k), mask.kind, has_tiny=True) == "tiny"
    torch.testing.assert_close(method.attend(q, k, v, mask, {}), dense(method, q, k, v, mask), rtol=1e-4, atol=1e-5)
