"""Pairs of number words, English and German, by characters: made at (seed, step), by tensor operations alone.

A number has at most 1 to `digits` digits, each as likely: what is drawn below 10^digits is cut to so many. Above 999
one in 16, by a hash of the number, is held out, and drawn again where training meets it; small ones are what all others
are made of. Shapes: leading dimensions (...), K columns of a number's words, L characters.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.pairs.number_words import ENGLISH, GERMAN, Language
from bench.lazy import torch
from bench.randomness import integers, philox, stream_id
from bench.workloads.sentence_pairs import NUM_SPECIAL, framed

if TYPE_CHECKING:
    from torch import Tensor

HELD_OUT_ONE_IN = 16
NUM_SPARE = 32  # of those that are held out: of few, twice as many as are expected may be too few
LARGEST_TRAINED = 999  # up to here nothing is held out
NUM_DRAWS = 4  # of a number; where all are held out, once in 65,536, the last three digits of the first are taken
HELD_OUT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class NumberPairs:
    """Numbers of 1 to `digits` digits; held out are `num_held_out` of 4 and more."""

    digits: int
    num_held_out: int

    @property
    def vocabulary_size(self) -> int:
        """Characters and special symbols."""
        return NUM_SPECIAL + len(alphabet())

    @property
    def source_tokens(self) -> int:
        """Tokens of the longest source with its end."""
        return ENGLISH.longest(self.digits) + 1

    @property
    def target_tokens(self) -> int:
        """Tokens of the longest target with its end."""
        return GERMAN.longest(self.digits) + 1

    def digest(self) -> str:
        """SHA-256 of the tables that words are made of."""
        digest = hashlib.sha256()
        for language in (ENGLISH, GERMAN):
            for column in language.columns:
                digest.update("\n".join(column).encode() + b"\0")
        return digest.hexdigest()

    def train(self, seeds_S: Tensor, steps_T: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Source and target, (T, S, B, tokens) each."""
        return self._pairs(training_numbers(seeds_S, steps_T, size, self.digits))

    def held_out(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Source and target, (pairs, tokens) each; the same for every seed."""
        return self._pairs(held_out_numbers(self.num_held_out, self.digits, device))

    def text(self, ids: list[int]) -> str:
        """The text of ids, special symbols left out."""
        return "".join(alphabet()[id - NUM_SPECIAL] for id in ids if id >= NUM_SPECIAL)

    def _pairs(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        source = framed(*characters(numbers, ENGLISH, self.source_tokens - 1))
        return source, framed(*characters(numbers, GERMAN, self.target_tokens - 1))


def training_numbers(seeds_S: Tensor, steps_T: Tensor, size: int, digits: int) -> Tensor:
    """Numbers of a batch (T, S, B), none of them held out; a function of each (seed, step) alone."""
    shape = (size, NUM_DRAWS)
    drawn = integers(seeds_S, "data.numbers", steps_T[:, None], shape, 10**digits)
    num_digits = 1 + integers(seeds_S, "data.digits", steps_T[:, None], shape, digits)
    drawn = drawn % 10**num_digits
    is_fit = ~is_held_out(drawn)
    first = is_fit.long().argmax(dim=-1, keepdim=True)  # the first of the largest
    chosen = drawn.gather(-1, first)[..., 0]
    return torch.where(is_fit.any(dim=-1), chosen, drawn[..., 0] % (LARGEST_TRAINED + 1))


def held_out_numbers(count: int, digits: int, device: torch.device) -> Tensor:
    """(count,) numbers that training never sees, of 4 to `digits` digits, some more than once where there are few."""
    num_drawn = HELD_OUT_ONE_IN * (2 * count + NUM_SPARE)
    seed, step = (torch.tensor(value, device=device) for value in (HELD_OUT_SEED, 0))
    drawn = integers(seed, "data.numbers.held_out", step, (num_drawn,), 10**digits)
    num_digits = 4 + integers(seed, "data.digits.held_out", step, (num_drawn,), digits - 3)
    lowest = 10 ** (num_digits - 1)
    drawn = lowest + drawn % (9 * lowest)
    held_out = drawn[is_held_out(drawn)]
    assert len(held_out) >= count, "NUM_SPARE and twice as many as needed are expected"
    return held_out[:count]


def is_held_out(numbers: Tensor) -> Tensor:
    """Whether training leaves a number out: a function of the number alone."""
    zero, stream = torch.zeros_like(numbers), torch.full_like(numbers, stream_id("held out numbers"))
    word = philox((numbers, zero, stream, zero), (zero, zero))[0]
    return (numbers > LARGEST_TRAINED) & (word % HELD_OUT_ONE_IN == 0)


def characters(numbers: Tensor, language: Language, width: int) -> tuple[Tensor, Tensor]:
    """Characters (..., width) of the words of numbers (...) as places in the alphabet, and how many they are (...).

    What stands behind a word's end has no meaning.
    """
    table_RL, length_R, first_row_K = _table(language is GERMAN, str(numbers.device))
    row_K = torch.stack(language.rows(numbers), dim=-1) + first_row_K
    length_K = length_R[row_K]
    end_K = length_K.cumsum(dim=-1)
    place_W = torch.arange(width, device=numbers.device).expand(*numbers.shape, width)
    column_W = (place_W[..., None] >= end_K[..., None, :]).sum(dim=-1).clamp_max(row_K.shape[-1] - 1)
    row_W, start_W = row_K.gather(-1, column_W), (end_K - length_K).gather(-1, column_W)
    within_W = (place_W - start_W).clamp_max(table_RL.shape[1] - 1)
    return table_RL[row_W, within_W], end_K[..., -1]


@functools.cache
def alphabet() -> str:
    """Every character of both languages, by code point."""
    texts = (text for language in (ENGLISH, GERMAN) for column in language.columns for text in column)
    return "".join(sorted(set("".join(texts))))


@functools.cache
def _table(is_german: bool, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Texts of all columns (rows, longest) as places in the alphabet, their lengths, and each column's first row."""
    columns = (GERMAN if is_german else ENGLISH).columns
    place = {character: index for index, character in enumerate(alphabet())}
    texts = [text for column in columns for text in column]
    longest = max(len(text) for text in texts)
    rows = [[place[character] for character in text] + [0] * (longest - len(text)) for text in texts]
    sizes = torch.tensor([0, *(len(column) for column in columns[:-1])])
    table_RL, length_R = torch.tensor(rows), torch.tensor([len(text) for text in texts])
    return table_RL.to(device), length_R.to(device), sizes.cumsum(dim=0).to(device)
