"""Utterances as tensors, and what data of speech recognition give: Utterances, Speech; masks on their frames.

Shapes: leading dimensions (...), T steps, S seeds, B utterances of a batch, E batches, F frames, N bands, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Utterances:
    """frames (..., F, N) float32, normalised, and 0 from num_frames (...) on; labels (..., L), 0 from their end on."""

    frames: Tensor
    num_frames: Tensor
    labels: Tensor


class Speech(Protocol):
    """Data of speech recognition."""

    @property
    def num_bands(self) -> int:
        """Numbers of a frame."""
        ...

    @property
    def num_frames(self) -> int:
        """Number of frames of the longest utterance."""
        ...

    @property
    def num_held_out(self) -> int:
        """Utterances that are held out."""
        ...

    def digest(self) -> str:
        """SHA-256 of all that training reads."""
        ...

    def check_stride(self, stride: int) -> None:
        """Raises UsageError if one frame in `stride` is too few to say some utterance's labels by CTC."""
        ...

    def train(self, seeds_S: Tensor, steps_T: Tensor, size: int) -> Utterances:
        """(T, S, B, ...), a function of each (seed, step) alone."""
        ...

    def held_out(self, num_batches: int, size: int, device: torch.device) -> Utterances:
        """(E, B, ...), the same for every seed."""
        ...


@dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """Spans of frames and of bands that are set to 0, the mean: widths from 0 to the given, places at random.

    Source: Park et al. 2019, Sec. 2, without warping time.
    """

    time_masks: int
    time_width: int
    band_masks: int
    band_width: int

    def __call__(self, utterances: Utterances, uniform: Uniform) -> Utterances:
        """Masked utterances; uniform(name, n) gives (..., n) in [0, 1)."""
        frames, num_frames = utterances.frames, utterances.num_frames
        num_bands = torch.full_like(num_frames, frames.shape[-1])
        is_masked_F = _spans(uniform, "time", self.time_masks, self.time_width, num_frames, frames.shape[-2])
        is_masked_N = _spans(uniform, "bands", self.band_masks, self.band_width, num_bands, frames.shape[-1])
        masked = frames.masked_fill(is_masked_F[..., None] | is_masked_N[..., None, :], 0.0)
        return Utterances(frames=masked, num_frames=num_frames, labels=utterances.labels)


class Uniform(Protocol):
    """Random numbers of a batch by the name of what they decide."""

    def __call__(self, name: str, count: int) -> Tensor: ...


def _spans(uniform: Uniform, name: str, count: int, most: int, length: Tensor, size: int) -> Tensor:
    """Whether each of `size` places lies in one of `count` spans, each within the first `length` (...): (..., size)."""
    width = (uniform(name + ".width", count) * (most + 1)).floor().minimum(length[..., None])
    start = (uniform(name + ".start", count) * (length[..., None] - width + 1)).floor()
    place = torch.arange(size, device=length.device)
    is_in = (place >= start[..., None]) & (place < (start + width)[..., None])
    return is_in.any(dim=-2)
