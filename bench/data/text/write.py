"""write_corpus(): text through a tokenizer into the folder of a prepared corpus, as a stream, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy

from bench.data.text.pieces import Documents
from bench.data.text.prepared import (
    FACTS_FILE,
    NUM_BYTES,
    TRAIN_FILE,
    VAL_FILE,
    CorpusFacts,
    dtype_for,
    facts_json,
    with_digest,
)
from bench.data.text.sources import CHUNK_BYTES, Source, find_source, one_line
from bench.data.text.tokenizers import Tokenizer, tokenizer_named
from bench.errors import FULL_DISK, BudgetError, UsageError

VAL_FRACTION = 0.1
LEFTOVER_SECONDS = 24 * 3600.0
EXISTS = "exists already; name a folder that is new or empty"

# Called with what is being done, the share that is done (None if not known) and the tokens written so far.
OnProgress = Callable[[str, float | None, int], None]


class AlreadyMadeError(UsageError):
    """The folder is there, and not empty."""


def no_progress(what: str, share: float | None, num_tokens: int) -> None:
    """Tells nobody."""


def write_corpus(
    folder: Path,
    source: Source,
    tokenizer: str,
    *,
    val_fraction: float = VAL_FRACTION,
    max_tokens: int | None = None,
    vocabulary_size: int | None = None,
    on_progress: OnProgress = no_progress,
) -> None:
    """Makes `folder` with the tokens of `source`, the last `val_fraction` of them held out.

    vocabulary_size: at most so many ids of bpe. It is written beside its place and renamed; an error or Ctrl-C leaves
    nothing.

    Raises AlreadyMadeError if the folder holds something, also if another process made it meanwhile; UsageError if the
    text can't be read, gives too few tokens or changes while it is read, or if the folder can't be written; BudgetError
    if the disk is full.
    """
    if not 0 < val_fraction < 1:
        raise UsageError(f"val_fraction must be between 0 and 1, got {val_fraction:g}")
    if max_tokens is not None and max_tokens < 1:
        raise UsageError(f"max_tokens must be at least 1, got {max_tokens}")
    if vocabulary_size is not None and tokenizer != "bpe":
        raise UsageError(f"vocabulary_size is for the tokenizer bpe, got {tokenizer}")
    with made_whole(folder) as temporary:
        facts = _write_shards(temporary, source, tokenizer, val_fraction, max_tokens, vocabulary_size, on_progress)
        (temporary / FACTS_FILE).write_bytes(facts_json(facts))


@contextlib.contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write files into, which takes its place at the end; an error leaves nothing.

    Raises AlreadyMadeError if the folder holds something, also if another process made it meanwhile; UsageError if it
    can't be written; BudgetError if the disk is full.
    """
    temporary = folder.parent / f".tmp-{folder.name[:100]}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        _refuse_content(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        temporary.mkdir()
        yield temporary
        for path in (*sorted(temporary.iterdir()), temporary):
            _sync(path)
        _rename(temporary, folder)
        _sync(folder.parent)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise BudgetError(f"{one_line(folder)}: no space left to keep the data; nothing was kept") from error
        raise UsageError(f"{one_line(folder)}: can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_shards(
    folder: Path,
    source: Source,
    tokenizer_name: str,
    val_fraction: float,
    max_tokens: int | None,
    vocabulary_size: int | None,
    on_progress: OnProgress,
) -> CorpusFacts:
    learning = _Reading(source, "learning the vocabulary", max_tokens, on_progress)
    tokenizer = tokenizer_named(tokenizer_name).learn(
        learning.documents(),
        is_separated=source.is_separated,
        max_tokens=max_tokens,
        vocabulary_size=vocabulary_size,
    )
    dtype = dtype_for(tokenizer.vocabulary_size)
    reading = _Reading(source, "writing tokens", max_tokens, on_progress)
    num_tokens = _write_ids(folder / TRAIN_FILE, tokenizer, reading, dtype)
    if not num_tokens:
        what = f"none of its {len(source.stamps)} files is in UTF-8, as is" if source.stamps else "a row with text is"
        raise UsageError(f"{one_line(source.name)}: no text: {what} required")
    num_val = int(Fraction(str(val_fraction)) * num_tokens)
    if not 0 < num_val < num_tokens:
        raise UsageError(
            f"{one_line(source.name)}: too small: {num_tokens} tokens, with {val_fraction:g} held out none are left "
            f"for {'training' if num_val else 'validation'}"
        )
    if source.stamps and find_source(source.name).stamps != source.stamps:
        raise UsageError(f"{one_line(source.name)}: the files changed while they were read; run the command again")
    _move_tail(folder / TRAIN_FILE, folder / VAL_FILE, num_val * NUM_BYTES[dtype])
    on_progress("computing the digest", None, num_tokens)
    facts = CorpusFacts(
        source=source.name,
        tokenizer=tokenizer_name,
        vocabulary=tokenizer.vocabulary,
        vocabulary_size=tokenizer.vocabulary_size,
        dtype=dtype,
        num_train=num_tokens - num_val,
        num_val=num_val,
        num_files=len(source.stamps),
        num_documents=reading.num_documents,
        digest="",
    )
    return with_digest(folder, facts)


class _Reading:
    """One pass over the documents of a source; counts what goes through and tells it."""

    def __init__(self, source: Source, what: str, max_tokens: int | None, on_progress: OnProgress) -> None:
        self.num_documents = 0
        self.num_tokens = 0
        self.is_separated = source.is_separated
        self.max_tokens = max_tokens
        self._source, self._what, self._on_progress = source, what, on_progress
        self._num_bytes = 0

    def documents(self) -> Documents:
        for document in self._source.documents():
            self.num_documents += 1
            yield self._counted(document)

    def _counted(self, document: Iterator[str]) -> Iterator[str]:
        for text in document:
            yield text
            self._num_bytes += len(text) if text.isascii() else len(text.encode())
            self._on_progress(self._what, self._share(), self.num_tokens)

    def _share(self) -> float | None:
        total = self._source.num_bytes
        shares = [self._num_bytes / total] if total else []
        if self.max_tokens is not None:
            shares.append(self.num_tokens / self.max_tokens)
        return min(1.0, max(shares)) if shares else None


def _write_ids(path: Path, tokenizer: Tokenizer, reading: _Reading, dtype: str) -> int:
    """Number of tokens written. Raises UsageError for an id that is not in the vocabulary."""
    with path.open("wb") as file:
        for ids in tokenizer.encode(reading.documents(), is_separated=reading.is_separated):
            if reading.max_tokens is not None:
                ids = ids[: reading.max_tokens - reading.num_tokens]
            if not len(ids):
                continue
            if ids.max() >= tokenizer.vocabulary_size:
                place = reading.num_tokens + int(ids.argmax())
                raise UsageError(
                    f"token {place:,} has the id {ids.max()}; ids must be below {tokenizer.vocabulary_size}, the "
                    "vocabulary's size; if the text changed meanwhile, run the command again"
                )
            file.write(ids.astype(numpy.dtype(dtype).newbyteorder("<")).tobytes())
            reading.num_tokens += len(ids)
            if reading.num_tokens == reading.max_tokens:
                break
    return reading.num_tokens


def _move_tail(path: Path, target: Path, num_bytes: int) -> None:
    """Moves the last bytes of a file into a new one."""
    start = path.stat().st_size - num_bytes
    with path.open("rb") as file, target.open("wb") as out:
        file.seek(start)
        shutil.copyfileobj(file, out, CHUNK_BYTES)
    os.truncate(path, start)


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half written for this folder, once no living one can be at it."""
    for leftover in folder.parent.glob(f".tmp-{glob.escape(folder.name[:100])}-*"):
        with contextlib.suppress(FileNotFoundError):
            newest = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
            if time.time() - newest > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


def _refuse_content(folder: Path) -> None:
    """Refuses at once what the renaming would refuse at the end."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise AlreadyMadeError(f"{one_line(folder)}: {EXISTS}")


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise AlreadyMadeError(f"{one_line(folder)}: {EXISTS}") from error
        raise


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
