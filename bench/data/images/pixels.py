"""Images as tensors: pixels and labels by index, on any device, and their scale.

Shapes: Y rows, X columns, I channels of an image.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

from bench.data.images.labelled import Images, open_images
from bench.lazy import torch

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

Split = Literal["train", "val", "unlabelled"]
MAX_ON_DEVICE = 2**30  # bytes of a split that is kept where it is used
NUM_SCALED = 10_000  # images of which the sums of pixels are computed at a time


@functools.cache
def opened(images: str) -> Images:
    """The images of a name or path, read once."""
    return open_images(images)


def pixels(images: str, split: Split, index: Tensor) -> Tensor:
    """(..., Y, X, I) uint8 at an index (...), on its device."""
    array = _array(images, split)
    if array.nbytes <= MAX_ON_DEVICE:
        return _on_device(images, split, str(index.device))[index]
    import numpy

    gathered = numpy.ascontiguousarray(array[index.cpu().numpy()])
    return torch.from_numpy(gathered).to(index.device)


def labels(images: str, split: Literal["train", "val"], index: Tensor) -> Tensor:
    """Classes (...) int64 at an index (...), on its device."""
    return torch.from_numpy(getattr(opened(images), f"{split}_labels")).to(index.device)[index]


def standardised(images: str, values: Tensor) -> Tensor:
    """Values (..., I) on the scale of pixels, 0 to 255, with mean 0 and standard deviation 1 over the training images.

    The statistics are each channel's own.
    """
    mean_I, std_I = (statistic.to(values.device) for statistic in _statistics(images))
    return (values.float() - mean_I) / std_I


def _array(images: str, split: Split) -> numpy.ndarray:
    array = getattr(opened(images), f"{split}_images")
    assert array is not None, f"{images} has no {split} images"
    return array


@functools.cache
def _on_device(images: str, split: Split, device: str) -> Tensor:
    import numpy

    array = _array(images, split)
    if not (array.flags.writeable and array.flags.c_contiguous):  # a file that is mapped
        array = numpy.array(array, order="C")
    return torch.from_numpy(array).to(device)


@functools.cache
def _statistics(images: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the labelled training pixels, (I,) float32."""
    import numpy

    array = _array(images, "train")
    num_pixels = array[..., 0].size
    # Sums of whole numbers are the same on every machine, whatever the order in which threads add.
    total_I = numpy.zeros(array.shape[-1], dtype=numpy.int64)
    squares_I = numpy.zeros_like(total_I)
    for first in range(0, len(array), NUM_SCALED):
        part = array[first : first + NUM_SCALED]
        total_I += part.sum(axis=(0, 1, 2), dtype="int64")
        squares_I += (part.astype("uint16") ** 2).sum(axis=(0, 1, 2), dtype="int64")
    mean_I = total_I / num_pixels
    variance_I = squares_I / num_pixels - mean_I**2
    # At least one grey level: a channel that never varies becomes 0.
    return torch.from_numpy(mean_I).float(), torch.from_numpy(variance_I).clamp_min(1).sqrt().float()
