"""Views of images: moved, or cropped and recoloured, as a function of (seed, step), on tensors.

Shapes: N images (leading dimensions of what is drawn), Y rows, X columns, I channels, U random numbers of an image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.randomness import integers

if TYPE_CHECKING:
    from torch import Tensor

NUM_UNIFORM = 2**24  # distinct numbers of what is drawn uniformly: all are float32
NUM_FOR_MOVES, NUM_FOR_CROPS = 4, 11
MAX_ASPECT = 4 / 3  # of crops, and its inverse; as torchvision's RandomResizedCrop has it
# Chen et al. 2020 (SimCLR), App. A; hue and saturation as in the code of Chen et al. 2021 (MoCo v3).
COLOUR_SHARE, GREY_SHARE = 0.8, 0.2
SATURATION, HUE = 0.5, 0.25  # of the strength of brightness and contrast
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue
# From red, green and blue to luma and two axes of colour: the YIQ of NTSC.
YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def uniform(seed: Tensor, stream: str, step: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Float32 in [0, 1), of shape (*broadcast(seed, step).shape, *shape)."""
    return integers(seed, stream, step, shape, NUM_UNIFORM).float() / NUM_UNIFORM


def moved(images_NYXI: Tensor, u_NU: Tensor, *, rotation_degrees: float, max_scale: float, max_shift: float) -> Tensor:
    """Images turned, enlarged or made smaller, and shifted; what comes from outside is 0.

    The angle is uniform to both sides, the scale log-uniform from 1 / max_scale to max_scale, each shift uniform to
    both sides, max_shift a share of the side. u_NU: NUM_FOR_MOVES numbers in [0, 1) of every image.
    """
    turn_N, grow_N, right_N, down_N = (2 * u_NU - 1).unbind(-1)
    angle_N = turn_N * math.radians(rotation_degrees)
    inverse_N = torch.exp(-grow_N * math.log(max_scale))
    cos_N, sin_N = angle_N.cos() * inverse_N, angle_N.sin() * inverse_N
    shift_N2 = 2 * max_shift * torch.stack([right_N, down_N], dim=-1)  # sides are 2 long
    across_N2, along_N2 = torch.stack([cos_N, -sin_N], dim=-1), torch.stack([sin_N, cos_N], dim=-1)
    offset_N2 = -torch.stack([(row_N2 * shift_N2).sum(dim=-1) for row_N2 in (across_N2, along_N2)], dim=-1)
    return _sampled(images_NYXI, across_N2, along_N2, offset_N2, padding="zeros")


def cropped(images_NYXI: Tensor, u_NU: Tensor, *, min_area: float, jitter: float) -> Tensor:
    """Parts of images, enlarged to their size and mirrored as often as not; those of three channels recoloured.

    A part has a share of the area uniform from min_area to 1 and sides whose ratio is log-uniform from 3/4 to 4/3, cut
    where it would reach out. jitter: the most that brightness and contrast change, saturation half and hue a quarter as
    much; 8 in 10 images are recoloured, then 2 in 10 made grey. Pixels are 0 to 1. u_NU: NUM_FOR_CROPS numbers in [0,
    1) of every image. Source: Chen et al. 2020, App. A, without blur, in one order, hue turned in YIQ.
    """
    area_N = min_area + (1 - min_area) * u_NU[..., 0]
    aspect_N = torch.exp((2 * u_NU[..., 1] - 1) * math.log(MAX_ASPECT))
    width_N, height_N = ((area_N * of).sqrt().clamp_max(1) for of in (aspect_N, 1 / aspect_N))
    centre_N2 = (2 * u_NU[..., 2:4] - 1) * (1 - torch.stack([width_N, height_N], dim=-1))
    zero_N = torch.zeros_like(width_N)
    flipped_N = torch.where(u_NU[..., 4] < 0.5, -width_N, width_N)
    across_N2, along_N2 = torch.stack([flipped_N, zero_N], dim=-1), torch.stack([zero_N, height_N], dim=-1)
    parts_NYXI = _sampled(images_NYXI, across_N2, along_N2, centre_N2, padding="border")
    return recoloured(parts_NYXI, u_NU[..., 5:], jitter=jitter)


def recoloured(images_NYXI: Tensor, u_NU: Tensor, *, jitter: float) -> Tensor:
    """Images of pixels in [0, 1] with other brightness and contrast; of three channels saturation and hue, too."""
    bright_N, contrast_N, saturate_N, turn_N = (2 * u_NU[..., :4] - 1).unbind(-1)

    def over(value_N: Tensor) -> Tensor:
        return value_N[..., None, None, None]

    is_coloured = images_NYXI.shape[-1] == len(LUMA)
    x = images_NYXI * (1 + jitter * over(bright_N))
    mean_N111 = (_grey(x) if is_coloured else x).mean(dim=(-3, -2, -1), keepdim=True)
    x = mean_N111 + (x - mean_N111) * (1 + jitter * over(contrast_N))
    if is_coloured:
        grey = _grey(x)
        x = grey + (x - grey) * (1 + SATURATION * jitter * over(saturate_N))
        x = _turned_hue(x, 2 * math.pi * HUE * jitter * turn_N)
    x = torch.where(over(u_NU[..., 4]) < COLOUR_SHARE, x.clamp(0, 1), images_NYXI)
    return torch.where(over(u_NU[..., 5]) < GREY_SHARE, _grey(x).expand_as(x), x) if is_coloured else x


def _grey(images_NYXI: Tensor) -> Tensor:
    weights_I = torch.tensor(LUMA, dtype=images_NYXI.dtype, device=images_NYXI.device)
    return (images_NYXI * weights_I).sum(dim=-1, keepdim=True)


def _turned_hue(images_NYXI: Tensor, angle_N: Tensor) -> Tensor:
    """Colours turned about the axis of greys."""
    to_yiq = torch.tensor(YIQ, dtype=images_NYXI.dtype, device=images_NYXI.device)
    y, i, q = (images_NYXI @ to_yiq.mT).unbind(-1)
    cos, sin = angle_N.cos()[..., None, None], angle_N.sin()[..., None, None]
    return torch.stack([y, cos * i - sin * q, sin * i + cos * q], dim=-1) @ torch.linalg.inv(to_yiq).mT


def _sampled(images_NYXI: Tensor, across_N2: Tensor, along_N2: Tensor, offset_N2: Tensor, *, padding: str) -> Tensor:
    """Images whose pixel at (x, y), each side from -1 to 1, is that at M (x, y) + offset, interpolated linearly.

    The rows of M are across and along.
    """
    num_rows, num_columns, num_channels = images_NYXI.shape[-3:]
    x_X, y_Y1 = _centres(num_columns, images_NYXI), _centres(num_rows, images_NYXI)[:, None]
    places_NYX = [
        row_N2[..., 0, None, None] * x_X + row_N2[..., 1, None, None] * y_Y1 + offset_N2[..., axis, None, None]
        for axis, row_N2 in enumerate((across_N2, along_N2))
    ]
    grid = torch.stack(places_NYX, dim=-1).reshape(-1, num_rows, num_columns, 2)
    flat = images_NYXI.reshape(-1, num_rows, num_columns, num_channels).permute(0, 3, 1, 2)
    sampled = torch.nn.functional.grid_sample(flat, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.permute(0, 2, 3, 1).reshape(images_NYXI.shape)


def _centres(count: int, like: Tensor) -> Tensor:
    """Where the centres of so many pixels lie on a side from -1 to 1."""
    return (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1
