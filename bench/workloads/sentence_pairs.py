"""Sentence pairs as tensors of ids: padding, start and end, and the weight of each target token in a mean.

Shapes: leading dimensions (...), B pairs of a batch, W tokens, U target tokens with their end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

PADDING, START, END = 0, 1, 2
NUM_SPECIAL = 3  # ids of a tokenizer come after them


class Pairs(Protocol):
    """Data of translation: sources and targets as ids, each with END behind it and PADDING to a common length."""

    @property
    def vocabulary_size(self) -> int:
        """One vocabulary for both languages, special symbols included."""
        ...

    @property
    def source_tokens(self) -> int:
        """Tokens of the longest source with its end."""
        ...

    @property
    def target_tokens(self) -> int:
        """Tokens of the longest target with its end."""
        ...

    def digest(self) -> str:
        """SHA-256 of all that training reads."""
        ...

    def train(self, seeds_S: Tensor, steps_T: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Source and target, (T, S, B, tokens) each; a function of each (seed, step) alone."""
        ...

    def held_out(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Source and target, (pairs, tokens) each."""
        ...

    def text(self, ids: list[int]) -> str:
        """The text of ids, special symbols left out."""
        ...


def framed(tokens_W: Tensor, length: Tensor) -> Tensor:
    """Ids (..., W + 1): the first `length` tokens (...) moved up by NUM_SPECIAL, then END, then PADDING."""
    place = torch.arange(tokens_W.shape[-1] + 1, device=tokens_W.device)
    shifted = torch.nn.functional.pad(tokens_W + NUM_SPECIAL, (0, 1))
    ended = torch.where(place == length[..., None], END, PADDING)
    return torch.where(place < length[..., None], shifted, ended)


def started(target_U: Tensor) -> Tensor:
    """What a decoder reads where it should give `target` (..., U): START, then all but the last token."""
    return torch.nn.functional.pad(target_U[..., :-1], (1, 0), value=START)


def token_weights(target_BU: Tensor, *, num_dims: int) -> Tensor:
    """Weights of target tokens, 0 for padding, such that a mean over B of weighted sums over U is one over tokens.

    num_dims: the last so many dimensions share one mean, such as 2 of a batch and 3 of many batches.
    """
    is_token = (target_BU != PADDING).double()
    dims = tuple(range(-num_dims, 0))
    num_pairs = math.prod(target_BU.shape[-num_dims:-1])
    return (is_token * (num_pairs / is_token.sum(dim=dims, keepdim=True))).float()


def in_batches(pairs: tuple[Tensor, Tensor], size: int) -> tuple[Tensor, Tensor]:
    """Source and target (E, B, tokens) of (pairs, tokens) each; the last batch is filled with pairs without a target.

    Of such a pair the source is END alone, so that attention has a key, and no target token has weight.
    """
    source, target = pairs
    num_more = -len(source) % size
    empty_source = torch.full((num_more, source.shape[1]), PADDING, device=source.device)
    empty_source[:, 0] = END
    empty_target = torch.full((num_more, target.shape[1]), PADDING, device=target.device)
    source, target = torch.cat([source, empty_source]), torch.cat([target, empty_target])
    return source.unflatten(0, (-1, size)), target.unflatten(0, (-1, size))
