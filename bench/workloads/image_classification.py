"""Image classification by a vision transformer.

Each step draws training images at random, with replacement, as a function of (seed, step); nothing is augmented.
Shapes: T steps, S seeds, B batch, Y rows, X columns, I channels of an image, E batches of held-out images, V classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from bench.data.images.labelled import IMAGES
from bench.data.images.pixels import labels, opened, pixels, standardised
from bench.errors import UsageError
from bench.lazy import torch
from bench.models.attention import Tensors
from bench.models.vit import PRESETS, Pool, ViT, vit
from bench.randomness import integers
from bench.workloads.classifier import Classifier

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Classifier):
    """Cross entropy of the class in nats, mean over the batch.

    images: "digits" (1,797 of 8 x 8, with scikit-learn), "mnist_5000" (28 x 28, the extra `images`), or the folder of
    CIFAR-10 or STL-10. Each channel is scaled to mean 0 and standard deviation 1 over the training images. model: a
    preset of bench.models.vit, whose settings others of the same names replace. pool: the readout sees the class token,
    or the mean of the patches. Held out: every image that the data set holds out, in the fewest equal batches of at
    most `eval_batch_size`; where they are no multiple of the number of batches, the last few are left out.
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
        images = opened(self.images)
        num_rows, num_columns, num_channels = images.train_images.shape[1:]
        return self._vit((num_rows, num_columns, num_channels), num_classes=images.num_classes)

    def data_digest(self) -> str:
        try:
            self.network  # noqa: B018  (does the patch fit the images?)
        except ValueError as error:
            raise UsageError(f"images {self.images!r}: {error}") from error
        return opened(self.images).digest

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"images": (T, S, B, Y, X, I) float32, "labels": (T, S, B) int64}."""
        num_images = len(opened(self.images).train_labels)
        index_TSB = integers(seeds_S, "data.images", steps_T[:, None], (self.batch_size,), num_images)
        return self._examples("train", index_TSB)

    def held_out(self, device: torch.device) -> Tensors:
        """{"images": (E, B, Y, X, I) float32, "labels": (E, B) int64}."""
        num_images = len(opened(self.images).val_labels)
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
        images = standardised(self.images, pixels(self.images, split, index))
        return {"images": images, "labels": labels(self.images, split, index)}
