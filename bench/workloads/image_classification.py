"""Image classification by a vision transformer.

Each step draws training images at random, with replacement, as a function of (seed, step); nothing is augmented.
Shapes: T steps, S seeds, B batch, Y rows, X columns, I channels of an image, E batches of held-out images, V classes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

from bench.data.images import Images, open_images
from bench.errors import UsageError
from bench.lazy import torch
from bench.methods.base import Heads, MaskKind, Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors
from bench.models.classify import cross_entropy, measures
from bench.models.transformer import limit_projections
from bench.models.vit import PRESETS, Pool, ViT, vit
from bench.randomness import Dropout, integers
from bench.workloads.base import Forward, Workload

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

Split = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Workload):
    """Cross entropy of the class in nats, mean over the batch.

    images: "digits" (1,797 of 8 x 8, with scikit-learn), "mnist_5000" (28 x 28, the extra `images`), or the folder of
    CIFAR-10. Each channel is scaled to mean 0 and standard deviation 1 over the training images. model: a preset of
    bench.models.vit; the settings after it replace the preset's where given. pool: the readout sees the class token, or
    the mean of the patches. precision: bfloat16 is autocast with float32 weights. Held out: every image that the data
    set holds out, in the fewest equal batches of at most `eval_batch_size`, every `eval_every_steps` and at the end;
    where they are no multiple of the number of batches, the last few are left out. Attention is observed on the first
    `probe_examples` of a batch.
    """

    source = "ViT: Dosovitskiy et al. 2021"

    images: str = "digits"
    model: Literal["vit_digits", "vit_tiny"] = "vit_digits"
    batch_size: Annotated[int, Ge(1)] = 64
    depth: Annotated[int, Ge(1)] | None = None
    width: Annotated[int, Ge(2)] | None = None
    num_heads: Annotated[int, Ge(1)] | None = None
    mlp: Literal["gelu", "swiglu"] | None = None
    mlp_width: Annotated[int, Ge(1)] | None = None
    norm: Literal["layer", "rms"] | None = None
    norm_placement: Literal["pre", "post", "none"] | None = None
    positions: Literal["learned", "none"] | None = None
    has_biases: bool | None = None
    initialisation: Literal["gpt2", "fan_in"] | None = None
    patch: Annotated[int, Ge(1)] | None = None
    pool: Pool = "class_token"
    norm_eps: Annotated[float, Ge(0)] = 1e-6  # as in the authors' code
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    eval_every_steps: Annotated[int, Ge(1)] = 200
    eval_batch_size: Annotated[int, Ge(1)] = 500
    probe_examples: Annotated[int, Ge(1)] = 16

    def __post_init__(self) -> None:
        patch = PRESETS[self.model]["patch"] if self.patch is None else self.patch
        self._vit((patch, patch, 1), num_classes=2)

    @property
    def num_layers(self) -> int:
        return self.depth or PRESETS[self.model]["num_layers"]

    @property
    def num_keys(self) -> int:
        return self.vit.transformer.num_tokens

    @property
    def eval_every(self) -> int | None:
        return self.eval_every_steps

    @property
    def attention(self) -> tuple[Heads, MaskKind]:
        return self.vit.transformer.heads, "full"

    @property
    def vit(self) -> ViT:
        images = _open(self.images)
        num_rows, num_columns, num_channels = images.train_images.shape[1:]
        return self._vit((num_rows, num_columns, num_channels), num_classes=images.num_classes)

    def data_digest(self) -> str:
        try:
            self.vit  # noqa: B018  (does the patch fit the images?)
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

    def probe_batch(self, batch: Tensors) -> Tensors:
        return {name: tensor[: self.probe_examples] for name, tensor in batch.items()}

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        return self.vit.init(method, draw, init_scale)

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        return self.vit.refresh(method, params, buffers)

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        logits_BV, watched = self._forward(method, params, buffers, batch, mode)
        loss, _ = cross_entropy(logits_BV, batch["labels"])
        return Forward(loss=loss, objective=loss, watched=watched)

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        return measures(self._forward(method, params, buffers, batch, mode)[0], batch["labels"])

    def limit(self, method: Method, params: Tensors, max_logits: list[Tensor]) -> Tensors:
        return limit_projections(method, params, max_logits)

    def _forward(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensor, list[Tensor]]:
        images_BYXI = batch["images"]
        seed = buffers["seed"] if mode.is_training else None
        dropout = Dropout(rate=self.dropout, seed=seed, step=buffers["draw"])
        is_mixed = self.precision == "bfloat16"
        with torch.autocast(images_BYXI.device.type, dtype=torch.bfloat16, enabled=is_mixed, cache_enabled=False):
            return self.vit.forward(method, params, buffers, images_BYXI, mode, dropout)

    def _vit(self, image_shape: tuple[int, int, int], *, num_classes: int) -> ViT:
        return vit(
            self.model,
            image_shape=image_shape,
            num_classes=num_classes,
            patch=self.patch,
            pool=self.pool,
            norm_eps=self.norm_eps,
            dropout=self.dropout,
            num_layers=self.depth,
            width=self.width,
            num_heads=self.num_heads,
            mlp=self.mlp,
            mlp_width=self.mlp_width,
            norm=self.norm,
            norm_placement=self.norm_placement,
            positions=self.positions,
            has_biases=self.has_biases,
            initialisation=self.initialisation,
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
