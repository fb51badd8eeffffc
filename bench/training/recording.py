"""Record what a pure function does to tensors, as a flat graph of operations: below autograd and vmap, by running it.

The graph is that of torch.fx's make_fx, operation for operation, in about a fifth of its time: make_fx computes every
shape twice, on fake tensors and on real ones, so that shapes may be symbols. Here they are those of one run.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary


def record(function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]) -> GraphModule:
    """A graph that computes `function` of tensors of these shapes; without what does not reach its outputs.

    `val` in the meta of a node is what it gives, as tensors without values. Tensors of elsewhere that the function
    reads are kept as constants. Raises RuntimeError for a function that looks at values: other values would lead it
    elsewhere. Only what the function keeps itself takes memory while it runs.
    """
    recorder = _Recorder()
    for tensor in tensors:
        recorder.add_argument(tensor)
    with torch.no_grad(), _no_autocast_cache(), recorder:
        outputs = function(*tensors)
    return recorder.finish(outputs)


class _Recorder(TorchDispatchMode):
    """While active, a node for each operation on tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._graph = Graph()
        self._nodes = WeakTensorKeyDictionary()
        self._constants: dict[str, Tensor] = {}
        self._fixed: set[Node] = set()  # those that no argument enters: whoever reads their values may go by them

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False, or torch imports Dynamo to skip it here: 2 to 4 s of every process that trains."""
        return False

    def add_argument(self, tensor: Tensor) -> None:
        """A placeholder of the graph."""
        self._track(tensor, self._graph.placeholder(f"argument_{len(self._graph.nodes)}"))

    def finish(self, outputs: Sequence[Tensor]) -> GraphModule:
        """The graph of what was recorded."""
        self._graph.output(self._nodes_of(list(outputs)))
        self._graph.eliminate_dead_code()
        return GraphModule(self._constants, self._graph)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.lift_fresh.default:  # of torch.tensor(...): fresh at every call of the graph, too
            func = torch.ops.aten.lift_fresh_copy.default
        kwargs = kwargs or {}
        node = self._graph.call_function(func, self._nodes_of(args), self._nodes_of(kwargs))
        is_fixed = self._fixed.issuperset(node.all_input_nodes) and not _is_random(func)
        if _looks_at_values(func) and not is_fixed:
            raise RuntimeError(
                f"{func} gets a value out of a tensor, and what is done then would be done for all values; "
                "use operations on tensors instead, such as torch.where"
            )
        if is_fixed:
            self._fixed.add(node)
        elif func._schema.is_mutable:
            self._fixed.clear()  # what is written to may be seen through any view
        out = func(*args, **kwargs)
        self._track(out, node)
        return out

    def _nodes_of(self, value: Any) -> Any:
        """Arguments with nodes in place of tensors."""
        if isinstance(value, Tensor):
            node = self._nodes.get(value)
            return self._constant(value) if node is None else node
        if isinstance(value, list | tuple):
            return type(value)([self._nodes_of(each) for each in value])
        if isinstance(value, dict):
            return {name: self._nodes_of(each) for name, each in value.items()}
        return value

    def _constant(self, tensor: Tensor) -> Node:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = tensor
        node = self._graph.get_attr(name)
        self._fixed.add(node)
        self._track(tensor, node)
        return node

    def _track(self, out: Any, node: Node) -> None:
        """The node is what gives this tensor, or these."""
        if isinstance(out, Tensor):
            self._nodes[out] = node
            node.meta["val"] = torch.empty_strided(out.shape, out.stride(), dtype=out.dtype, device="meta")
        elif isinstance(out, list | tuple):
            parts = [(self._graph.call_function(operator.getitem, (node, i)), x) for i, x in enumerate(out)]
            for part, tensor in parts:
                if node in self._fixed:
                    self._fixed.add(part)
                self._track(tensor, part)
            node.meta["val"] = type(out)([part.meta.get("val") for part, _ in parts])


@functools.cache
def _looks_at_values(func: Any) -> bool:
    return torch.Tag.data_dependent_output in func.tags


@functools.cache
def _is_random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


@contextlib.contextmanager
def _no_autocast_cache() -> Iterator[None]:
    """Of casts before the recording, autocast would give tensors that no operation of it made."""
    was_enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(was_enabled)
