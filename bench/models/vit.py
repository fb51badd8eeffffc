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
from bench.models.presets import with_overrides
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
SINCOS_BASE = 10_000.0
FROZEN = "frozen."  # what is not trained is among the buffers, under this and the name of the parameter


@dataclass(frozen=True, kw_only=True)
class VisionEncoder:
    """The transformer of one preset and its overrides over the patches of images of one shape.

    pool: the class token, or the mean of all tokens, which then are the patches alone. The class token and positions
    start as weights of one input: N(0, 1) with fan_in, as large as standardised patches become, or gpt2's 0.02. The
    authors' code pairs 0.02 with patches of fan_in; so small, positions are learned late (300 steps on the digits,
    AdamW, lr 3e-3: 91% held-out accuracy, 98% with 1). grid: rows and columns of patches. frozen_patches: the
    projection of patches stays as it starts (Chen et al. 2021, Sec. 4.3).
    """

    transformer: Transformer
    patch: int
    num_channels: int
    grid: tuple[int, int]
    pool: Pool
    frozen_patches: bool = False

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
    def projections(self) -> tuple[Projection, ...]:
        """The projections outside the transformer."""
        return (self.patches,)

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers; init_scale multiplies the class token and positions too."""
        params, buffers = self.transformer.init(method, draw, init_scale)
        extra = init_projections(method, self.projections, draw, init_scale)
        buffers |= extra[1]
        for name, tensor in extra[0].items():
            if self.frozen_patches and name.startswith(self.patches.prefix):
                buffers[FROZEN + name] = tensor
            else:
                params[name] = tensor
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
        return refresh_projections(method, self.projections, _with_frozen(params, buffers), buffers)

    def pooled(
        self, method: Method, params: Tensors, buffers: Tensors, images_BYXI: Tensor, mode: Mode, dropout: Dropout
    ) -> tuple[Tensor, list[Tensor]]:
        """What is read of every image (B, C), and what the mode watches of every layer."""
        x_BPF = patches_of(images_BYXI, self.patch)
        # Autocast's product is narrower; the residual stream is not.
        h_BTC = project(method, _with_frozen(params, buffers), buffers, self.patches, x_BPF).to(x_BPF.dtype)
        if self.pool == "class_token":
            class_token_B1C = params["embed.class_token"].expand(h_BTC.shape[0], 1, -1)
            h_BTC = torch.cat([class_token_B1C, h_BTC], dim=1)
        if self.transformer.positions == "learned":
            h_BTC = h_BTC + params["embed.positions"]
        elif self.transformer.positions == "sincos_2d":
            waves_PC = sincos_2d(self.grid, self.transformer.width, h_BTC)
            # The class token has no place: zeros, as in the code of Chen et al. 2021.
            num_others = self.transformer.num_tokens - len(waves_PC)
            h_BTC = h_BTC + torch.nn.functional.pad(waves_PC, (0, 0, num_others, 0))
        h_BTC = dropout.with_rate(self.transformer.dropout)("embed", h_BTC)
        h_BTC, watched = self.transformer.forward(method, params, buffers, h_BTC, mode, dropout)
        return (h_BTC[:, 0] if self.pool == "class_token" else h_BTC.mean(dim=1)), watched


@dataclass(frozen=True, kw_only=True)
class ViT(VisionEncoder):
    """An encoder of images and a linear readout of `num_classes` classes."""

    num_classes: int

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

    @property
    def projections(self) -> tuple[Projection, ...]:
        return (self.patches, self.readout)

    def forward(
        self, method: Method, params: Tensors, buffers: Tensors, images_BYXI: Tensor, mode: Mode, dropout: Dropout
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of the classes (B, V), and what the mode watches of every layer."""
        pooled_BC, watched = self.pooled(method, params, buffers, images_BYXI, mode, dropout)
        return project(method, params, buffers, self.readout, pooled_BC), watched


def _with_frozen(params: Tensors, buffers: Tensors) -> Tensors:
    frozen = {name.removeprefix(FROZEN): tensor for name, tensor in buffers.items() if name.startswith(FROZEN)}
    return params | frozen


def patches_of(images_BYXI: Tensor, patch: int) -> Tensor:
    """(B, P, F): patches row by row, within each its pixels row by row, within each pixel its channels."""
    blocks_BYyXxI = images_BYXI.unflatten(2, (-1, patch)).unflatten(1, (-1, patch))
    return blocks_BYyXxI.transpose(2, 3).flatten(3).flatten(1, 2)


def sincos_2d(grid: tuple[int, int], width: int, like: Tensor) -> Tensor:
    """Fixed positions (P, C) of a grid of patches: quarters sin and cos of the row, then sin and cos of the column.

    Frequencies fall from 1 by powers of 10,000. Source: build_2d_sincos_position_embedding in the code of Chen et al.
    2021, on square grids.
    """
    num_rows, num_columns = grid
    device, dtype = like.device, like.dtype
    frequency_F = SINCOS_BASE ** (-torch.arange(width // 4, device=device, dtype=dtype) / (width // 4))
    row_P = torch.arange(num_rows, device=device, dtype=dtype).repeat_interleave(num_columns)
    column_P = torch.arange(num_columns, device=device, dtype=dtype).repeat(num_rows)
    angles = (row_P[:, None] * frequency_F, column_P[:, None] * frequency_F)
    return torch.cat([wave for angle_PF in angles for wave in (angle_PF.sin(), angle_PF.cos())], dim=-1)


def vit(preset: str, *, num_classes: int, **settings: Any) -> ViT:
    """A preset with overrides, for images of one shape and so many classes; settings: as `encoder_settings` has them.

    Raises ValueError for a bad combination.
    """
    return ViT(num_classes=num_classes, **encoder_settings(preset, **settings))


def vision_encoder(preset: str, **settings: Any) -> VisionEncoder:
    """A preset with overrides, for images of one shape, without a readout; settings: as `encoder_settings` has them.

    Raises ValueError for a bad combination.
    """
    return VisionEncoder(**encoder_settings(preset, **settings))


def encoder_settings(
    preset: str,
    *,
    image_shape: tuple[int, int, int],
    pool: Pool,
    norm_eps: float,
    dropout: float,
    attention_dropout: float,
    frozen_patches: bool = False,
    **overrides: Any,
) -> dict[str, Any]:
    """Fields of a VisionEncoder: a preset with overrides, for images of this shape (Y, X, I); None leaves the preset's.

    Raises ValueError for a bad combination.
    """
    settings = with_overrides(PRESETS[preset], overrides)
    patch, width = settings.pop("patch"), settings["width"]
    if settings["positions"] == "sincos_2d" and width % 4:
        raise ValueError(f"width must be a multiple of 4 for positions sincos_2d, got {width}")
    num_rows, num_columns, num_channels = image_shape
    if num_rows % patch or num_columns % patch:
        raise ValueError(f"patch must divide the sides of the images, got {patch} for {num_rows} x {num_columns}")
    grid = num_rows // patch, num_columns // patch
    transformer = Transformer(
        num_tokens=grid[0] * grid[1] + (pool == "class_token"),
        norm_eps=norm_eps,
        is_causal=False,
        dropout=dropout,
        attention_dropout=attention_dropout,
        checkpointing=False,
        **settings,
    )
    fields = {"transformer": transformer, "patch": patch, "num_channels": num_channels}
    return fields | {"grid": grid, "pool": pool, "frozen_patches": frozen_patches}
