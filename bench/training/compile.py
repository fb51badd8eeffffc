"""Turn a pure function of tensors into the fastest callable that a device offers.

CPU: the function is traced once into a flat list of tensor operations, which spares the cost of vmap and autograd at
every call and needs no compiler. CUDA: `repeatable` captures the trace in a CUDA graph; where its calls would take
long enough to pay for it, it goes through Inductor first.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.training.inductor import Inductor

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

# Inductor takes about 0.02 s an operation and saves 40 to 50% of a step (the paper's model in 95 lanes on an H100: 17 s
# for softmax, 3.9 to 2.4 ms; 29 s for sigma-reparam, 4.6 to 2.6 ms; 23 s for ReLU, 4.9 to 2.5 ms). It pays for itself
# where plain training takes 0.04 s an operation, sooner where other packs train meanwhile on the same GPU.
MIN_PLAIN_SECONDS_PER_OPERATION = 0.03
ATTENTION = ("scaled_dot_product", "tiny_attention")  # operations, which take q, k and v; backward a gradient before
NUM_WARMUP_CALLS = 3  # before a capture: Inductor's autotuning and cuBLAS's workspaces must not fall into it


def compile_for(
    device: torch.device,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    num_calls: int,
    inductor: Inductor,
) -> tuple[Callable[..., Any], Any]:
    """`function`, specialised to the shapes of `arguments`, nested dicts, lists and tuples of tensors; and an example
    of what it gives.

    num_calls: how often it will be called, which decides how much compiling pays.
    """
    from torch.utils import _pytree as pytree

    leaves = pytree.tree_leaves(arguments)
    run: Any
    with torch.no_grad():
        traced, out_spec = trace(function, arguments)
        example = pytree.tree_unflatten(list(traced(*leaves)), out_spec)
        compiled = inductor.compiled(
            name_of(function),
            traced,
            leaves,
            example,
            pays=lambda: device.type == "cuda" and pays(cost(traced), num_calls=num_calls),
        )
        run = traced if compiled is None else compiled

    def call(*new_arguments: Any) -> Any:
        with torch.no_grad():
            return pytree.tree_unflatten(list(run(*pytree.tree_leaves(new_arguments))), out_spec)

    return call, example


def name_of(function: Callable[..., Any]) -> str:
    """A function's name in words; of one with arguments filled in, that function's."""
    while isinstance(function, functools.partial):
        function = function.func
    return function.__name__.strip("_").replace("_", " ")


def trace(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[GraphModule, Any]:
    """`function` as a flat graph from the leaves of its arguments to those of what it gives, and the tree of those."""
    from torch.utils import _pytree as pytree

    from bench.training.recording import record

    leaves, spec = pytree.tree_flatten(arguments)
    out_spec: list[Any] = []

    def flat(*flat_leaves: Tensor) -> list[Tensor]:
        out, spec_of_out = pytree.tree_flatten(function(*pytree.tree_unflatten(list(flat_leaves), spec)))
        out_spec[:] = [spec_of_out]
        return out

    return record(flat, leaves), out_spec[0]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What a device reaches, for an estimate from the trace alone, so that a choice is the same at every start."""

    seconds_per_operation: float
    bytes_per_second: float
    flops_per_second: float


# Within 10% of what captured steps of language models of 1.2M parameters took, with 1 lane and with 16.
H100 = Speed(seconds_per_operation=3e-6, bytes_per_second=2e12, flops_per_second=3e14)
# Of one core, in the middle of what laptops and servers do.
CPU_CORE = Speed(seconds_per_operation=5e-6, bytes_per_second=1e10, flops_per_second=3e10)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one call of a trace has to do; views are free."""

    num_operations: int
    num_bytes: int  # read and written
    flops: int  # of matrix products

    def overhead_seconds(self, speed: Speed) -> float:
        """Of starting the operations, however little they do."""
        return self.num_operations * speed.seconds_per_operation

    def work_seconds(self, speed: Speed) -> float:
        """Of moving bytes and of arithmetic."""
        return self.num_bytes / speed.bytes_per_second + self.flops / speed.flops_per_second


def cost(traced: GraphModule) -> Cost:
    """Counted from the shapes in the trace."""
    num_operations = num_bytes = flops = 0
    for node in traced.graph.nodes:
        if node.op != "call_function" or _is_view(node.target):
            continue
        num_operations += 1
        num_bytes += sum(t.numel() * t.element_size() for n in (node, *node.all_input_nodes) for t in _values(n))
        if node.target in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            flops += 2 * _values(node)[0].numel() * _values(node.args[0])[0].shape[-1]
        elif any(name in str(node.target) for name in ATTENTION):  # two products, five backward
            is_backward = "backward" in str(node.target)
            q_BHQD, k_BHKD = (_values(arg)[0] for arg in (node.args[1:3] if is_backward else node.args[:2]))
            flops += (10 if is_backward else 4) * q_BHQD.numel() * k_BHKD.shape[-2]
    return Cost(num_operations=num_operations, num_bytes=num_bytes, flops=flops)


def pays(call: Cost, *, num_calls: int) -> bool:
    """Whether so many calls on a GPU are worth Inductor's time."""
    plain_s = max(call.overhead_seconds(H100), call.work_seconds(H100))
    return num_calls * plain_s >= MIN_PLAIN_SECONDS_PER_OPERATION * call.num_operations


def _is_view(target: Any) -> bool:
    """Or one of several results."""
    known = (torch.ops.aten._unsafe_view.default, operator.getitem)
    return getattr(target, "is_view", False) or target in known


def _values(node: Any) -> list[Any]:
    """The tensors that an operation gives."""
    value = node.meta.get("val")
    return [each for each in (value if isinstance(value, list | tuple) else [value]) if hasattr(each, "numel")]


def new_pool(device: torch.device) -> Any:
    """Memory that the graphs of one pack share: they run one after the other and keep nothing in it."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


def repeatable(
    device: torch.device, body: Callable[[], None], warmup: Callable[[], Any], pool: Any
) -> Callable[[], Any]:
    """`body`, which reads and writes fixed tensors, as a callable to run many times; on CUDA a captured graph.

    `warmup` runs what `body` runs but writes nothing: capturing executes nothing, so no step is lost or done twice.
    The callable holds `body`: a graph knows addresses alone, so what lies there must not be freed before it.
    """
    if device.type != "cuda":
        return body
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(NUM_WARMUP_CALLS):
            warmup()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.empty_cache()  # a graph has memory of its own: what warming up took would stay taken beside it
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        body()
    return functools.partial(_replay, graph, body)


def _replay(graph: torch.cuda.CUDAGraph, holder: object) -> None:
    """holder: whatever keeps the tensors that the graph reads and writes."""
    graph.replay()
