"""The folder of prepared pairs: ids and ends of sentences, as little-endian shards, and pairs.json (PairFacts)."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.pairs.sources import SIDES
from bench.data.pairs.tokenizers import SENTENCE_TOKENIZERS, sentence_tokenizer
from bench.data.text.prepared import NUM_BYTES, check_size, digest_of_shards, dtype_for, plain_facts, typed_facts
from bench.data.text.sources import one_line
from bench.data.text.tokenizers import Tokenizer
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

FORMAT_VERSION = 1
FACTS_FILE = "pairs.json"
SPLITS = ("train", "val")
MAX_FACTS_BYTES = 1 << 26
END_BYTES = 8  # of the place where a sentence ends
MADE = "it must be the one that `bench data prepare --target` wrote"


@dataclass(frozen=True, kw_only=True)
class PairFacts:
    """What pairs.json says, but for its version. Counts of tokens and longest sentences: source, then target.

    `vocabulary` holds what the tokenizer learned: characters in the order of their ids, or the JSON of the library
    tokenizers. `digest` is a SHA-256 over tokenizer, vocabulary, split and ids: two of the same digest give the same
    training.
    """

    source: str
    target: str
    tokenizer: str
    vocabulary: str
    vocabulary_size: int
    dtype: str
    num_train: int
    num_val: int
    num_train_source_tokens: int
    num_train_target_tokens: int
    num_val_source_tokens: int
    num_val_target_tokens: int
    digest: str

    def num_tokens(self, split: str, side: str) -> int:
        """Tokens of all sentences of a side."""
        return getattr(self, f"num_{split}_{side}_tokens")

    def num_pairs(self, split: str) -> int:
        """Pairs of a split."""
        return getattr(self, f"num_{split}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sentences:
    """One side of a split: ids of all sentences one after the other, and where each ends (int64); memory-mapped."""

    ids: numpy.ndarray
    ends: numpy.ndarray

    @cached_property
    def starts(self) -> numpy.ndarray:
        """Where each sentence begins, (sentences,) int64."""
        import numpy

        return numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), self.ends[:-1]])

    @cached_property
    def lengths(self) -> numpy.ndarray:
        """Tokens of each sentence, (sentences,) int64."""
        return self.ends - self.starts


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedPairs:
    """Sentences of both splits, by split and side, and how ids become text."""

    facts: PairFacts
    sides: dict[tuple[str, str], Sentences]
    tokenizer: Tokenizer


def is_prepared_pairs(folder: Path) -> bool:
    """Whether a folder holds prepared pairs."""
    return os.path.isfile(folder / FACTS_FILE)


def open_pairs(source: str) -> PreparedPairs:
    """The pairs of a prepared folder. Raises UsageError if there is none, or if it is damaged."""
    import numpy

    folder = Path(os.path.abspath(os.path.expanduser(source)))
    facts = read_pair_facts(folder)

    def mapped(name: str, dtype: str, count: int) -> numpy.ndarray:
        kind = numpy.dtype(dtype).newbyteorder("<")
        return numpy.memmap(folder / name, dtype=kind, mode="r", shape=(count,)).view(numpy.ndarray)

    sides = {
        (split, side): Sentences(
            ids=mapped(ids_file(split, side), facts.dtype, facts.num_tokens(split, side)),
            ends=mapped(ends_file(split, side), "int64", facts.num_pairs(split)),
        )
        for split in SPLITS
        for side in SIDES
    }
    tokenizer = sentence_tokenizer(facts.tokenizer).kind(vocabulary=facts.vocabulary)
    return PreparedPairs(facts=facts, sides=sides, tokenizer=tokenizer)


def ids_file(split: str, side: str) -> str:
    """The shard with the ids of a side."""
    return f"{split}.{side}.ids"


def ends_file(split: str, side: str) -> str:
    """The shard with the place behind the last token of each sentence of a side."""
    return f"{split}.{side}.ends"


def shards(facts: PairFacts) -> dict[str, int]:
    """Every shard with its bytes."""
    sizes = {}
    for split in SPLITS:
        for side in SIDES:
            sizes[ids_file(split, side)] = facts.num_tokens(split, side) * NUM_BYTES[facts.dtype]
            sizes[ends_file(split, side)] = facts.num_pairs(split) * END_BYTES
    return sizes


def read_pair_facts(folder: Path) -> PairFacts:
    """The facts of prepared pairs, once its files have the sizes that they tell.

    Raises UsageError if there are none, if pairs.json is damaged or of another version, or if a shard is missing or
    cut.
    """
    path = folder / FACTS_FILE
    if not is_prepared_pairs(folder):
        raise UsageError(
            f"{one_line(folder)}: no prepared pairs; it must be a folder made by `bench data prepare --target`"
        )
    plain = plain_facts(path, max_bytes=MAX_FACTS_BYTES, made=MADE)
    facts = _checked(plain, path)
    for name, size in shards(facts).items():
        check_size(folder / name, size, facts_file=FACTS_FILE)
    return facts


def pair_facts_json(facts: PairFacts) -> bytes:
    """The content of pairs.json."""
    return (json.dumps({"version": FORMAT_VERSION, **asdict(facts)}, indent=2) + "\n").encode()


def with_pair_digest(folder: Path, facts: PairFacts) -> PairFacts:
    """The facts with the digest of the shards in a folder. Reads all of them."""
    header = {"version": FORMAT_VERSION, **asdict(facts)}
    for name in ("source", "target", "digest"):
        del header[name]
    return replace(facts, digest=digest_of_shards(header, [folder / name for name in shards(facts)]))


def check_pairs(folder: Path) -> PairFacts:
    """The facts of prepared pairs, once ends, every id and the digest were found to be right. Reads all of them.

    Raises UsageError if there are none, or if a file is damaged.
    """
    facts = read_pair_facts(folder)
    for (split, side), sentences in open_pairs(str(folder)).sides.items():
        if sentences.lengths.min() < 1 or sentences.ends[-1] != len(sentences.ids):
            path = one_line(folder / ends_file(split, side))
            raise UsageError(f"{path}: ends are not in order, up to the last token; prepare it again")
        if sentences.ids.max() >= facts.vocabulary_size:
            raise UsageError(
                f"{one_line(folder / ids_file(split, side))}: token {int(sentences.ids.argmax()):,} has the id "
                f"{sentences.ids.max()}, ids must be below {facts.vocabulary_size}, the size of the vocabulary; "
                "prepare it again"
            )
    if with_pair_digest(folder, facts).digest != facts.digest:
        raise UsageError(
            f"{one_line(folder)}: the tokens are not those of the digest in {FACTS_FILE}; prepare it again"
        )
    return facts


def _checked(plain: Any, path: Path) -> PairFacts:
    facts = typed_facts(PairFacts, plain, path, version=FORMAT_VERSION, of=f"prepared pairs; {MADE}", least=0)
    if facts.tokenizer not in SENTENCE_TOKENIZERS:
        raise UsageError(f"{one_line(path)}: unknown tokenizer {facts.tokenizer!r}; prepare it again")
    if facts.vocabulary_size < 1 or facts.dtype != dtype_for(facts.vocabulary_size):
        raise UsageError(f"{one_line(path)}: vocabulary_size and dtype do not agree; prepare it again")
    if min(facts.num_train, facts.num_val) < 1:
        raise UsageError(f"{one_line(path)}: num_train and num_val must be at least 1")
    return facts
