"""Image classification by a vision transformer.

Each step draws training images at random, with replacement, as a function of (seed, step); nothing is augmented.
Shapes: T steps, S seeds, B batch, Y rows, X columns, I channels of an image, E batches of held-out images, V classes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from bench.data.images import IMAGES, Images, open_images
from bench.errors import UsageError
from bench.lazy import torch
from bench.models.attention import Tensors
from bench.models.vit import PRESETS, Pool, ViT, vit
from bench.randomness import integers
from bench.workloads.classifier import Classifier

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

Split = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Classifier):
    """Cross entropy of the class in nats, mean over the batch.

    images: "digits" (1,797 of 8 x 8, with scikit-learn), "mnist_5000" (28 x 28, the extra `images`), or the folder of
    CIFAR-10. Each channel is scaled to mean 0 and standard deviation 1 over the training images. model: a preset of
    bench.models.vit, whose settings others of the same names replace. pool: the readout sees the class token, or the
    mean of the patches. Held out: every image that the data set holds out, in the fewest equal batches of at most
    `eval_batch_size`; where they are no multiple of the number of batches, the last few are left out.
    """

    title = "image classification"
    source = "ViT: Dosovitskiy et al. 2021"
    sources = ("dosovitskiy2021image",)
    paths = ("images",)
    built_in = tuple(IMAGES)

    images: str = "digits"
    model: Literal["vit_digits", "vit_tiny"] = "vit_digits"
    batch_size: Annotated[int, Ge(1)] = 64
    positions: Literal["learned", "sincos_2d", "none"] | None = None
    patch: Annotated[int, Ge(1)] | None = None
    pool: Pool = "class_token"
    norm_eps: Annotated[float, Ge(0)] = 1e-6  # as in the authors' code
    eval_batch_size: Annotated[int, Ge(1)] = 500
    probe_examples: Annotated[int, Ge(1)] = 16

    def __post_init__(self) -> None:
        patch = PRESETS[self.model]["patch"] if self.patch is None else self.patch
        self._vit((patch, patch, 1), num_classes=2)

    @property
    def network(self) -> ViT:
        images = _open(self.images)
        num_rows, num_columns, num_channels = images.train_images.shape[1:]
        return self._vit((num_rows, num_columns, num_channels), num_classes=images.num_classes)

    def data_digest(self) -> str:
        try:
            self.network  # noqa: B018  (does the patch fit the images?)
        except ValueError as error:
            raise UsageError(f"images {self.images!r}: {error}") from error
        return _open(self.images).digest

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"images": (T, S, B, Y, X, I) float32, "labels": (T, S, B) int64}."""
        num_images = len(_open(self.images).train_labels)
        index_TSB = integers(seeds_S, "data.images", steps_T[:, None], (self.batch_size,), num_images)
        return self._examples("train", index_TSB)

    def held_out(self, device: torch.device) -> Tensors:
        """{"images": (E, B, Y, X, I) float32, "labels": (E, B) int64}."""
        num_images = len(_open(self.images).val_labels)
        num_batches = -(-num_images // self.eval_batch_size)
        batch_size = num_images // num_batches
        index = torch.arange(num_batches * batch_size, device=device)
        return self._examples("val", index.reshape(num_batches, batch_size))

    def example(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        return batch["images"], batch["labels"]

    def _vit(self, image_shape: tuple[int, int, int], *, num_classes: int) -> ViT:
        return vit(
            self.model,
            image_shape=image_shape,
            num_classes=num_classes,
            patch=self.patch,
            pool=self.pool,
            norm_eps=self.norm_eps,
            positions=self.positions,
            **self.overrides,
        )

    def _examples(self, split: Split, index: Tensor) -> Tensors:
        """Images (..., Y, X, I) and labels (...) at an index (...)."""
        images, labels = _on_device(self.images, split, str(index.device))
        mean_I, std_I = (statistic.to(index.device) for statistic in _statistics(self.images))
        return {"images": (images[index].float() - mean_I) / std_I, "labels": labels[index]}


@functools.cache
def _open(images: str) -> Images:
    return open_images(images)


@functools.cache
def _on_device(images: str, split: Split, device: str) -> tuple[Tensor, Tensor]:
    opened = _open(images)
    arrays: tuple[numpy.ndarray, numpy.ndarray] = (
        getattr(opened, f"{split}_images"),
        getattr(opened, f"{split}_labels"),
    )
    pixels, labels = (torch.from_numpy(array).to(device) for array in arrays)
    return pixels, labels


@functools.cache
def _statistics(images: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the training pixels, (I,) float32."""
    pixels = _open(images).train_images
    # Sums of whole numbers are the same on every machine, whatever the order in which threads add.
    total_I = pixels.sum(axis=(0, 1, 2), dtype="int64")
    squares_I = (pixels.astype("uint16") ** 2).sum(axis=(0, 1, 2), dtype="int64")
    num_pixels = pixels[..., 0].size
    mean_I = total_I / num_pixels
    variance_I = squares_I / num_pixels - mean_I**2
    # At least one grey level: a channel that never varies becomes 0.
    return torch.from_numpy(mean_I).float(), torch.from_numpy(variance_I).clamp_min(1).sqrt().float()
