"""The same tensor of all layers as one, so that an update takes one set of operations for all of them.

`layers.0.query.weight` and `layers.1.query.weight` become `layers.*.query.weight` with a first dimension of layers;
what is outside layers stays as it is. A small language model's update has a sixth of the operations that way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

LAYER = re.compile(r"^layers\.(\d+)\.")
STACKED = "layers.*."


def stack_layers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stacked tensors by their common names. Layers are alike: each has the same names and shapes."""
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(LAYER.sub(STACKED, name), []).append(tensor)
    return {name: torch.stack(group) if name.startswith(STACKED) else group[0] for name, group in groups.items()}


def unstack_layers(stacked: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `stack_layers`, in the order of `like`."""
    tensors = {}
    for name in like:
        match = LAYER.match(name)
        tensors[name] = stacked[LAYER.sub(STACKED, name)][int(match[1])] if match else stacked[name]
    return tensors


def over_layers(function: Callable[..., Any], name: str, *stacked: Any) -> Any:
    """function(*stacked) where `name` is outside layers; else vmapped over the layers of every tensor in `stacked`."""
    return torch.func.vmap(function)(*stacked) if name.startswith(STACKED) else function(*stacked)
