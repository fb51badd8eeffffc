"""open_corpus(): the token ids of a text by name or path, memory-mapped; raw text is tokenized once, into a cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cache import cache_folder
from bench.data.text.prepared import FORMAT_VERSION, TRAIN_FILE, VAL_FILE, CorpusFacts, is_prepared, read_facts
from bench.data.text.sources import BUILT_IN, Source, find_source, one_line
from bench.data.text.tokenizers import Bytes, Tokenizer, tokenizer_named
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

    from bench.data.text.write import OnProgress


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Token ids of a text, with a held-out split: 1-D, uint8, uint16 or uint32, memory-mapped and read-only.

    Open it in the process that reads it: a pickle of it holds all ids.
    """

    train: numpy.ndarray
    val: numpy.ndarray
    vocabulary_size: int
    digest: str
    tokenizer: Tokenizer = field(default=Bytes(), repr=False)

    def decode(self, tokens: Any) -> str:
        """The text of ids, for people; what is no whole character becomes U+FFFD.

        Raises ValueError for an id that is not in the vocabulary, UsageError if a library is missing.
        """
        import numpy

        ids = numpy.asarray(tokens, dtype=numpy.int64).reshape(-1)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.vocabulary_size:
            raise ValueError(f"ids must be in [0, {self.vocabulary_size}), got {ids.min()} to {ids.max()}")
        return self.tokenizer.decode(ids)


def open_corpus(source: str, *, tokenizer: str = "bytes") -> Corpus:
    """The corpus of this name or path: 'python', a text file, a folder of text files, or a prepared folder.

    Raises UsageError if there is none, if it can't be used, or if it was prepared with another tokenizer; BudgetError
    if the disk has no space for its tokens.
    """
    import numpy

    folder, facts = _find(source, tokenizer, None)

    def ids(name: str, num_tokens: int) -> numpy.ndarray:
        dtype = numpy.dtype(facts.dtype).newbyteorder("<")
        return numpy.memmap(folder / name, dtype=dtype, mode="r", shape=(num_tokens,)).view(numpy.ndarray)

    return Corpus(
        train=ids(TRAIN_FILE, facts.num_train),
        val=ids(VAL_FILE, facts.num_val),
        vocabulary_size=facts.vocabulary_size,
        digest=facts.digest,
        tokenizer=tokenizer_named(facts.tokenizer)(vocabulary=facts.vocabulary),
    )


def corpus_facts(source: str, *, tokenizer: str = "bytes", on_progress: OnProgress | None = None) -> CorpusFacts:
    """What open_corpus() would open: counts, vocabulary and digest. Once it is cached, without loading numpy.

    Raises what open_corpus() raises.
    """
    return _find(source, tokenizer, on_progress)[1]


def prepared_tokenizer(source: str) -> str | None:
    """Name of the tokenizer that a folder was prepared with; None if `source` is no prepared folder."""
    folder = _prepared_folder(source)
    return None if folder is None else read_facts(folder).tokenizer


def _find(source: str, tokenizer: str, on_progress: OnProgress | None) -> tuple[Path, CorpusFacts]:
    tokenizer_named(tokenizer)
    folder = _prepared_folder(source)
    if folder is None:
        return _cached(find_source(source), tokenizer, on_progress)
    facts = read_facts(folder)
    if facts.tokenizer != tokenizer:
        raise UsageError(
            f"{one_line(folder)}: prepared with the tokenizer {facts.tokenizer!r}, not {tokenizer!r}; ask for that one "
            "or prepare it again"
        )
    return folder, facts


def _prepared_folder(source: str) -> Path | None:
    if not source or source == BUILT_IN:
        return None
    folder = Path(os.path.abspath(os.path.expanduser(source)))
    return folder if is_prepared(folder) else None


def _cached(source: Source, tokenizer: str, on_progress: OnProgress | None) -> tuple[Path, CorpusFacts]:
    """Folder and facts of the tokens of raw text, made unless they are there."""
    identity = json.dumps([FORMAT_VERSION, source.name, tokenizer, source.stamps])
    folder = cache_folder() / "corpora" / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if not os.path.isdir(folder):
        from bench.data.text.write import AlreadyMadeError, no_progress, write_corpus

        with contextlib.suppress(AlreadyMadeError):
            write_corpus(folder, source, tokenizer, on_progress=on_progress or no_progress)
    try:
        return folder, read_facts(folder)
    except UsageError as error:
        raise UsageError(f"{error} (the cache is damaged: remove the folder {one_line(folder)})") from error
