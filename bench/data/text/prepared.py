"""The folder of a prepared corpus: train.bin, val.bin (little-endian ids) and corpus.json (CorpusFacts)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.data.text.sources import CHUNK_BYTES, one_line
from bench.data.text.tokenizers import TOKENIZERS
from bench.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT_VERSION = 1
FACTS_FILE, TRAIN_FILE, VAL_FILE = "corpus.json", "train.bin", "val.bin"
MAX_FACTS_BYTES = 1 << 26
MADE = "it must be the one that `bench data prepare` wrote"
Facts = TypeVar("Facts", bound="DataclassInstance")
NUM_BYTES = {"uint8": 1, "uint16": 2, "uint32": 4}  # of one id


@dataclass(frozen=True, kw_only=True)
class CorpusFacts:
    """What corpus.json says, but for its version.

    `vocabulary` holds what the tokenizer learned: characters in the order of their ids, or bpe's JSON. `digest` is a
    SHA-256 over tokenizer, vocabulary, split and ids: two corpora of the same digest give the same training.
    """

    source: str
    tokenizer: str
    vocabulary: str
    vocabulary_size: int
    dtype: str
    num_train: int
    num_val: int
    num_files: int
    num_documents: int
    digest: str


def dtype_for(vocabulary_size: int) -> str:
    """The smallest type that holds every id below `vocabulary_size`."""
    return next(name for name, size in NUM_BYTES.items() if vocabulary_size <= 256**size)


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a prepared corpus."""
    return os.path.isfile(folder / FACTS_FILE)


def plain_facts(path: Path, *, max_bytes: int, made: str) -> Any:
    """What a file of facts holds, not checked yet; `made` says what it must be.

    Raises UsageError if it can't be read, is larger than `max_bytes` or no JSON.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise UsageError(f"{one_line(path)}: too large; {made}")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{one_line(path)}: not JSON; {made}") from error


def typed_facts(kind: type[Facts], plain: Any, path: Path, *, version: int, of: str, least: int | None = None) -> Facts:
    """The facts in plain data, each of the type of its field; `kind` is a dataclass of texts and whole numbers.

    Raises UsageError for other data, which are not `of` what was prepared, another version, or a whole number below
    `least`.
    """
    if not isinstance(plain, dict) or "version" not in plain:
        raise UsageError(f"{one_line(path)}: not of {of}; prepare it again")
    if plain["version"] != version:
        raise UsageError(
            f"{one_line(path)}: format version {plain['version']!r}, this program reads {version}; prepare it again"
        )
    kinds = {field.name: int if field.type == "int" else str for field in fields(kind)}
    for name, wanted in kinds.items():
        value = plain.get(name)
        is_below = type(value) is int and least is not None and value < least
        if type(value) is not wanted or is_below:
            words = "text" if wanted is str else f"a whole number, at least {least}" if least else "a whole number"
            raise UsageError(f"{one_line(path)}: {name} must be {words}; prepare it again")
    return kind(**{name: plain[name] for name in kinds})


def digest_of_shards(header: Mapping[str, Any], shards: Iterable[Path]) -> str:
    """SHA-256 of what tells prepared data apart and of the content of their shards. Reads all of them."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode() + b"\n")
    for path in shards:
        for chunk in chunks_of(path):
            digest.update(chunk)
    return digest.hexdigest()


def read_facts(folder: Path) -> CorpusFacts:
    """The facts of a prepared corpus, once its files have the sizes that they tell.

    Raises UsageError if corpus.json is damaged or of another version, or if a shard is missing or cut.
    """
    path = folder / FACTS_FILE
    plain = plain_facts(path, max_bytes=MAX_FACTS_BYTES, made=MADE)
    facts = _checked(plain, path)
    for name, num_tokens in ((TRAIN_FILE, facts.num_train), (VAL_FILE, facts.num_val)):
        check_size(folder / name, num_tokens * NUM_BYTES[facts.dtype])
    return facts


def facts_json(facts: CorpusFacts) -> bytes:
    """The content of corpus.json."""
    return (json.dumps({"version": FORMAT_VERSION, **asdict(facts)}, indent=2) + "\n").encode()


def digest_of(folder: Path, facts: CorpusFacts) -> str:
    """The digest of the shards in a folder; of `facts`, what is not the ids. Reads the whole corpus."""
    header = {
        "version": FORMAT_VERSION,
        "tokenizer": facts.tokenizer,
        "vocabulary": facts.vocabulary,
        "vocabulary_size": facts.vocabulary_size,
        "dtype": facts.dtype,
        "num_train": facts.num_train,
        "num_val": facts.num_val,
    }
    return digest_of_shards(header, [folder / name for name in (TRAIN_FILE, VAL_FILE)])


def check_corpus(folder: Path) -> CorpusFacts:
    """The facts of a prepared corpus, once every id and the digest were found to be right. Reads the whole corpus.

    Raises UsageError if there is no corpus, if a file is damaged, or if an id is not in the vocabulary.
    """
    import numpy

    if not is_prepared(folder):
        raise UsageError(f"{one_line(folder)}: no prepared corpus; it must be a folder made by `bench data prepare`")
    facts = read_facts(folder)
    for name in (TRAIN_FILE, VAL_FILE):
        num_before = 0
        for chunk in chunks_of(folder / name):
            ids = numpy.frombuffer(chunk, dtype=numpy.dtype(facts.dtype).newbyteorder("<"))
            if ids.max() >= facts.vocabulary_size:
                place = num_before + int(ids.argmax())
                raise UsageError(
                    f"{one_line(folder / name)}: token {place:,} has the id {ids.max()}, ids must be below "
                    f"{facts.vocabulary_size}, the size of the vocabulary; prepare the corpus again"
                )
            num_before += len(ids)
    if digest_of(folder, facts) != facts.digest:
        raise UsageError(
            f"{one_line(folder)}: the tokens are not those of the digest in {FACTS_FILE}; prepare it again"
        )
    return facts


def with_digest(folder: Path, facts: CorpusFacts) -> CorpusFacts:
    """The facts with the digest of the shards in a folder."""
    return replace(facts, digest=digest_of(folder, facts))


def _checked(plain: Any, path: Path) -> CorpusFacts:
    facts = typed_facts(CorpusFacts, plain, path, version=FORMAT_VERSION, of=f"a prepared corpus; {MADE}")
    if facts.tokenizer not in TOKENIZERS:
        raise UsageError(
            f"{one_line(path)}: unknown tokenizer {facts.tokenizer!r}; tokenizers that exist: {', '.join(TOKENIZERS)}"
        )
    size = _vocabulary_size(facts, path)
    if facts.vocabulary_size != size:
        raise UsageError(f"{one_line(path)}: vocabulary_size must be {size} here, got {facts.vocabulary_size}")
    if facts.dtype != dtype_for(facts.vocabulary_size):
        raise UsageError(f"{one_line(path)}: dtype must be {dtype_for(facts.vocabulary_size)}, got {facts.dtype!r}")
    if min(facts.num_train, facts.num_val) < 1:
        raise UsageError(f"{one_line(path)}: num_train and num_val must be at least 1")
    return facts


def _vocabulary_size(facts: CorpusFacts, path: Path) -> int:
    try:
        return TOKENIZERS[facts.tokenizer](vocabulary=facts.vocabulary).vocabulary_size
    except UsageError:
        raise
    except Exception as error:  # the library tokenizers has no kind of its own
        raise UsageError(f"{one_line(path)}: vocabulary can't be read; prepare it again") from error


def check_size(path: Path, required: int, *, facts_file: str = FACTS_FILE) -> None:
    """Raises UsageError unless a shard has so many bytes, as the facts in `facts_file` tell."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}; prepare it again") from error
    if size != required:
        what = "cut" if size < required else "too long"
        raise UsageError(f"{one_line(path)}: {what}: {size:,} bytes, {facts_file} tells {required:,}; prepare it again")


def chunks_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file in pieces. Raises UsageError if it can't be read."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error
