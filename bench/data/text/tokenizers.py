"""Tokenizers: from a stream of text to ids and back; TOKENIZERS holds every one under its name."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

SEPARATOR = "\x1c"  # ASCII's file separator: before each document, where a corpus has several
MAX_CHARACTERS = 65_535
NUM_CODE_POINTS = 0x110000
GPT2_IDS = 50_257
GPT2_SEPARATOR = 50_256  # <|endoftext|>
PIECE_CHARACTERS = 1 << 20
BATCH_CHARACTERS = 1 << 22
TEXT_EXTRA = "pip install 'attention-robustness-bench[text]'"

Documents = Iterable[Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Tokenizer(ABC):
    """How text becomes ids. `vocabulary` holds the characters in the order of their ids where those are learned."""

    vocabulary: str = ""

    @classmethod
    def learn(cls, documents: Documents, *, is_separated: bool, max_tokens: int | None) -> Tokenizer:
        """The tokenizer for these documents; reads them only if it has a vocabulary to learn."""
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


@dataclass(frozen=True, kw_only=True)
class Bytes(Tokenizer):
    """The 256 bytes of UTF-8."""

    @property
    def vocabulary_size(self) -> int:
        return 256

    def encode(self, documents: Documents, *, is_separated: bool) -> Iterator[numpy.ndarray]:
        import numpy

        for text in _joined(documents, is_separated):
            yield numpy.frombuffer(text.encode(), dtype=numpy.uint8)

    def decode(self, ids: numpy.ndarray) -> str:
        return ids.astype("uint8").tobytes().decode(errors="replace")


@dataclass(frozen=True, kw_only=True)
class Characters(Tokenizer):
    """The characters that occur, sorted by code point."""

    @classmethod
    def learn(cls, documents: Documents, *, is_separated: bool, max_tokens: int | None) -> Tokenizer:
        """Raises UsageError if there are more than 65,535 of them."""
        seen: set[str] = set()
        num_left = max_tokens
        for text in _joined(documents, is_separated):
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

        for text in _joined(documents, is_separated):
            yield self._ids[numpy.frombuffer(text.encode("utf-32-le"), dtype="<u4")]

    def decode(self, ids: numpy.ndarray) -> str:
        return "".join(self.vocabulary[id] for id in ids.tolist())

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
            for batch in _batches(documents):
                for (is_first, _), ids in zip(batch, threads.map(encode_one, [text for _, text in batch]), strict=True):
                    if is_first:
                        yield separator
                    yield ids

    def decode(self, ids: numpy.ndarray) -> str:
        """Raises UsageError without tiktoken or its vocabulary."""
        return _gpt2_encoding().decode(ids.tolist())


TOKENIZERS: dict[str, type[Tokenizer]] = {"bytes": Bytes, "characters": Characters, "gpt2": Gpt2}


def tokenizer_named(name: str) -> type[Tokenizer]:
    """The tokenizer of this name. Raises UsageError if there is none."""
    if name not in TOKENIZERS:
        raise UsageError(f"unknown tokenizer {name!r}; tokenizers that exist: {', '.join(TOKENIZERS)}")
    return TOKENIZERS[name]


def gpt2_pieces(texts: Iterable[str], *, num_characters: int = PIECE_CHARACTERS) -> Iterator[str]:
    """The same text in pieces of at least so many characters whose ids, one after the other, are those of the whole.

    A piece ends before a space or a line break that follows a character that is no white space: GPT-2's pattern lets
    no token reach across that place, and looks ahead only from white space.
    """
    rest = ""
    for text in texts:
        rest += text
        if len(rest) < num_characters:
            continue
        end = len(rest)
        while (end := max(rest.rfind(" ", 0, end), rest.rfind("\n", 0, end))) > 0 and rest[end - 1].isspace():
            pass
        if end > 0:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _batches(documents: Documents) -> Iterator[list[tuple[bool, str]]]:
    """Pieces of documents with whether one is the first of its document, enough of them to keep all threads busy."""
    batch: list[tuple[bool, str]] = []
    num_characters = 0
    for document in documents:
        is_first = True
        for piece in gpt2_pieces(document):
            batch.append((is_first, piece))
            is_first = False
            num_characters += len(piece)
            if num_characters >= BATCH_CHARACTERS:
                yield batch
                batch, num_characters = [], 0
    if batch:
        yield batch


def _joined(documents: Documents, is_separated: bool) -> Iterator[str]:
    for document in documents:
        if is_separated:
            yield SEPARATOR
        yield from document


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
