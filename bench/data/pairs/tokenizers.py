"""Tokenizers of sentences: SENTENCE_TOKENIZERS holds every one under its name, byte-level BPE among them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.data.text.tokenizers import Bytes, Characters, Documents, Tokenizer
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

DEFAULT_BPE_SIZE = 8_000
MIN_BPE_SIZE = 256  # the bytes, from which pairs are merged
SENTENCES_AT_ONCE = 1_000
TRANSLATION_EXTRA = "pip install 'attention-robustness-bench[translation]'"


@dataclass(frozen=True, kw_only=True)
class Bpe(Tokenizer):
    """Byte-level byte pairs, learned by the library tokenizers, whose JSON `vocabulary` is.

    Source: Sennrich et al. 2016, on bytes as Radford et al. 2019 have it.
    """

    @property
    def vocabulary_size(self) -> int:
        return self._model.get_vocab_size()

    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        import numpy

        assert not is_separated, "sentences have no separator"
        for document in documents:
            yield numpy.array(self._model.encode("".join(document)).ids, dtype=numpy.uint32)

    def decode(self, ids: numpy.ndarray) -> str:
        return self._model.decode(ids.tolist())

    @cached_property
    def _model(self) -> Any:
        return _library().Tokenizer.from_str(self.vocabulary)


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
    """Raises UsageError if the library is missing, or for a vocabulary smaller than that of bytes."""
    if vocabulary_size < MIN_BPE_SIZE:
        raise UsageError(f"vocabulary_size of bpe must be at least {MIN_BPE_SIZE}, the bytes; got {vocabulary_size}")
    library = _library()
    model = library.Tokenizer(library.models.BPE())
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(_in_lists(sentences), trainer)
    return Bpe(vocabulary=model.to_str())


def _in_lists(sentences: Iterable[str]) -> Iterator[list[str]]:
    sentences = iter(sentences)
    while some := list(itertools.islice(sentences, SENTENCES_AT_ONCE)):
        yield some


def _learn_characters(sentences: Iterable[str], vocabulary_size: int) -> Tokenizer:
    return Characters.learn([sentences], is_separated=False, max_tokens=None)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError(f"the tokenizer 'bpe' needs the library tokenizers: {TRANSLATION_EXTRA}") from error
    return tokenizers


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
