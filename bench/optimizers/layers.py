"""The same tensor of all layers as one, so that an update takes one set of operations for all of them.

A model says which layers it has. `layers.0.query.weight` and `layers.1.query.weight` become `layers.*.query.weight`
with a first dimension of layers; what is outside layers stays as it is. A small language model's update has a sixth of
the operations that way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

ALL = "*"  # stands for the index of a layer in the name of what is stacked


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A model's layer with attention: the tensors whose names start with its `prefix`.

    The layers of one stack are alike: each has tensors of the same names, after the prefix, and of the same shapes.
    index: within the stack, from 0.
    """

    stack: str
    index: int

    @property
    def prefix(self) -> str:
        """What names of the layer's own tensors start with."""
        return f"{self.stack}.{self.index}."

    @property
    def stacked_prefix(self) -> str:
        """What stands for `prefix` in the names of tensors stacked over all layers of the stack."""
        return f"{self.stack}.{ALL}."


def layers_of(stack: str, num_layers: int) -> tuple[Layer, ...]:
    """All layers of a stack, in order."""
    return tuple(Layer(stack=stack, index=index) for index in range(num_layers))


def is_stacked(name: str) -> bool:
    """Whether `stack_layers` gives this name to a tensor of layers."""
    return f".{ALL}." in name


def stack_layers(tensors: dict[str, Tensor], layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Stacked tensors by their common names."""
    groups: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        common, index = _stacked_name(name, layers)
        groups.setdefault(common, {})[index] = tensor
    return {
        name: torch.stack([group[index] for index in sorted(group)]) if is_stacked(name) else group[0]
        for name, group in groups.items()
    }


def unstack_layers(stacked: dict[str, Tensor], like: dict[str, Tensor], layers: Sequence[Layer]) -> dict[str, Tensor]:
    """The inverse of `stack_layers`, in the order of `like`."""
    tensors = {}
    for name in like:
        common, index = _stacked_name(name, layers)
        tensors[name] = stacked[common][index] if is_stacked(common) else stacked[common]
    return tensors


def over_layers(function: Callable[..., Any], name: str, *stacked: Any) -> Any:
    """function(*stacked) where `name` is outside layers; else vmapped over the layers of every tensor in `stacked`."""
    return torch.func.vmap(function)(*stacked) if is_stacked(name) else function(*stacked)


def _stacked_name(name: str, layers: Sequence[Layer]) -> tuple[str, int]:
    """The name that is common to all layers, and the index of this one's; of a tensor outside layers its own, and 0."""
    for layer in layers:
        if name.startswith(layer.prefix):
            return layer.stacked_prefix + name.removeprefix(layer.prefix), layer.index
    return name, 0
