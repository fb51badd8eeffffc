"""A stack of self-attention layers and nothing else: no MLP, no normalisation of its own, one head.

Shapes: B batch, T tokens, C channels, L layer. Parameters are a flat dict `layers.{L}.{role}.{name}`.
Source: Hong & Lee 2025, Sec. 4.2 and App. C.2, after Ahn et al. 2024. What they leave open is a setting here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.lazy import torch
from bench.methods.base import Heads, Method
from bench.methods.linear import Draw
from bench.methods.mask import Mask
from bench.models.attention import Mode, Tensors, attend, init_method, method_state
from bench.models.projections import Projection, init_projections, project_roles, refresh_projections, roles_read
from bench.optimizers.layers import Layer, layers_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionOnly:
    """width: channels that the projections read; a token may carry more, which pass through with weight 1.

    logit_scale multiplies the queries after the method's normalisation; value_scale multiplies what attention adds.
    merges_query_and_key: a token is its own key, so that one matrix W gives all logits, x_i W x_j^T.
    """

    num_layers: int
    num_tokens: int
    width: int
    residual: bool
    logit_scale: float
    value_scale: float
    initial_gain: float
    merges_query_and_key: bool = False

    @property
    def heads(self) -> Heads:
        return Heads(num_heads=1, width=self.width, num_keys=self.num_tokens)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers of attention, from the input on."""
        return layers_of("layers", self.num_layers)

    def projections(self, method: Method, layer: Layer) -> dict[str, Projection]:
        """A layer's projections by role."""
        return {
            role: Projection(
                prefix=f"{layer.prefix}{role}.",
                role=role,
                num_inputs=self.width,
                num_outputs=self.width,
                std=self.initial_gain / self.width**0.5,
            )
            for role in roles_read(method)
            if not (role == "key" and self.merges_query_and_key)
        }

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; projections are N(0, (init_scale initial_gain)^2 / width).

        Raises UsageError for a method that limits key weights, where there are none.
        """
        if self.merges_query_and_key and method.reads_max_logits:
            raise UsageError("merged_query_key leaves no key weights, which the method limits; required another method")
        params: Tensors = {}
        buffers: Tensors = {}
        for layer in self.layers:
            for new in (
                init_projections(method, self.projections(method, layer).values(), draw, init_scale),
                init_method(method, self.heads, draw, layer.prefix, init_scale),
            ):
                params |= new[0]
                buffers |= new[1]
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        for layer in self.layers:
            buffers = refresh_projections(method, self.projections(method, layer).values(), params, buffers)
        return buffers

    def forward(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        h_BTC: Tensor,
        mask: Mask,
        mode: Mode,
        has_value_T: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Output tokens of the shape of the input, and what the mode watches of every layer.

        has_value_T: the tokens whose values count; those of others are 0. None: all.
        """
        mask = method.restrict(mask)
        watched = []
        for layer in self.layers:
            x_B1TW = h_BTC[:, None, :, : self.width]
            projections = self.projections(method, layer)
            by_role = project_roles(method, params, buffers, projections, x_B1TW, num_heads=1)
            v_B1TC = torch.cat([by_role["value"], h_BTC[:, None, :, self.width :]], dim=-1)
            if has_value_T is not None:
                v_B1TC = v_B1TC * has_value_T[:, None]
            key_role = "query" if method.ties_query_and_key else "key"
            o_B1TC, of_layer = attend(
                method,
                by_role["query"],
                by_role.get(key_role, x_B1TW),
                v_B1TC,
                mask,
                method_state(params, buffers, layer.prefix),
                mode,
                logit_scale=self.logit_scale,
            )
            if method.roles:
                o_B1TW = method.combine(o_B1TC[..., : self.width], {role: by_role[role] for role in method.roles})
                o_B1TC = torch.cat([o_B1TW, o_B1TC[..., self.width :]], dim=-1)
            update_BTC = self.value_scale * o_B1TC[:, 0]
            h_BTC = h_BTC + update_BTC if self.residual else update_BTC
            if of_layer is not None:
                watched.append(of_layer)
        return h_BTC, watched
