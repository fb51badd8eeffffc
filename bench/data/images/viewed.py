"""Pairs of views of images, a function of (seed, step), and a bank of images by which representations are measured.

Shapes: T steps, S seeds, B batch, Y rows, X columns, I channels of an image, N images of a bank, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.data.images.pixels import Split, labels, opened, pixels, standardised
from bench.data.images.views import NUM_FOR_CROPS, NUM_FOR_MOVES, cropped, moved, uniform
from bench.lazy import torch
from bench.randomness import integers

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]
Views = Literal["moves", "crops"]
MAX_PIXEL = 255
HELD_OUT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class ViewedImages:
    """Images of a name or path, and what their views are: of bench.data.images.views, with its words for how strong."""

    images: str
    views: Views
    rotation_degrees: float
    max_scale: float
    max_shift: float
    min_area: float
    jitter: float

    @property
    def learned(self) -> Split:
        """The split that is learned from: what is unlabelled, where there is any."""
        return "train" if opened(self.images).unlabelled_images is None else "unlabelled"

    def count(self, split: Split) -> int:
        """The number of images of a split."""
        return len(getattr(opened(self.images), f"{split}_images"))

    def batches(self, seeds_S: Tensor, steps_T: Tensor, *, batch_size: int) -> Tensors:
        """{"first", "second": (T, S, B, Y, X, I)}: two views, standardised, of the images of each seed and step."""
        num_images = self.count(self.learned)
        index_TSB = epoch_order(seeds_S, steps_T, batch_size=batch_size, num_images=num_images)
        return self._two_views(self.learned, index_TSB, seeds_S, steps_T[:, None], stream="data")

    def held_out(self, device: torch.device, *, num_pairs: int) -> Tensors:
        """As `batches`, (1, at most num_pairs, ...), of held-out images; always the same."""
        zeros_1 = torch.zeros(1, dtype=torch.int64, device=device)
        index_1B = at_even_distances(self.count("val"), num_pairs, device)[None]
        return self._two_views("val", index_1B, zeros_1 + HELD_OUT_SEED, zeros_1, stream="held_out")

    def bank(self, device: torch.device, *, bank_size: int, num_queries: int) -> Tensors:
        """{"bank": (1, N, Y, X, I), "bank_labels": (1, N)} of training images, and of held-out ones `queries`, too.

        At even distances, as data may be sorted by class. All are moved once, where views are moves; crops are of what
        is recognised whole.
        """
        zeros_1, held_out = torch.zeros(1, dtype=torch.int64, device=device), {}
        splits: dict[str, tuple[Literal["train", "val"], int]] = {
            "bank": ("train", bank_size),
            "queries": ("val", num_queries),
        }
        for name, (split, most) in splits.items():
            index_1N = at_even_distances(self.count(split), most, device)[None]
            images = pixels(self.images, split, index_1N)
            if self.views == "moves":
                held_out[name] = self._view(images, zeros_1 + HELD_OUT_SEED, zeros_1, stream=f"held_out.{name}")
            else:
                held_out[name] = standardised(self.images, images)
            held_out[f"{name}_labels"] = labels(self.images, split, index_1N)
        return held_out

    def _two_views(self, split: Split, index: Tensor, seeds: Tensor, steps: Tensor, *, stream: str) -> Tensors:
        images = pixels(self.images, split, index)
        return {name: self._view(images, seeds, steps, stream=f"{stream}.{name}") for name in ("first", "second")}

    def _view(self, images: Tensor, seeds: Tensor, steps: Tensor, *, stream: str) -> Tensor:
        """A view of each image, standardised; images (..., B, Y, X, I), seeds and steps (...) together."""
        images, num_images = images.float() / MAX_PIXEL, images.shape[-4]
        if self.views == "moves":
            u = uniform(seeds, stream, steps, (num_images, NUM_FOR_MOVES))
            settings = {"rotation_degrees": self.rotation_degrees, "max_scale": self.max_scale}
            view = moved(images, u, **settings, max_shift=self.max_shift)
        else:
            u = uniform(seeds, stream, steps, (num_images, NUM_FOR_CROPS))
            view = cropped(images, u, min_area=self.min_area, jitter=self.jitter)
        return standardised(self.images, MAX_PIXEL * view)


def epoch_order(seeds_S: Tensor, steps_T: Tensor, *, batch_size: int, num_images: int) -> Tensor:
    """Which images a batch has, (T, S, B): those of an epoch come in an order of their own, each at most once.

    An epoch ends where fewer than a batch are left.
    """
    num_batches = num_images // batch_size
    epoch_E, place_T = (steps_T // num_batches).unique(return_inverse=True)
    words_ESN = integers(seeds_S, "data.order", epoch_E[:, None], (num_images,), 2**31 - 1)
    order_ESN = words_ESN.argsort(dim=-1, stable=True)
    columns_TB = (steps_T % num_batches)[:, None] * batch_size + torch.arange(batch_size, device=steps_T.device)
    return torch.stack([order_ESN[e][:, columns_B] for e, columns_B in zip(place_T.tolist(), columns_TB, strict=True)])


def at_even_distances(num_images: int, most: int, device: torch.device) -> Tensor:
    """Indices of at most so many images."""
    count = min(num_images, most)
    return torch.arange(count, device=device) * num_images // count
