"""Tokenizers of sentences: SENTENCE_TOKENIZERS holds every one under its name, byte-level BPE among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.text.tokenizers import Bpe, Bytes, Characters, Tokenizer
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True, kw_only=True)
class SentenceTokenizer:
    """How a vocabulary is learned of sentences (at most so many ids), and the class that reads it."""

    kind: type[Tokenizer]
    learn: Callable[[Iterable[str], int], Tokenizer]


def encoded(tokenizer: Tokenizer, sentence: str) -> numpy.ndarray:
    """The ids of a sentence, 1-D; what a vocabulary of characters lacks has an id beyond it."""
    import numpy

    return numpy.concatenate(list(tokenizer.encode([[sentence]], is_separated=False)))


def _learn_bpe(sentences: Iterable[str], vocabulary_size: int) -> Tokenizer:
    documents = ([sentence] for sentence in sentences)
    return Bpe.learn(documents, is_separated=False, max_tokens=None, vocabulary_size=vocabulary_size)


def _learn_characters(sentences: Iterable[str], vocabulary_size: int) -> Tokenizer:
    return Characters.learn([sentences], is_separated=False, max_tokens=None)


SENTENCE_TOKENIZERS: dict[str, SentenceTokenizer] = {
    "bpe": SentenceTokenizer(kind=Bpe, learn=_learn_bpe),
    "characters": SentenceTokenizer(kind=Characters, learn=_learn_characters),
    "bytes": SentenceTokenizer(kind=Bytes, learn=lambda sentences, vocabulary_size: Bytes()),
}


def sentence_tokenizer(name: str) -> SentenceTokenizer:
    """The tokenizer of this name. Raises UsageError if there is none."""
    if name not in SENTENCE_TOKENIZERS:
        exist = ", ".join(SENTENCE_TOKENIZERS)
        raise UsageError(f"unknown tokenizer of sentences {name!r}; tokenizers that exist: {exist}")
    return SENTENCE_TOKENIZERS[name]
