"""Tokenizers: from a stream of text to ids and back; TOKENIZERS holds every one under its name."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.data.text.pieces import SEPARATOR, Documents, batches, joined, up_to
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

MAX_CHARACTERS = 65_535
NUM_CODE_POINTS = 0x110000
GPT2_IDS = 50_257
GPT2_SEPARATOR = 50_256  # <|endoftext|>
DEFAULT_BPE_SIZE = 8_000
MIN_BPE_SIZE = 256  # the bytes, from which pairs are merged
TEXT_EXTRA = "pip install 'attention-robustness-bench[text]'"


@dataclass(frozen=True, kw_only=True)
class Tokenizer(ABC):
    """How text becomes ids. `vocabulary` holds what was learned: characters in the order of their ids, or a JSON."""

    vocabulary: str = ""

    @classmethod
    def learn(
        cls, documents: Documents, *, is_separated: bool, max_tokens: int | None, vocabulary_size: int | None = None
    ) -> Tokenizer:
        """The tokenizer for these documents; reads them only if it has a vocabulary to learn.

        vocabulary_size: at most so many ids, of a tokenizer that can have more or fewer.
        """
        return cls()

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """Every id is below it."""

    @abstractmethod
    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        """The ids of all documents, in pieces; where `is_separated`, a separator goes before each document."""

    @abstractmethod
    def decode(self, ids: numpy.ndarray) -> str:
        """The text of these ids, 1-D; what is no whole character becomes U+FFFD."""

    @abstractmethod
    def num_bytes(self) -> numpy.ndarray:
        """Bytes of UTF-8 that each id stands for, (ids,) int64; a separator of documents is one."""


@dataclass(frozen=True, kw_only=True)
class Bytes(Tokenizer):
    """The 256 bytes of UTF-8."""

    @property
    def vocabulary_size(self) -> int:
        return 256

    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        import numpy

        for text in joined(documents, is_separated):
            yield numpy.frombuffer(text.encode(), dtype=numpy.uint8)

    def decode(self, ids: numpy.ndarray) -> str:
        return ids.astype("uint8").tobytes().decode(errors="replace")

    def num_bytes(self) -> numpy.ndarray:
        import numpy

        return numpy.ones(self.vocabulary_size, dtype=numpy.int64)


@dataclass(frozen=True, kw_only=True)
class Characters(Tokenizer):
    """The characters that occur, sorted by code point."""

    @classmethod
    def learn(
        cls, documents: Documents, *, is_separated: bool, max_tokens: int | None, vocabulary_size: int | None = None
    ) -> Tokenizer:
        """Raises UsageError if there are more than 65,535 of them."""
        seen: set[str] = set()
        num_left = max_tokens
        for text in joined(documents, is_separated):
            if num_left is not None:
                text = text[:num_left]
                num_left -= len(text)
            seen.update(text)
            if len(seen) > MAX_CHARACTERS:
                raise UsageError(
                    f"the text holds more than {MAX_CHARACTERS:,} different characters, the most that the tokenizer "
                    "'characters' admits; use 'bytes'"
                )
            if num_left == 0:
                break
        return cls(vocabulary="".join(sorted(seen)))

    @property
    def vocabulary_size(self) -> int:
        return len(self.vocabulary)

    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        import numpy

        for text in joined(documents, is_separated):
            yield self._ids[numpy.frombuffer(text.encode("utf-32-le"), dtype="<u4")]

    def decode(self, ids: numpy.ndarray) -> str:
        return "".join(self.vocabulary[id] for id in ids.tolist())

    def num_bytes(self) -> numpy.ndarray:
        import numpy

        return numpy.array([len(character.encode()) for character in self.vocabulary], dtype=numpy.int64)

    @cached_property
    def _ids(self) -> numpy.ndarray:
        """The id of every code point; NUM_CODE_POINTS, beyond every vocabulary, where it has none."""
        import numpy

        ids = numpy.full(NUM_CODE_POINTS, NUM_CODE_POINTS, dtype=numpy.uint32)
        ids[[ord(character) for character in self.vocabulary]] = numpy.arange(self.vocabulary_size)
        return ids


@dataclass(frozen=True, kw_only=True)
class Gpt2(Tokenizer):
    """GPT-2's byte pairs by tiktoken, which downloads them at first use. Source: Radford et al. 2019."""

    @property
    def vocabulary_size(self) -> int:
        return GPT2_IDS

    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        """Raises UsageError without tiktoken or its vocabulary. Special tokens in the text are read as plain text."""
        import numpy

        encoding = _gpt2_encoding()
        separator = numpy.array([GPT2_SEPARATOR] if is_separated else [], dtype=numpy.uint32)

        def encode_one(text: str) -> numpy.ndarray:
            return encoding.encode_to_numpy(text, disallowed_special=())

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for batch in batches(documents):
                for (is_first, _), ids in zip(batch, threads.map(encode_one, [text for _, text in batch]), strict=True):
                    if is_first:
                        yield separator
                    yield ids

    def decode(self, ids: numpy.ndarray) -> str:
        """Raises UsageError without tiktoken or its vocabulary."""
        return _gpt2_encoding().decode(ids.tolist())

    def num_bytes(self) -> numpy.ndarray:
        import numpy

        encoding = _gpt2_encoding()
        sizes = [1 if id == GPT2_SEPARATOR else len(encoding.decode_single_token_bytes(id)) for id in range(GPT2_IDS)]
        return numpy.array(sizes, dtype=numpy.int64)


@dataclass(frozen=True, kw_only=True)
class Bpe(Tokenizer):
    """Byte-level byte pairs, learned by the library tokenizers, whose JSON `vocabulary` is.

    Source: Sennrich et al. 2016, on bytes and split as Radford et al. 2019 have it.
    """

    @classmethod
    def learn(
        cls, documents: Documents, *, is_separated: bool, max_tokens: int | None, vocabulary_size: int | None = None
    ) -> Tokenizer:
        """Of the first `max_tokens` characters: what is kept of a text is at least that, where it is ASCII.

        Raises UsageError if the library is missing, or for a vocabulary smaller than that of bytes.
        """
        size = DEFAULT_BPE_SIZE if vocabulary_size is None else vocabulary_size
        if size < MIN_BPE_SIZE:
            raise UsageError(f"vocabulary_size of bpe must be at least {MIN_BPE_SIZE}, the bytes; got {size}")
        library = _tokenizers()
        model = library.Tokenizer(library.models.BPE())
        model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = library.decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = library.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        texts = ([text for _, text in batch] for batch in batches(up_to(documents, max_tokens)))
        model.train_from_iterator(texts, trainer)
        return cls(vocabulary=model.to_str())

    @property
    def vocabulary_size(self) -> int:
        return self._model.get_vocab_size()

    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        import numpy

        separator = numpy.array(self._model.encode(SEPARATOR).ids if is_separated else [], dtype=numpy.uint32)
        for batch in batches(documents):
            whole = self._model.encode_batch_fast([text for _, text in batch])
            for (is_first, _), encoded in zip(batch, whole, strict=True):
                if is_first:
                    yield separator
                yield numpy.array(encoded.ids, dtype=numpy.uint32)

    def decode(self, ids: numpy.ndarray) -> str:
        return self._model.decode(ids.tolist())

    def num_bytes(self) -> numpy.ndarray:
        """A token's text has one letter for each byte."""
        import numpy

        return numpy.array([len(self._model.id_to_token(id)) for id in range(self.vocabulary_size)], dtype=numpy.int64)

    @cached_property
    def _model(self) -> Any:
        return _tokenizers().Tokenizer.from_str(self.vocabulary)


TOKENIZERS: dict[str, type[Tokenizer]] = {"bytes": Bytes, "characters": Characters, "gpt2": Gpt2, "bpe": Bpe}


def tokenizer_named(name: str) -> type[Tokenizer]:
    """The tokenizer of this name. Raises UsageError if there is none."""
    if name not in TOKENIZERS:
        raise UsageError(f"unknown tokenizer {name!r}; tokenizers that exist: {', '.join(TOKENIZERS)}")
    return TOKENIZERS[name]


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError(f"the tokenizer 'bpe' needs the library tokenizers: {TEXT_EXTRA}") from error
    return tokenizers


def _gpt2_encoding() -> Any:
    try:
        import tiktoken
    except ImportError as error:
        raise UsageError(f"the tokenizer 'gpt2' needs tiktoken: {TEXT_EXTRA}") from error
    try:
        return tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:
        raise UsageError(
            "tiktoken can't download GPT-2's vocabulary here; set TIKTOKEN_CACHE_DIR to a folder that holds it, copied "
            f"from a machine with a connection ({type(error).__name__})"
        ) from error
