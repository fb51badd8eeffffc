"""Batches that are computed in parts, one after the other: their gradients gathered into those of the whole."""

from __future__ import annotations

from bench.lazy import torch
from bench.training.lane import Gradients
from bench.training.tree import copy_tensors, map_tensors, tensors_of


class MeanGradients:
    """What a whole batch gave to all lanes, in fixed `tensors`: `clear` them, then `add` each of its parts.

    example: what one part gave, of which forms and shapes are taken; not the strides, which kernels gave as they liked.
    """

    def __init__(self, example: Gradients, *, num_parts: int) -> None:
        self.tensors: Gradients = map_tensors(
            example, lambda t: torch.zeros_like(t, memory_format=torch.contiguous_format)
        )
        self._num_parts = num_parts

    def clear(self) -> None:
        """Forget the parts of the batch before. Buffers stay: the next part overwrites them."""
        map_tensors([self.tensors["grads"], self.tensors["loss"]], lambda t: t.zero_())
        map_tensors(self.tensors["max_logits"], lambda t: t.fill_(-torch.inf))

    def add(self, part: Gradients) -> None:
        """Gradients and loss count by their share, of the largest logits the larger; buffers are the same in all."""
        for name in ("grads", "loss"):
            for mean, term in zip(tensors_of(self.tensors[name]), tensors_of(part[name]), strict=True):
                mean.add_(term, alpha=1 / self._num_parts)
        for largest, other in zip(self.tensors["max_logits"], part["max_logits"], strict=True):
            largest.copy_(torch.maximum(largest, other))
        copy_tensors(self.tensors["buffers"], part["buffers"])
