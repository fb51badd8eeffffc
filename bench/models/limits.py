"""What a method limits of a model after an update.

Shapes: C channels, H heads, D width of a head, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.models.attention import Tensors
from bench.optimizers.layers import Layer

if TYPE_CHECKING:
    from torch import Tensor


def limit_projections(
    method: Method, params: Tensors, layers: Sequence[Layer], max_logits: list[Tensor], step: Tensor
) -> Tensors:
    """Params after the method limited each layer's query and key weights by the largest logits of its heads.

    max_logits: (heads,) of each layer. A bias is limited with its weight, as one more row of inputs.
    """
    limited = dict(params)
    for layer, max_logit_H in zip(layers, max_logits, strict=True):
        prefixes = [layer.prefix + role + "." for role in ("query", "key")]
        query_CHD, key_CHD = (_with_bias(params, prefix).unflatten(-1, (len(max_logit_H), -1)) for prefix in prefixes)
        new = method.limit_projections(query_CHD, key_CHD, max_logit_H, step)
        for prefix, new_CHD in zip(prefixes, new, strict=True):
            new_CO = new_CHD.flatten(-2)
            num_inputs = params[prefix + "weight"].shape[0]
            limited[prefix + "weight"] = new_CO[:num_inputs]
            if prefix + "bias" in params:
                limited[prefix + "bias"] = new_CO[num_inputs]
    return limited


def _with_bias(params: Tensors, prefix: str) -> Tensor:
    weight_IO = params[prefix + "weight"]
    bias_O = params.get(prefix + "bias")
    return weight_IO if bias_O is None else torch.cat([weight_IO, bias_O[None]])
