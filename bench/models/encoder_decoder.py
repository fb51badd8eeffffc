"""Encoder-decoders: a padded encoder, and a causal decoder whose blocks attend to what the encoder gave.

Shapes: B batch, W source tokens, U target tokens, C channels, V vocabulary. Layers of attention are `encoder.L`,
`decoder.L` and `cross.L`, in this order. Further parameters: `embed.tokens` (V, C), or `embed.source` and
`embed.target` where embeddings are apart, with `readout.*`; learned positions `embed.source_positions` (W, C) and
`embed.target_positions` (U, C).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.lazy import torch
from bench.methods.base import Heads, Method
from bench.methods.linear import Draw
from bench.methods.mask import Mask
from bench.models.attention import Mode, Tensors, init_method
from bench.models.dropout import Dropout
from bench.models.presets import with_overrides
from bench.models.projections import Projection, init_projections, of_layer, project, refresh_projections
from bench.models.transformer import Transformer
from bench.optimizers.layers import Layer, layers_of

if TYPE_CHECKING:
    from torch import Tensor

Side = Literal["source", "target"]
SINUSOIDAL_BASE = 10_000.0
VASWANI: dict[str, Any] = {
    "mlp": "relu",
    "norm": "layer",
    "norm_placement": "post",
    "positions": "sinusoidal",
    "has_biases": True,
    "initialisation": "xavier",
    "ties_embeddings": True,
}
# Layers of each side. vaswani_base: the base model of Vaswani et al. 2017, Table 3.
PRESETS: dict[str, dict[str, Any]] = {
    "vaswani_1m": VASWANI | {"num_layers": 2, "width": 128, "num_heads": 4, "mlp_width": 512},
    "vaswani_6m": VASWANI | {"num_layers": 3, "width": 256, "num_heads": 4, "mlp_width": 1024},
    "vaswani_base": VASWANI | {"num_layers": 6, "width": 512, "num_heads": 8, "mlp_width": 2048},
}


@dataclass(frozen=True, kw_only=True)
class CrossTransformer(Transformer):
    """A stack whose blocks attend to a memory between their own attention and their MLP.

    num_memory_tokens: of the longest memory. A layer of cross-attention has projections, a norm and what the method
    adds, as any other, under the name of `cross_stack`; its keys and values come from the memory, and no positions are
    rotated into it.
    """

    num_memory_tokens: int
    cross_stack: str = "cross"

    @property
    def cross_layers(self) -> tuple[Layer, ...]:
        """One for each block."""
        return layers_of(self.cross_stack, self.num_layers)

    @property
    def cross_heads(self) -> Heads:
        return replace(self.heads, num_keys=self.num_memory_tokens)

    def norm_names(self) -> list[str]:
        branches = [f"{layer.prefix}norm_attention" for layer in self.cross_layers]
        return [*super().norm_names(), *(name for at in branches for name in self.norms.of_branch(at))]

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        params, buffers = super().init(method, draw, init_scale)
        for layer in self.cross_layers:
            for new in (
                init_projections(method, self.projections(method, layer).values(), draw, init_scale),
                init_method(method, self.cross_heads, draw, layer.prefix, init_scale),
            ):
                params |= new[0]
                buffers |= new[1]
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        return self._refreshed(method, (*self.layers, *self.cross_layers), params, buffers)

    def forward_with_memory(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        h_BUC: Tensor,
        memory_BWC: Tensor,
        masks: tuple[Mask, Mask],
        mode: Mode,
        dropout: Dropout,
    ) -> tuple[Tensor, list[Tensor]]:
        """Output tokens (B, U, C), and what the mode watches: of the blocks' own attention, then of cross-attention.

        masks: of the blocks' own attention, and of cross-attention, where a method that says so is plain softmax.
        """
        own, cross = masks
        shared = self._pass(method, buffers, method.restrict(own), mode, dropout, h_BUC)
        of_memory = replace(shared, mask=cross if method.in_cross == "softmax" else method.restrict(cross), rotate=None)
        watched: tuple[list[Tensor], list[Tensor]] = ([], [])
        for layer, cross_layer in zip(self.layers, self.cross_layers, strict=True):
            own_params, cross_params = of_layer(params, layer), of_layer(params, cross_layer)
            attended_BUC, of_own = self._attended(shared, layer, h_BUC, own_params)
            attended_BUC, of_cross = self._attended(of_memory, cross_layer, attended_BUC, cross_params, memory_BWC)
            given_BUC = self._mlp_added(shared, layer, attended_BUC, own_params)
            h_BUC = shared.layer_dropout.either(layer.prefix + "block", given_BUC, h_BUC)
            if of_own is not None and of_cross is not None:
                watched[0].append(of_own)
                watched[1].append(of_cross)
        return self.norms.in_front(params, self.last_norm, h_BUC), [*watched[0], *watched[1]]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoder:
    """The model of one preset and its overrides; one vocabulary for both sides.

    Embeddings are multiplied by sqrt(C); ties_embeddings: one matrix for sources, targets and the readout (Press & Wolf
    2017; Vaswani et al. 2017, Sec. 3.4).
    """

    encoder: Transformer
    decoder: CrossTransformer
    vocabulary_size: int
    ties_embeddings: bool

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of attention, in the order in which they are watched."""
        return (*self.encoder.layers, *self.decoder.layers, *self.decoder.cross_layers)

    @property
    def readout(self) -> Projection:
        width = self.encoder.width
        return Projection(
            prefix="readout.",
            role="readout",
            num_inputs=width,
            num_outputs=self.vocabulary_size,
            std=self.encoder.std(width),
        )

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies embeddings too."""
        width = self.encoder.width
        std = init_scale * self.encoder.std(width)
        params, buffers = self.encoder.init(method, draw, init_scale)
        extra = [self.decoder.init(method, draw, init_scale)]
        if not self.ties_embeddings:
            extra.append(init_projections(method, [self.readout], draw, init_scale))
        for new in extra:
            params |= new[0]
            buffers |= new[1]
        names: tuple[str, ...] = ("embed.tokens",) if self.ties_embeddings else ("embed.source", "embed.target")
        shapes: dict[str, tuple[int, int]] = dict.fromkeys(names, (self.vocabulary_size, width))
        if self.encoder.positions == "learned":
            shapes["embed.source_positions"] = (self.encoder.num_tokens, width)
            shapes["embed.target_positions"] = (self.decoder.num_tokens, width)
        return params | {name: draw(name, shape) * std for name, shape in shapes.items()}, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        buffers = self.decoder.refresh(method, params, self.encoder.refresh(method, params, buffers))
        return buffers if self.ties_embeddings else refresh_projections(method, [self.readout], params, buffers)

    def encode(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        source_BW: Tensor,
        is_source_BW: Tensor,
        mode: Mode,
        dropout: Dropout,
    ) -> tuple[Tensor, list[Tensor]]:
        """The memory (B, W, C), and what the mode watches of the encoder. is_source: False for padding."""
        h_BWC = self._embedded(params, "source", source_BW, dropout)
        return self.encoder.forward(method, params, buffers, h_BWC, mode, dropout, is_source_BW)

    def decode(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        target_BU: Tensor,
        is_target_BU: Tensor | None,
        memory: tuple[Tensor, Tensor],
        mode: Mode,
        dropout: Dropout,
    ) -> tuple[Tensor, list[Tensor]]:
        """Output tokens (B, U, C), for `logits`, and what the mode watches of the decoder.

        is_target: False for padding, which comes last; None: all are tokens. memory: (B, W, C), and which are tokens.
        """
        memory_BWC, is_source_BW = memory
        num_targets = target_BU.shape[1]
        masks = (
            Mask.causal(num_targets, target_BU.device, is_target_BU),
            Mask.padded(is_source_BW, is_target_BU, num_queries=num_targets if is_target_BU is None else None),
        )
        h_BUC = self._embedded(params, "target", target_BU, dropout)
        return self.decoder.forward_with_memory(method, params, buffers, h_BUC, memory_BWC, masks, mode, dropout)

    def logits(self, method: Method, params: Tensors, buffers: Tensors, h: Tensor) -> Tensor:
        """Logits of the next token (..., V) of output tokens (..., C)."""
        if self.ties_embeddings:
            return h @ params["embed.tokens"].mT
        return project(method, params, buffers, self.readout, h)

    def _embedded(self, params: Tensors, side: Side, tokens_BT: Tensor, dropout: Dropout) -> Tensor:
        table_VC = params["embed.tokens" if self.ties_embeddings else f"embed.{side}"]
        h_BTC = torch.nn.functional.embedding(tokens_BT, table_VC) * self.encoder.width**0.5
        num_tokens = tokens_BT.shape[1]
        if self.encoder.positions == "learned":
            h_BTC = h_BTC + params[f"embed.{side}_positions"][:num_tokens] * self.encoder.width**0.5
        elif self.encoder.positions == "sinusoidal":
            h_BTC = h_BTC + sinusoidal(num_tokens, self.encoder.width, h_BTC)
        return dropout.with_rate(self.encoder.dropout)(f"embed.{side}", h_BTC)


def sinusoidal(num_tokens: int, width: int, like: Tensor) -> Tensor:
    """Fixed positions (T, C): sines of all frequencies, then their cosines.

    Source: Vaswani et al. 2017, Sec. 3.5, where sines and cosines take turns; one after the other in their code, as
    here, which is the same model with its channels in another order.
    """
    exponent_F = torch.arange(width // 2, device=like.device, dtype=like.dtype) / (width // 2)
    angle_TF = torch.arange(num_tokens, device=like.device, dtype=like.dtype)[:, None] * SINUSOIDAL_BASE**-exponent_F
    return torch.cat([angle_TF.sin(), angle_TF.cos()], dim=-1)


def deepnorm_constants(num_encoder: int, num_decoder: int, *, code: bool) -> tuple[tuple[float, float], ...]:
    """DeepNorm's (alpha, beta) of the encoder's and the decoder's layers.

    Source: Wang et al. 2022, Fig. 2: 0.81 (N^4 M)^(1/16) and 0.87 (N^4 M)^(-1/16); (3M)^(1/4) and (12M)^(-1/4). code:
    their torchscale divides the encoder's weights by (N^4 M)^(1/16) / 1.15 instead, 1.32 times the paper's beta.
    """
    size = (num_encoder**4 * num_decoder) ** (1 / 16)
    of_encoder = (0.81 * size, (1.15 if code else 0.87) / size)
    return of_encoder, ((3 * num_decoder) ** 0.25, (12 * num_decoder) ** -0.25)


def encoder_decoder(
    preset: str,
    *,
    vocabulary_size: int,
    source_tokens: int,
    target_tokens: int,
    norm_eps: float,
    dropout: float,
    attention_dropout: float,
    layer_dropout: float,
    **overrides: Any,
) -> EncoderDecoder:
    """A preset with overrides; one that is None leaves the preset's value. Raises ValueError for a bad combination."""
    settings = with_overrides(PRESETS[preset], overrides)
    ties_embeddings, placement = settings.pop("ties_embeddings"), settings["norm_placement"]
    num_layers = settings["num_layers"]
    constants: tuple[tuple[float, float] | None, ...] = (None, None)
    if placement.startswith("deepnorm"):
        settings["norm_placement"] = "deepnorm"
        constants = deepnorm_constants(num_layers, num_layers, code=placement == "deepnorm_torchscale")
    common = settings | {
        "norm_eps": norm_eps,
        "dropout": dropout,
        "attention_dropout": attention_dropout,
        "layer_dropout": layer_dropout,
        "checkpointing": False,
    }
    encoder = Transformer(**common, num_tokens=source_tokens, is_causal=False, stack="encoder", deepnorm=constants[0])
    decoder = CrossTransformer(
        **common,
        num_tokens=target_tokens,
        num_memory_tokens=source_tokens,
        is_causal=True,
        stack="decoder",
        deepnorm=constants[1],
    )
    return EncoderDecoder(
        encoder=encoder, decoder=decoder, vocabulary_size=vocabulary_size, ties_embeddings=ties_embeddings
    )
