"""Turn a pure function of tensors into the fastest callable that a device offers.

CPU: the function is traced once into a flat list of tensor operations, which spares the cost of vmap and autograd at
every call and needs no compiler. CUDA: `repeatable` captures the trace in a CUDA graph; one that is called often enough
to pay for it goes through Inductor first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

# Matrix products that contract so few terms leave a GPU's matrix kernels almost empty (60% of a step of the paper's
# model, width 4, on an H100); as a product and a sum, Inductor fuses them with what surrounds them.
SMALL_CONTRACTION = 16
# A judgement, not yet a measured break-even: with every small product summed, whatever its contraction, Inductor took
# 40 s and brought a step of the paper's model in 95 lanes from 2.96 to 1.82 ms on an H100.
MIN_INDUCTOR_CALLS = 5000
NUM_WARMUP_CALLS = 3  # before a capture: Inductor's autotuning and cuBLAS's workspaces must not fall into it


def compile_for(
    device: torch.device, function: Callable[..., Any], arguments: tuple[Any, ...], *, num_calls: int
) -> Callable[..., Any]:
    """`function`, specialised to the shapes of `arguments`, which are nested dicts and tuples of tensors.

    num_calls: how often it will be called, which decides how much compiling pays.
    """
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.utils import _pytree as pytree

    leaves, spec = pytree.tree_flatten(arguments)
    out_spec: list[Any] = []

    def flat(*flat_leaves: Tensor) -> list[Tensor]:
        out, spec_of_out = pytree.tree_flatten(function(*pytree.tree_unflatten(list(flat_leaves), spec)))
        out_spec[:] = [spec_of_out]
        return out

    use_inductor = device.type == "cuda" and num_calls >= MIN_INDUCTOR_CALLS
    decompositions = None
    if use_inductor:
        decompositions = {torch.ops.aten.bmm.default: _small_product, torch.ops.aten.mm.default: _small_product}
    with torch.no_grad():
        traced = make_fx(flat, decomposition_table=decompositions, tracing_mode="real")(*leaves)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    run: Callable[..., Any] = traced
    if use_inductor:
        run = torch.compile(traced, fullgraph=True, dynamic=False)

    def call(*new_arguments: Any) -> Any:
        with torch.no_grad():
            return pytree.tree_unflatten(list(run(*pytree.tree_leaves(new_arguments))), out_spec[0])

    return call


def repeatable(device: torch.device, body: Callable[[], None], warmup: Callable[[], Any]) -> Callable[[], Any]:
    """`body`, which reads and writes fixed tensors, as a callable to run many times; on CUDA a captured graph.

    `warmup` runs what `body` runs but writes nothing: capturing executes nothing, so no step is lost or done twice.
    """
    if device.type != "cuda":
        return body
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(NUM_WARMUP_CALLS):
            warmup()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph.replay


def _small_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, (..., M, K) by (..., K, N), as a sum of products where K is small."""
    if a.shape[-1] > SMALL_CONTRACTION:
        return NotImplemented
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)
