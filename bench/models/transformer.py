"""Transformer blocks, as GPT-2, Llama and ViT have them: attention under test, MLP, norms, residual connections.

Shapes: B batch, T tokens, C channels, H heads, D width of a head, L layer. Parameters are a flat dict
`layers.{L}.{part}.{name}`. Matrix products follow autocast; norms, rotations and residual sums stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.lazy import torch
from bench.methods.base import Heads, Mask, Method
from bench.methods.linear import Draw
from bench.models.attention import (
    Mode,
    Tensors,
    attend,
    default_logit_scale,
    init_method,
    method_state,
    rotary,
)
from bench.models.checkpointing import checkpoint
from bench.models.projections import Projection, init_projections, project, refresh_projections

if TYPE_CHECKING:
    from torch import Tensor

    from bench.randomness import Dropout

ROTARY_BASE = 10_000.0  # Su et al. 2021


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A stack of blocks.

    norm_placement: pre (x + f(norm(x)), and a norm after the last block), post (norm(x + f(x))) or none.
    initialisation: gpt2 (std 0.02, divided by sqrt(2 layers) where a block adds to the residual stream) or fan_in (std
    1/sqrt(inputs)). checkpointing: blocks are computed again in the backward pass instead of kept.
    """

    num_layers: int
    num_tokens: int
    width: int
    num_heads: int
    mlp_width: int
    mlp: Literal["gelu", "swiglu"]
    norm: Literal["layer", "rms"]
    norm_placement: Literal["pre", "post", "none"]
    norm_eps: float
    positions: Literal["learned", "rotary", "none"]
    has_biases: bool
    initialisation: Literal["gpt2", "fan_in"]
    is_causal: bool
    dropout: float
    checkpointing: bool

    @property
    def heads(self) -> Heads:
        return Heads(num_heads=self.num_heads, width=self.width // self.num_heads, num_keys=self.num_tokens)

    def std(self, num_inputs: int, *, adds_to_residual: bool = False) -> float:
        """Standard deviation at which a weight starts."""
        if self.initialisation == "fan_in":
            return num_inputs**-0.5
        return 0.02 / (2 * self.num_layers) ** 0.5 if adds_to_residual else 0.02

    def projections(self, method: Method, layer: int) -> dict[str, Projection]:
        """A block's projections by role."""
        shapes = dict.fromkeys(("query", "key", "value", *method.roles, "output"), (self.width, self.width))
        if method.ties_query_and_key:
            del shapes["key"]
        shapes["mlp_in"] = (self.width, self.mlp_width)
        if self.mlp == "swiglu":
            shapes["mlp_gate"] = (self.width, self.mlp_width)
        shapes["mlp_out"] = (self.mlp_width, self.width)
        return {
            role: Projection(
                prefix=f"layers.{layer}.{role}.",
                role=role,
                num_inputs=inputs,
                num_outputs=outputs,
                std=self.std(inputs, adds_to_residual=role in ("output", "mlp_out")),
                has_bias=self.has_biases,
            )
            for role, (inputs, outputs) in shapes.items()
        }

    def norms(self) -> list[str]:
        """Prefixes of all norms."""
        if self.norm_placement == "none":
            return []
        blocks = [f"layers.{layer}.norm_{at}." for layer in range(self.num_layers) for at in ("attention", "mlp")]
        return [*blocks, "norm."] if self.norm_placement == "pre" else blocks

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies every weight, not the gains of norms."""
        params: Tensors = {}
        buffers: Tensors = {}
        for layer in range(self.num_layers):
            for new in (
                init_projections(method, self.projections(method, layer).values(), draw, init_scale),
                init_method(method, self.heads, draw, f"layers.{layer}.", init_scale),
            ):
                params |= new[0]
                buffers |= new[1]
        for prefix in self.norms():
            params[prefix + "gain"] = torch.ones(self.width, dtype=init_scale.dtype, device=init_scale.device)
            if self.norm == "layer" and self.has_biases:
                params[prefix + "bias"] = torch.zeros_like(params[prefix + "gain"])
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        for layer in range(self.num_layers):
            buffers = refresh_projections(method, self.projections(method, layer).values(), params, buffers)
        return buffers

    def forward(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        h_BTC: Tensor,
        mode: Mode,
        dropout: Dropout,
    ) -> tuple[Tensor, list[Tensor]]:
        """Output tokens (B, T, C), and what the mode watches of every layer."""
        num_tokens, device = h_BTC.shape[1], h_BTC.device
        allowed_TT = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device)
        mask = Mask(allowed_QK=allowed_TT, kind="full")
        if self.is_causal:
            mask = Mask(allowed_QK=allowed_TT.tril(), kind="causal")
        mask = method.restrict(mask)
        is_rotary = self.positions == "rotary"
        rotate = rotary(num_tokens, self.heads.width, ROTARY_BASE, device) if is_rotary else None
        watched = []
        for layer in range(self.num_layers):
            prefix = f"layers.{layer}."
            own = {name: t for name, t in params.items() if name.startswith(prefix)}

            def block(h_BTC: Tensor, own: Tensors, layer: int = layer) -> tuple[Tensor, Tensor | None]:
                return self._block(method, own, buffers, layer, h_BTC, mask, rotate, mode, dropout)

            h_BTC, seen = (
                checkpoint(block, h_BTC, own) if self.checkpointing and mode.is_training else block(h_BTC, own)
            )
            if seen is not None:
                watched.append(seen)
        return (self._norm(params, "norm.", h_BTC) if self.norm_placement == "pre" else h_BTC), watched

    def _block(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        layer: int,
        h_BTC: Tensor,
        mask: Mask,
        rotate: Callable[[Tensor], Tensor] | None,
        mode: Mode,
        dropout: Dropout,
    ) -> tuple[Tensor, Tensor | None]:
        prefix = f"layers.{layer}."
        projections = self.projections(method, layer)

        def attention(x_BTC: Tensor) -> tuple[Tensor, Tensor | None]:
            by_role = {
                role: self._split(project(method, params, buffers, projections[role], x_BTC))
                for role in projections
                if role not in ("output", "mlp_in", "mlp_gate", "mlp_out")
            }
            o_BHTD, seen = attend(
                method,
                by_role["query"],
                by_role["query" if method.ties_query_and_key else "key"],
                by_role["value"],
                mask,
                method_state(params, buffers, prefix),
                mode,
                logit_scale=default_logit_scale(self.heads.width),
                rotate=rotate,
            )
            o_BHTD = method.combine(o_BHTD, {role: by_role[role] for role in method.roles})
            o_BTC = o_BHTD.transpose(1, 2).flatten(2)
            return project(method, params, buffers, projections["output"], o_BTC), seen

        def mlp(x_BTC: Tensor) -> Tensor:
            x_BTM = project(method, params, buffers, projections["mlp_in"], x_BTC)
            if self.mlp == "swiglu":
                gate_BTM = project(method, params, buffers, projections["mlp_gate"], x_BTC)
                x_BTM = torch.nn.functional.silu(gate_BTM) * x_BTM
            else:
                x_BTM = torch.nn.functional.gelu(x_BTM, approximate="tanh")  # as GPT-2's code has it
            return project(method, params, buffers, projections["mlp_out"], x_BTM)

        is_pre = self.norm_placement == "pre"
        added_BTC, seen = attention(self._norm(params, prefix + "norm_attention.", h_BTC) if is_pre else h_BTC)
        h_BTC = h_BTC + dropout(prefix + "attention", added_BTC)
        if self.norm_placement == "post":
            h_BTC = self._norm(params, prefix + "norm_attention.", h_BTC)
        added_BTC = mlp(self._norm(params, prefix + "norm_mlp.", h_BTC) if is_pre else h_BTC)
        h_BTC = h_BTC + dropout(prefix + "mlp", added_BTC)
        if self.norm_placement == "post":
            h_BTC = self._norm(params, prefix + "norm_mlp.", h_BTC)
        return h_BTC, seen

    def _split(self, x_BTC: Tensor) -> Tensor:
        return x_BTC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _norm(self, params: Tensors, prefix: str, x_BTC: Tensor) -> Tensor:
        gain_C, bias_C = params[prefix + "gain"], params.get(prefix + "bias")
        x_BTC = x_BTC.to(gain_C.dtype)
        if self.norm == "layer":
            x_BTC = torch.nn.functional.layer_norm(x_BTC, gain_C.shape, eps=self.norm_eps)
        else:
            x_BTC = x_BTC * (x_BTC.square().mean(dim=-1, keepdim=True) + self.norm_eps).rsqrt()
        x_BTC = x_BTC * gain_C
        return x_BTC if bias_C is None else x_BTC + bias_C


def limit_projections(method: Method, params: Tensors, max_logits: list[Tensor], step: Tensor) -> Tensors:
    """Params after the method limited each layer's query and key weights by the largest logits of its heads.

    A bias is limited with its weight, as one more row of inputs.
    """
    limited = dict(params)
    for layer, max_logit_H in enumerate(max_logits):
        prefixes = [f"layers.{layer}.{role}." for role in ("query", "key")]
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
