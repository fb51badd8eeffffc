"""Pairs of sentences of a prepared folder as tensors of ids.

Each step draws training pairs at random, with replacement, as a function of (seed, step). Shapes: leading dimensions
(...), T steps, S seeds, B batch, W tokens.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.pairs.prepared import PreparedPairs, Sentences, open_pairs
from bench.data.pairs.sources import SIDES
from bench.errors import UsageError
from bench.lazy import torch
from bench.randomness import integers
from bench.workloads.sentence_pairs import NUM_SPECIAL, framed

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

MAX_ON_DEVICE = 2**30  # bytes of ids that are copied to the device whole; of more, sentences are


@dataclass(frozen=True, kw_only=True)
class FilePairs:
    """The pairs of a prepared folder whose sides have at most `max_tokens` tokens, None for all; held out the first
    `num_held_out` of those, None for all."""

    folder: str
    max_tokens: int | None
    num_held_out: int | None

    @property
    def vocabulary_size(self) -> int:
        """Ids of the tokenizer and special symbols."""
        return NUM_SPECIAL + _open(self.folder).facts.vocabulary_size

    @property
    def source_tokens(self) -> int:
        """Tokens of the longest source with its end, in training and held out."""
        return _longest(self.folder, "source", self.max_tokens)

    @property
    def target_tokens(self) -> int:
        """Tokens of the longest target with its end, in training and held out."""
        return _longest(self.folder, "target", self.max_tokens)

    def digest(self) -> str:
        """SHA-256 of tokenizer and ids. Raises UsageError if max_tokens leaves no pair."""
        opened = _open(self.folder)
        for split, words in (("train", "training"), ("val", "held-out")):
            if not len(_kept(self.folder, split, self.max_tokens)):
                raise UsageError(f"max_tokens {self.max_tokens} leaves no {words} pair of {self.folder!r}; take more")
        return opened.facts.digest

    def num_left_out(self) -> dict[str, int]:
        """Pairs that are too long, where there are any: `train_pairs_left_out`, `held_out_pairs_left_out`."""
        facts = _open(self.folder).facts
        words = {"train": "train_pairs_left_out", "val": "held_out_pairs_left_out"}
        counts = {
            word: facts.num_pairs(split) - len(_kept(self.folder, split, self.max_tokens))
            for split, word in words.items()
        }
        return {word: count for word, count in counts.items() if count}

    def train(self, seeds_S: Tensor, steps_T: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Source and target, (T, S, B, tokens) each."""
        kept = _on_device(self.folder, "train", self.max_tokens, str(seeds_S.device))
        return self._pairs("train", kept[integers(seeds_S, "data.pairs", steps_T[:, None], (size,), len(kept))])

    def held_out(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Source and target, (pairs, tokens) each."""
        kept = _on_device(self.folder, "val", self.max_tokens, str(device))
        return self._pairs("val", kept[: self.num_held_out])

    def text(self, ids: list[int]) -> str:
        """The text of ids, special symbols left out."""
        import numpy

        own = [id - NUM_SPECIAL for id in ids if id >= NUM_SPECIAL]
        return _open(self.folder).tokenizer.decode(numpy.array(own, dtype=numpy.int64))

    def _pairs(self, split: str, places: Tensor) -> tuple[Tensor, Tensor]:
        widths = {side: _longest(self.folder, side, self.max_tokens) - 1 for side in SIDES}
        source, target = (_sentences(self.folder, split, side, places, width) for side, width in widths.items())
        return source, target


def _sentences(folder: str, split: str, side: str, places: Tensor, width: int) -> Tensor:
    """Ids (..., width + 1) of the sentences at places (...)."""
    import numpy

    device = str(places.device)
    ids, start, length = _sides(folder, split, side, device)
    start, length = start[places], length[places]
    index = start[..., None] + torch.arange(width, device=places.device).clamp_max(length[..., None] - 1)
    if isinstance(ids, numpy.ndarray):
        tokens = torch.from_numpy(ids[index.cpu().numpy()].astype(numpy.int64)).to(places.device)
    else:
        tokens = ids[index].long()
    return framed(tokens, length)


@functools.cache
def _open(folder: str) -> PreparedPairs:
    return open_pairs(folder)


@functools.cache
def _kept(folder: str, split: str, max_tokens: int | None) -> numpy.ndarray:
    """Places of the pairs whose sides have at most so many tokens, in their order."""
    import numpy

    source, target = (_open(folder).sides[split, side].lengths for side in SIDES)
    longest = numpy.maximum(source, target)
    return numpy.flatnonzero(longest <= (longest.max() if max_tokens is None else max_tokens))


@functools.cache
def _longest(folder: str, side: str, max_tokens: int | None) -> int:
    """Tokens of the longest kept sentence of a side with its end, in training and held out."""
    longest = 0
    for split in ("train", "val"):
        longest = max(longest, int(_open(folder).sides[split, side].lengths[_kept(folder, split, max_tokens)].max()))
    return 1 + longest


@functools.cache
def _on_device(folder: str, split: str, max_tokens: int | None, device: str) -> Tensor:
    return torch.from_numpy(_kept(folder, split, max_tokens)).to(device)


@functools.cache
def _sides(folder: str, split: str, side: str, device: str) -> tuple[Tensor | numpy.ndarray, Tensor, Tensor]:
    """Ids of a side, on the device unless they are too many, and where sentences start and how long they are."""
    import numpy

    sentences: Sentences = _open(folder).sides[split, side]
    start, length = (
        torch.from_numpy(array.astype(numpy.int64)).to(device) for array in (sentences.starts, sentences.lengths)
    )
    if sentences.ids.nbytes > MAX_ON_DEVICE:
        return sentences.ids, start, length
    kind = numpy.uint8 if sentences.ids.dtype == numpy.uint8 else numpy.int32
    return torch.from_numpy(sentences.ids.astype(kind)).to(device), start, length
