"""A stack of self-attention layers and nothing else: no MLP, no normalisation of its own.

Shapes: B batch, T tokens, C channels, L layer. Parameters are a flat dict `layers.{L}.{role}.{name}`.
Source: Hong & Lee 2025, Sec. 4.2 and App. C.2, after Ahn et al. 2024. What they leave open is a setting here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.probes.attention import Attention

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]
ROLES = ("query", "key", "value")


@dataclass(frozen=True, kw_only=True)
class AttentionOnly:
    """width: channels that the projections read; a token may carry more, which pass through with weight 1.

    logit_scale multiplies the queries after the method's normalisation; value_scale multiplies what attention adds.
    """

    num_layers: int
    width: int
    residual: bool
    logit_scale: float
    value_scale: float
    initial_gain: float

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; projections are N(0, (init_scale initial_gain)^2 / width)."""
        params: Tensors = {}
        buffers: Tensors = {}
        scale = init_scale * self.initial_gain / self.width**0.5
        for layer in range(self.num_layers):
            for role in ROLES:
                prefix = f"layers.{layer}.{role}."
                weight_CC = draw(prefix + "weight", (self.width, self.width)) * scale
                extra = method.linear(role).init(weight_CC, lambda name, shape, at=prefix: draw(at + name, shape))
                params |= {prefix + name: tensor for name, tensor in extra[0].items()}
                buffers |= {prefix + name: tensor for name, tensor in extra[1].items()}
            for name, tensor in method.init_params(self.width).items():
                params[f"layers.{layer}.method.{name}"] = tensor.to(init_scale)
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        refreshed = dict(buffers)
        for prefix, role in self._projections():
            new = method.linear(role).refresh(part(params, prefix), part(buffers, prefix))
            refreshed |= {prefix + name: tensor for name, tensor in new.items()}
        return refreshed

    def forward(
        self, method: Method, params: Tensors, buffers: Tensors, h_BTC: Tensor, mask_TT: Tensor
    ) -> tuple[Tensor, list[Attention]]:
        """Output tokens of the shape of the input, and every layer's attention."""
        mask_TT = method.allowed(mask_TT)
        layers = []
        for layer in range(self.num_layers):
            x_BTW = h_BTC[..., : self.width]
            q, k, v = (x_BTW @ self._weight(method, params, buffers, layer, role) for role in ROLES)
            extras = part(params, f"layers.{layer}.method.")
            q, k = (x[:, None] for x in method.normalize(q, k, extras))  # one head
            q = q * self.logit_scale
            p_B1TT = method.weights(q, k, mask_TT, extras)
            layers.append(Attention(z_BHQK=method.logits(q, k), p_BHQK=p_B1TT, mask_QK=mask_TT))
            v_BTC = torch.cat([v, h_BTC[..., self.width :]], dim=-1)
            update_BTC = self.value_scale * (p_B1TT[:, 0] @ v_BTC)
            h_BTC = h_BTC + update_BTC if self.residual else update_BTC
        return h_BTC, layers

    def _weight(self, method: Method, params: Tensors, buffers: Tensors, layer: int, role: str) -> Tensor:
        prefix = f"layers.{layer}.{role}."
        return method.linear(role).weight(part(params, prefix), part(buffers, prefix))

    def _projections(self) -> list[tuple[str, str]]:
        return [(f"layers.{layer}.{role}.", role) for layer in range(self.num_layers) for role in ROLES]


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names start with `prefix`, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def method_params(params: Tensors) -> dict[str, Tensors]:
    """The tensors that a method added, by layer: prefix -> tensors."""
    prefixes = sorted({name.partition(".method.")[0] + ".method." for name in params if ".method." in name})
    return {prefix: part(params, prefix) for prefix in prefixes}
