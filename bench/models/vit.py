"""Vision transformers: patches and a class token, a transformer that sees all tokens, a readout of classes.

Shapes: B batch, Y rows, X columns, I channels of an image, P patches, F numbers of a patch, T tokens, C channels, V
classes. Further parameters: `embed.patches.*`, `embed.class_token` (1, C), `embed.positions` (T, C), `readout.*`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors
from bench.models.dropout import Dropout
from bench.models.projections import Projection, init_projections, project, refresh_projections
from bench.models.transformer import Transformer

if TYPE_CHECKING:
    from torch import Tensor

Pool = Literal["class_token", "mean"]
VIT: dict[str, Any] = {
    "mlp": "gelu",
    "norm": "layer",
    "norm_placement": "pre",
    "positions": "learned",
    "has_biases": True,
    "initialisation": "fan_in",
}
# The MLP is four times as wide, as in Dosovitskiy et al. 2021, Table 1. vit_tiny: the width and heads of DeiT-Ti
# (Touvron et al. 2021), half as deep.
PRESETS: dict[str, dict[str, Any]] = {
    "vit_digits": VIT | {"num_layers": 4, "width": 64, "num_heads": 4, "mlp_width": 256, "patch": 2},
    "vit_tiny": VIT | {"num_layers": 6, "width": 192, "num_heads": 3, "mlp_width": 768, "patch": 4},
}
READOUT_STD = 0.02  # 0 in the authors' code, where a lane's init_scale would not reach it


@dataclass(frozen=True, kw_only=True)
class ViT:
    """The model of one preset and its overrides, for images of one shape.

    pool: the readout sees the class token, or the mean of all tokens, which then are the patches alone. The class token
    and positions start as weights of one input: N(0, 1) with fan_in, as large as standardised patches become, or gpt2's
    0.02. The authors' code pairs 0.02 with patches of fan_in; so small, positions are learned late (300 steps on the
    digits, AdamW, lr 3e-3: 91% held-out accuracy, 98% with 1).
    """

    transformer: Transformer
    patch: int
    num_channels: int
    num_classes: int
    pool: Pool

    @property
    def patches(self) -> Projection:
        num_inputs = self.patch**2 * self.num_channels
        return Projection(
            prefix="embed.patches.",
            role="embedding",
            num_inputs=num_inputs,
            num_outputs=self.transformer.width,
            std=self.transformer.std(num_inputs),
            has_bias=self.transformer.has_biases,
        )

    @property
    def readout(self) -> Projection:
        return Projection(
            prefix="readout.",
            role="readout",
            num_inputs=self.transformer.width,
            num_outputs=self.num_classes,
            std=READOUT_STD,
            has_bias=self.transformer.has_biases,
        )

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies the class token and positions too."""
        params, buffers = self.transformer.init(method, draw, init_scale)
        extra = init_projections(method, [self.patches, self.readout], draw, init_scale)
        params |= extra[0]
        buffers |= extra[1]
        width = self.transformer.width
        num_rows = {"embed.class_token": 1} if self.pool == "class_token" else {}
        if self.transformer.positions == "learned":
            num_rows["embed.positions"] = self.transformer.num_tokens
        for name, count in num_rows.items():
            params[name] = draw(name, (count, width)) * (init_scale * self.transformer.std(1))
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        buffers = self.transformer.refresh(method, params, buffers)
        return refresh_projections(method, [self.patches, self.readout], params, buffers)

    def forward(
        self, method: Method, params: Tensors, buffers: Tensors, images_BYXI: Tensor, mode: Mode, dropout: Dropout
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of the classes (B, V), and what the mode watches of every layer."""
        x_BPF = patches_of(images_BYXI, self.patch)
        # Autocast's product is narrower; the residual stream is not.
        h_BTC = project(method, params, buffers, self.patches, x_BPF).to(x_BPF.dtype)
        if self.pool == "class_token":
            class_token_B1C = params["embed.class_token"].expand(h_BTC.shape[0], 1, -1)
            h_BTC = torch.cat([class_token_B1C, h_BTC], dim=1)
        if self.transformer.positions == "learned":
            h_BTC = h_BTC + params["embed.positions"]
        h_BTC = dropout.with_rate(self.transformer.dropout)("embed", h_BTC)
        h_BTC, watched = self.transformer.forward(method, params, buffers, h_BTC, mode, dropout)
        pooled_BC = h_BTC[:, 0] if self.pool == "class_token" else h_BTC.mean(dim=1)
        return project(method, params, buffers, self.readout, pooled_BC), watched


def patches_of(images_BYXI: Tensor, patch: int) -> Tensor:
    """(B, P, F): patches row by row, within each its pixels row by row, within each pixel its channels."""
    blocks_BYyXxI = images_BYXI.unflatten(2, (-1, patch)).unflatten(1, (-1, patch))
    return blocks_BYyXxI.transpose(2, 3).flatten(3).flatten(1, 2)


def vit(
    preset: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    pool: Pool,
    norm_eps: float,
    dropout: float,
    attention_dropout: float,
    **overrides: Any,
) -> ViT:
    """A preset with overrides, for images of this shape (Y, X, I); None leaves the preset's value.

    Raises ValueError for a bad combination.
    """
    settings = PRESETS[preset] | {name: value for name, value in overrides.items() if value is not None}
    if overrides.get("width") is not None and overrides.get("mlp_width") is None:
        settings["mlp_width"] = settings["width"] * PRESETS[preset]["mlp_width"] // PRESETS[preset]["width"]
    patch = settings.pop("patch")
    if settings["width"] % settings["num_heads"]:
        raise ValueError(f"width must be a multiple of num_heads, got {settings['width']} and {settings['num_heads']}")
    num_rows, num_columns, num_channels = image_shape
    if num_rows % patch or num_columns % patch:
        raise ValueError(f"patch must divide the sides of the images, got {patch} for {num_rows} x {num_columns}")
    num_patches = (num_rows // patch) * (num_columns // patch)
    transformer = Transformer(
        num_tokens=num_patches + (pool == "class_token"),
        norm_eps=norm_eps,
        is_causal=False,
        dropout=dropout,
        attention_dropout=attention_dropout,
        checkpointing=False,
        **settings,
    )
    return ViT(transformer=transformer, patch=patch, num_channels=num_channels, num_classes=num_classes, pool=pool)
