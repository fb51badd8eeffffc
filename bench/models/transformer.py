"""Transformer blocks, as GPT-2, Llama and ViT have them: attention under test, MLP, norms, residual connections.

Shapes: B batch, T tokens, C channels, H heads, D width of a head, L layer. Parameters are a flat dict
`layers.{L}.{part}.{name}`. Matrix products follow autocast; norms, rotations and residual sums stay in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.lazy import torch
from bench.methods.base import Heads, Method
from bench.methods.linear import Draw
from bench.methods.mask import Mask
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
from bench.models.norms import NormKind, NormPlacement, Norms
from bench.models.projections import (
    Projection,
    init_projections,
    of_layer,
    project,
    project_roles,
    refresh_projections,
    roles_read,
)
from bench.optimizers.layers import Layer, layers_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.dropout import Dropout

ROTARY_BASE = 10_000.0  # Su et al. 2021


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What all blocks of one forward pass share. mask: already restricted by the method. rotate: of queries and keys.

    dropout: of what blocks add; attention_dropout: of elements of P; layer_dropout: of whole blocks.
    """

    method: Method
    buffers: Tensors
    mask: Mask
    rotate: Callable[[Tensor], Tensor] | None
    mode: Mode
    dropout: Dropout
    attention_dropout: Dropout
    layer_dropout: Dropout


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A stack of blocks.

    norm_placement: as bench.models.norms has them; deepnorm: norm(a x + f(x)) with a = (2 layers)^(1/4), values,
    outputs and MLPs starting at (8 layers)^(-1/4) times their deviation (Wang et al. 2022, Fig. 2, of one stack).
    initialisation: gpt2 (std 0.02, divided by sqrt(2 layers) where a block adds to the residual stream), fan_in (std
    1/sqrt(inputs)) or xavier (normal, std sqrt(2 / (inputs + outputs)); Glorot & Bengio 2010). deepnorm: its factor on
    the residual stream and on the deviations, None for those of one stack. stack: what names of its layers begin with.
    dropout: the rate on embeddings and on what blocks add to the residual stream; attention_dropout:
    that on elements of P; layer_dropout: that of whole blocks, at which tokens pass as they came (Fan et al. 2020,
    LayerDrop). checkpointing: blocks are computed again in the backward pass instead of kept.
    """

    num_layers: int
    num_tokens: int
    width: int
    num_heads: int
    mlp_width: int
    mlp: Literal["gelu", "relu", "swiglu"]
    norm: NormKind
    norm_placement: NormPlacement
    norm_eps: float
    positions: Literal["learned", "rotary", "sincos_2d", "sinusoidal", "none"]
    has_biases: bool
    initialisation: Literal["gpt2", "fan_in", "xavier"]
    is_causal: bool
    dropout: float
    attention_dropout: float
    checkpointing: bool
    deepnorm: tuple[float, float] | None = None
    stack: str = "layers"
    layer_dropout: float = 0.0

    @property
    def heads(self) -> Heads:
        return Heads(num_heads=self.num_heads, width=self.width // self.num_heads, num_keys=self.num_tokens)

    def std(self, num_inputs: int, num_outputs: int | None = None, *, adds_to_residual: bool = False) -> float:
        """Standard deviation at which a weight starts; without outputs, such as an embedding's, that of its inputs."""
        if self.initialisation == "xavier" and num_outputs is not None:
            return (2 / (num_inputs + num_outputs)) ** 0.5
        if self.initialisation in ("fan_in", "xavier"):
            return num_inputs**-0.5
        return 0.02 / (2 * self.num_layers) ** 0.5 if adds_to_residual else 0.02

    @property
    def layers(self) -> tuple[Layer, ...]:
        """One for each block, from the input on."""
        return layers_of(self.stack, self.num_layers)

    @property
    def last_norm(self) -> str:
        """The prefix of the norm behind the last block, which is there where norms come first in a block."""
        return "norm." if self.stack == "layers" else f"{self.stack}.norm."

    def projections(self, method: Method, layer: Layer) -> dict[str, Projection]:
        """A block's projections by role."""
        shapes = dict.fromkeys((*roles_read(method), "output"), (self.width, self.width))
        if layer.stack == self.stack:
            shapes["mlp_in"] = (self.width, self.mlp_width)
            if self.mlp == "swiglu":
                shapes["mlp_gate"] = (self.width, self.mlp_width)
            shapes["mlp_out"] = (self.mlp_width, self.width)
        return {
            role: Projection(
                prefix=f"{layer.prefix}{role}.",
                role=role,
                num_inputs=inputs,
                num_outputs=outputs,
                std=self.norms.start(role) * self.std(inputs, outputs, adds_to_residual=role in ("output", "mlp_out")),
                has_bias=self.has_biases,
            )
            for role, (inputs, outputs) in shapes.items()
        }

    @property
    def norms(self) -> Norms:
        return Norms(
            placement=self.norm_placement,
            kind=self.norm,
            eps=self.norm_eps,
            has_bias=self.norm == "layer" and self.has_biases,
            deepnorm_constants=self.deepnorm or ((2 * self.num_layers) ** 0.25, (8 * self.num_layers) ** -0.25),
        )

    def norm_names(self) -> list[str]:
        """Prefixes of all norms."""
        branches = [f"{layer.prefix}norm_{branch}" for layer in self.layers for branch in ("attention", "mlp")]
        names = [name for at in branches for name in self.norms.of_branch(at)]
        return [*names, self.last_norm] if self.norms.has_last else names

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies every weight, not the gains of norms."""
        params: Tensors = {}
        buffers: Tensors = {}
        for layer in self.layers:
            for new in (
                init_projections(method, self.projections(method, layer).values(), draw, init_scale),
                init_method(method, self.heads, draw, layer.prefix, init_scale),
            ):
                params |= new[0]
                buffers |= new[1]
        for prefix in self.norm_names():
            params |= self.norms.init(prefix, self.width, init_scale)
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        return self._refreshed(method, self.layers, params, buffers)

    def _refreshed(self, method: Method, layers: tuple[Layer, ...], params: Tensors, buffers: Tensors) -> Tensors:
        refreshed = dict(buffers)
        for layer in layers:
            projections = self.projections(method, layer).values()
            refreshed |= refresh_projections(method, projections, of_layer(params, layer), of_layer(buffers, layer))
        return refreshed

    def forward(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        h_BTC: Tensor,
        mode: Mode,
        dropout: Dropout,
        is_token_BT: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Output tokens (B, T, C), and what the mode watches of every layer. is_token_BT: False for padding."""
        num_tokens, device = h_BTC.shape[1], h_BTC.device
        if self.is_causal:
            mask = Mask.causal(num_tokens, device, is_token_BT)
        else:
            has_padding = is_token_BT is not None
            mask = Mask.padded(is_token_BT) if has_padding else Mask.full(num_tokens, num_tokens, device)
        shared = self._pass(method, buffers, method.restrict(mask), mode, dropout, h_BTC)
        watched = []
        for layer in self.layers:
            own = of_layer(params, layer)
            block = functools.partial(self._block, shared, layer)
            is_recomputed = self.checkpointing and mode.is_training and mode.profile is None
            h_BTC, of_block = checkpoint(block, h_BTC, own) if is_recomputed else block(h_BTC, own)
            if of_block is not None:
                watched.append(of_block)
        return self.norms.in_front(params, self.last_norm, h_BTC), watched

    def _pass(
        self,
        method: Method,
        buffers: Tensors,
        mask: Mask,
        mode: Mode,
        dropout: Dropout,
        h_BTC: Tensor,
    ) -> Pass:
        """What a stack's first block reads. h: the sequence in which tokens have rotary positions, where the model has
        those."""
        if mode.profile is not None:
            mode.profile.begin()
        is_rotary = self.positions == "rotary"
        return Pass(
            method=method,
            buffers=buffers,
            mask=mask,
            rotate=rotary(h_BTC.shape[1], self.heads.width, ROTARY_BASE, h_BTC.device) if is_rotary else None,
            mode=mode,
            dropout=dropout.with_rate(self.dropout),
            attention_dropout=dropout.with_rate(self.attention_dropout),
            layer_dropout=dropout.with_rate(self.layer_dropout),
        )

    def _block(self, shared: Pass, layer: Layer, h_BTC: Tensor, params: Tensors) -> tuple[Tensor, Tensor | None]:
        """Output tokens of one block, and what the mode watches of its attention."""
        attended_BTC, watched = self._attended(shared, layer, h_BTC, params)
        given_BTC = self._mlp_added(shared, layer, attended_BTC, params)
        return shared.layer_dropout.either(layer.prefix + "block", given_BTC, h_BTC), watched

    def _mlp_added(self, shared: Pass, layer: Layer, h_BTC: Tensor, params: Tensors) -> Tensor:
        """The residual stream with a block's MLP added."""
        at = layer.prefix + "norm_mlp"
        x_BTC = self.norms.in_front(params, f"{at}.", h_BTC)
        added_BTC = self.norms.added(params, at, self._mlp(shared, layer, x_BTC, params))
        return self._summed(shared, params, at, h_BTC, shared.dropout(layer.prefix + "mlp", added_BTC))

    def _attended(
        self, shared: Pass, layer: Layer, h_BTC: Tensor, params: Tensors, memory_BKC: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The residual stream with a layer's attention added, and what the mode watches of it. memory: as in
        project_roles."""
        at = layer.prefix + "norm_attention"
        x_BTC = self.norms.in_front(params, f"{at}.", h_BTC)
        given_BTC, watched = self._attention(shared, layer, x_BTC, params, memory_BKC)
        added_BTC = shared.dropout(layer.prefix + "attention", self.norms.added(params, at, given_BTC))
        return self._summed(shared, params, at, h_BTC, added_BTC), watched

    def _summed(self, shared: Pass, params: Tensors, at: str, h_BTC: Tensor, added_BTC: Tensor) -> Tensor:
        return self.norms.summed(params, at, h_BTC, added_BTC, shared.mode.profile, shared.mask.valid_BQ)

    def _attention(
        self, shared: Pass, layer: Layer, x_BTC: Tensor, params: Tensors, memory_BKC: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What a block's attention adds to the residual stream, and what the mode watches of it."""
        method, projections = shared.method, self.projections(shared.method, layer)
        read = project_roles(method, params, shared.buffers, projections, x_BTC, self.num_heads, memory_BKC)
        by_role = {role: self._split(projected_BTC) for role, projected_BTC in read.items()}
        o_BHTD, watched = attend(
            method,
            by_role["query"],
            by_role["key" if "key" in by_role else "query"],
            by_role["value"],
            shared.mask,
            method_state(params, shared.buffers, layer.prefix),
            shared.mode,
            logit_scale=default_logit_scale(self.heads.width),
            rotate=shared.rotate,
            dropout=shared.attention_dropout,
            stream=layer.prefix + "weights",
        )
        o_BHTD = method.combine(o_BHTD, {role: by_role[role] for role in method.roles})
        o_BTC = o_BHTD.transpose(1, 2).flatten(2)
        return project(method, params, shared.buffers, projections["output"], o_BTC), watched

    def _mlp(self, shared: Pass, layer: Layer, x_BTC: Tensor, params: Tensors) -> Tensor:
        """What a block's MLP adds to the residual stream."""
        projections = self.projections(shared.method, layer)

        def of(role: str, x: Tensor) -> Tensor:
            return project(shared.method, params, shared.buffers, projections[role], x)

        x_BTM = of("mlp_in", x_BTC)
        if self.mlp == "swiglu":
            x_BTM = torch.nn.functional.silu(of("mlp_gate", x_BTC)) * x_BTM
        elif self.mlp == "relu":
            x_BTM = torch.relu(x_BTM)
        else:
            x_BTM = torch.nn.functional.gelu(x_BTM, approximate="tanh")  # as GPT-2's code has it
        return of("mlp_out", x_BTM)

    def _split(self, x_BTC: Tensor) -> Tensor:
        return x_BTC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
