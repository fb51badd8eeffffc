"""Encoders of speech for CTC: a convolution over frames of features, a transformer over whole utterances, a readout.

Shapes: B batch, F frames of features, N bands, T frames of the encoder, C channels, V symbols. Further parameters:
`embed.frames.*` (window x bands, 2 C), `embed.positions` (T, C) where they are learned, `readout.*`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors
from bench.models.dropout import Dropout
from bench.models.encoder_decoder import sinusoidal
from bench.models.presets import with_overrides
from bench.models.projections import Projection, init_projections, project, refresh_projections
from bench.models.transformer import Transformer

if TYPE_CHECKING:
    from torch import Tensor

CTC: dict[str, Any] = {
    "mlp": "relu",
    "norm": "layer",
    "norm_placement": "post",
    "positions": "sinusoidal",
    "has_biases": True,
    "initialisation": "fan_in",
}
# A window of 7 frames each 3, a gated linear unit after it, and 36 blocks of 768 with ReLU: the encoder of Zhai et al.
# 2023 by their code (speech/), which moves sinusoidal positions at random (CAPE). Others are smaller ones of its kind.
PRESETS: dict[str, dict[str, Any]] = {
    "ctc_100k": CTC | {"num_layers": 2, "width": 64, "num_heads": 4, "mlp_width": 256},
    "ctc_1m": CTC | {"num_layers": 6, "width": 128, "num_heads": 4, "mlp_width": 512},
    "ctc_255m": CTC | {"num_layers": 36, "width": 768, "num_heads": 4, "mlp_width": 3072, "has_biases": False},
}


@dataclass(frozen=True, kw_only=True)
class SpeechEncoder:
    """The model of one preset and its overrides.

    window: frames that the convolution sees, centred at every `stride`-th frame; its outputs pass a gated linear unit.
    As a matrix (window x bands, 2 C) it is what a method reparametrises as any other.
    """

    transformer: Transformer
    window: int
    stride: int
    num_bands: int
    num_symbols: int

    @property
    def convolution(self) -> Projection:
        num_inputs = self.window * self.num_bands
        return Projection(
            prefix="embed.frames.",
            role="embedding",
            num_inputs=num_inputs,
            num_outputs=2 * self.transformer.width,
            std=self.transformer.std(num_inputs),
            has_bias=self.transformer.has_biases,
        )

    @property
    def readout(self) -> Projection:
        width = self.transformer.width
        return Projection(
            prefix="readout.",
            role="readout",
            num_inputs=width,
            num_outputs=self.num_symbols,
            std=self.transformer.std(width),
            has_bias=self.transformer.has_biases,
        )

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies positions too."""
        params, buffers = self.transformer.init(method, draw, init_scale)
        extra = init_projections(method, [self.convolution, self.readout], draw, init_scale)
        params |= extra[0]
        buffers |= extra[1]
        if self.transformer.positions == "learned":
            shape = (self.transformer.num_tokens, self.transformer.width)
            params["embed.positions"] = draw("embed.positions", shape) * (init_scale * self.transformer.std(1))
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        buffers = self.transformer.refresh(method, params, buffers)
        return refresh_projections(method, [self.convolution, self.readout], params, buffers)

    def forward(
        self,
        method: Method,
        params: Tensors,
        buffers: Tensors,
        frames_BFN: Tensor,
        num_frames_B: Tensor,
        mode: Mode,
        dropout: Dropout,
    ) -> tuple[Tensor, list[Tensor]]:
        """Scores of the symbols (B, T, V), and what the mode watches of every layer.

        num_frames_B: of features that each utterance has; what lies beyond is 0, and no frame sees it.
        """
        windows_BTX = windows_of(frames_BFN, self.window, self.stride)
        # Autocast's product is narrower; the residual stream is not.
        gated_BTX = project(method, params, buffers, self.convolution, windows_BTX).to(frames_BFN.dtype)
        h_BTC = torch.nn.functional.glu(gated_BTX, dim=-1)
        if self.transformer.positions == "learned":
            h_BTC = h_BTC + params["embed.positions"][: h_BTC.shape[1]]
        elif self.transformer.positions == "sinusoidal":
            h_BTC = h_BTC + sinusoidal(h_BTC.shape[1], self.transformer.width, h_BTC)
        h_BTC = dropout.with_rate(self.transformer.dropout)("embed", h_BTC)
        num_tokens_B1 = num_encoded(num_frames_B, self.stride)[:, None]
        is_token_BT = torch.arange(h_BTC.shape[1], device=h_BTC.device) < num_tokens_B1
        h_BTC, watched = self.transformer.forward(method, params, buffers, h_BTC, mode, dropout, is_token_BT)
        return project(method, params, buffers, self.readout, h_BTC), watched


def num_encoded(num_frames: Any, stride: int) -> Any:
    """Frames of the encoder for so many of features; of numbers and of tensors."""
    return (num_frames + stride - 1) // stride


def windows_of(frames_BFN: Tensor, window: int, stride: int) -> Tensor:
    """(B, T, window x N): the frames around every `stride`-th, one after the other; 0 beyond the ends."""
    num_frames, device = frames_BFN.shape[1], frames_BFN.device
    padded_BFN = torch.nn.functional.pad(frames_BFN, (0, 0, window // 2, window // 2))
    first_T1 = stride * torch.arange(num_encoded(num_frames, stride), device=device)[:, None]
    return padded_BFN[:, first_T1 + torch.arange(window, device=device)].flatten(2)


def speech_encoder(
    preset: str,
    *,
    window: int,
    stride: int,
    num_frames: int,
    num_bands: int,
    num_symbols: int,
    norm_eps: float,
    dropout: float,
    attention_dropout: float,
    layer_dropout: float,
    **overrides: Any,
) -> SpeechEncoder:
    """A preset with overrides, for utterances of at most `num_frames`; None leaves the preset's value.

    Raises ValueError for a bad combination.
    """
    settings = with_overrides(PRESETS[preset], overrides)
    if window % 2 == 0:
        raise ValueError(f"window must be odd, so that it has a centre, got {window}")
    transformer = Transformer(
        num_tokens=num_encoded(num_frames, stride),
        norm_eps=norm_eps,
        is_causal=False,
        dropout=dropout,
        attention_dropout=attention_dropout,
        layer_dropout=layer_dropout,
        checkpointing=False,
        **settings,
    )
    return SpeechEncoder(
        transformer=transformer, window=window, stride=stride, num_bands=num_bands, num_symbols=num_symbols
    )
