"""Decoder language models, GPT-2 and Llama style: token embedding, causal transformer, readout.

Shapes: B batch, T tokens, C channels, V vocabulary. Further parameters: `embed.tokens` (V, C), `embed.positions` (T, C)
where positions are learned, `readout.weight` unless tied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors
from bench.models.dropout import Dropout
from bench.models.presets import with_overrides
from bench.models.projections import Projection, init_projections, project, refresh_projections
from bench.models.transformer import Transformer

if TYPE_CHECKING:
    from torch import Tensor

GPT2: dict[str, Any] = {
    "mlp": "gelu",
    "norm": "layer",
    "norm_placement": "pre",
    "positions": "learned",
    "has_biases": True,
    "initialisation": "gpt2",
    "ties_embeddings": True,
}
LLAMA: dict[str, Any] = {
    "mlp": "swiglu",
    "norm": "rms",
    "norm_placement": "pre",
    "positions": "rotary",
    "has_biases": False,
    "initialisation": "gpt2",
    "ties_embeddings": False,
}
WORTSMAN: dict[str, Any] = {
    "mlp": "gelu",
    "norm": "layer",
    "norm_placement": "pre",
    "positions": "rotary",
    "has_biases": False,
    "initialisation": "fan_in",
    "ties_embeddings": False,
}
# Sizes without embeddings. Wortsman et al. 2023: 3 layers of width 256 and 512; they start from truncated normals, here
# from normals of the same deviation, and their LayerNorm's eps is 1e-6: a suite sets `norm_eps` to it. Llama-1B: the
# shape of Llama 3.2 1B with as many key as query heads (Hong & Lee 2025 do not state theirs).
PRESETS: dict[str, dict[str, Any]] = {
    "gpt_1m": GPT2 | {"num_layers": 6, "width": 128, "num_heads": 4, "mlp_width": 512},
    "gpt_10m": GPT2 | {"num_layers": 6, "width": 384, "num_heads": 6, "mlp_width": 1536},
    "gpt2_124m": GPT2 | {"num_layers": 12, "width": 768, "num_heads": 12, "mlp_width": 3072},
    "wortsman_2m": WORTSMAN | {"num_layers": 3, "width": 256, "num_heads": 4, "mlp_width": 1024},
    "wortsman_10m": WORTSMAN | {"num_layers": 3, "width": 512, "num_heads": 8, "mlp_width": 2048},
    "llama_1m": LLAMA | {"num_layers": 6, "width": 128, "num_heads": 4, "mlp_width": 344},
    "llama_1b": LLAMA | {"num_layers": 16, "width": 2048, "num_heads": 32, "mlp_width": 8192},
}


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """The model of one preset and its overrides."""

    transformer: Transformer
    vocabulary_size: int
    ties_embeddings: bool

    @property
    def readout(self) -> Projection:
        width = self.transformer.width
        return Projection(
            prefix="readout.",
            role="readout",
            num_inputs=width,
            num_outputs=self.vocabulary_size,
            std=self.transformer.std(width),
        )

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies embeddings too."""
        params, buffers = self.transformer.init(method, draw, init_scale)
        width = self.transformer.width
        std = init_scale * self.transformer.std(width)
        params["embed.tokens"] = draw("embed.tokens", (self.vocabulary_size, width)) * std
        if self.transformer.positions == "learned":
            params["embed.positions"] = draw("embed.positions", (self.transformer.num_tokens, width)) * std
        if not self.ties_embeddings:
            extra = init_projections(method, [self.readout], draw, init_scale)
            params |= extra[0]
            buffers |= extra[1]
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        buffers = self.transformer.refresh(method, params, buffers)
        return buffers if self.ties_embeddings else refresh_projections(method, [self.readout], params, buffers)

    def forward(
        self, method: Method, params: Tensors, buffers: Tensors, tokens_BT: Tensor, mode: Mode, dropout: Dropout
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of the next token (B, T, V), and what the mode watches of every layer."""
        h_BTC = torch.nn.functional.embedding(tokens_BT, params["embed.tokens"])
        if self.transformer.positions == "learned":
            h_BTC = h_BTC + params["embed.positions"][: tokens_BT.shape[1]]
        h_BTC = dropout.with_rate(self.transformer.dropout)("embed", h_BTC)
        h_BTC, watched = self.transformer.forward(method, params, buffers, h_BTC, mode, dropout)
        if self.ties_embeddings:
            return h_BTC @ params["embed.tokens"].mT, watched
        return project(method, params, buffers, self.readout, h_BTC), watched


def decoder(
    preset: str,
    *,
    vocabulary_size: int,
    num_tokens: int,
    norm_eps: float,
    dropout: float,
    attention_dropout: float,
    checkpointing: bool,
    **overrides: Any,
) -> Decoder:
    """A preset with overrides; one that is None leaves the preset's value. Raises ValueError for a bad combination."""
    settings = with_overrides(PRESETS[preset], overrides)
    ties_embeddings = settings.pop("ties_embeddings")
    transformer = Transformer(
        num_tokens=num_tokens,
        norm_eps=norm_eps,
        is_causal=True,
        dropout=dropout,
        attention_dropout=attention_dropout,
        checkpointing=checkpointing,
        **settings,
    )
    return Decoder(transformer=transformer, vocabulary_size=vocabulary_size, ties_embeddings=ties_embeddings)
