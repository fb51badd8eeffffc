"""write_pairs(): sentences and translations through a tokenizer into a folder, as a stream, whole or not at all."""

from __future__ import annotations

import array
import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy

from bench.data.pairs.prepared import FACTS_FILE, PairFacts, ends_file, ids_file, pair_facts_json, with_pair_digest
from bench.data.pairs.sources import SIDES, Pair, PairSource
from bench.data.pairs.tokenizers import encoded, sentence_tokenizer
from bench.data.text.prepared import dtype_for
from bench.data.text.sources import one_line
from bench.data.text.tokenizers import DEFAULT_BPE_SIZE, Tokenizer
from bench.data.text.write import VAL_FRACTION, OnProgress, made_whole, no_progress
from bench.errors import UsageError

PAIRS_A_NEWS = 1_000  # between two reports of progress


def write_pairs(
    folder: Path,
    train: PairSource,
    tokenizer: str,
    *,
    val: PairSource | None = None,
    val_fraction: float = VAL_FRACTION,
    vocabulary_size: int = DEFAULT_BPE_SIZE,
    on_progress: OnProgress = no_progress,
) -> None:
    """Makes `folder` with the tokens of pairs; held out are those of `val`, else the last `val_fraction` of `train`.

    One vocabulary for both languages is learned of `train`; vocabulary_size is that of bpe. The folder is written
    beside its place and renamed; an error or Ctrl-C leaves nothing.

    Raises AlreadyMadeError if the folder holds something; UsageError if pairs can't be read, are too few, hold a
    character that the vocabulary lacks, or change while they are read, or if the folder can't be written; BudgetError
    if the disk is full.
    """
    if not 0 < val_fraction < 1:
        raise UsageError(f"val_fraction must be between 0 and 1, got {val_fraction:g}")
    kind = sentence_tokenizer(tokenizer)
    sources = [train] if val is None else [train, val]
    with made_whole(folder) as temporary:
        stamps = [source.stamps for source in sources]
        reading = _Reading(train, "learning the vocabulary", on_progress)
        sentences = itertools.chain.from_iterable(pair for _, pair in reading.pairs())
        learned = kind.learn(sentences, vocabulary_size)
        for _ in sentences:  # a tokenizer that learns nothing has read nothing
            pass
        num_val = int(Fraction(str(val_fraction)) * reading.num_pairs) if val is None else 0
        num_train = reading.num_pairs - num_val
        reading = _Reading(train, "writing tokens", on_progress)
        pairs = reading.pairs()
        counts = {"train": _write(temporary, "train", itertools.islice(pairs, num_train), learned, train)}
        if val is not None:
            for _ in pairs:
                pass
            pairs = _Reading(val, "writing held-out tokens", on_progress).pairs()
        counts["val"] = _write(temporary, "val", pairs, learned, val or train)
        if [source.stamps for source in sources] != stamps:
            raise UsageError(
                f"{one_line(train.names[0])}: the files changed while they were read; run the command again"
            )
        on_progress("computing the digest", None, 0)
        facts = _facts(sources, tokenizer, learned, counts)
        (temporary / FACTS_FILE).write_bytes(pair_facts_json(with_pair_digest(temporary, facts)))


def _facts(
    sources: list[PairSource], tokenizer: str, learned: Tokenizer, counts: dict[str, tuple[int, int, int]]
) -> PairFacts:
    """counts: pairs, source tokens and target tokens of each split. Raises UsageError if a split has no pair."""
    for split, (num_pairs, *_) in counts.items():
        if not num_pairs:
            name = one_line(sources[-1 if split == "val" else 0].names[0])
            raise UsageError(
                f"{name}: too small: no pair is left for {'training' if split == 'train' else 'validation'}"
            )
    return PairFacts(
        source=sources[0].names[0],
        target=sources[0].names[1],
        tokenizer=tokenizer,
        vocabulary=learned.vocabulary,
        vocabulary_size=learned.vocabulary_size,
        dtype=dtype_for(learned.vocabulary_size),
        num_train=counts["train"][0],
        num_val=counts["val"][0],
        num_train_source_tokens=counts["train"][1],
        num_train_target_tokens=counts["train"][2],
        num_val_source_tokens=counts["val"][1],
        num_val_target_tokens=counts["val"][2],
        digest="",
    )


class _Reading:
    """One pass over the pairs of a source; counts what goes through and tells it."""

    def __init__(self, source: PairSource, what: str, on_progress: OnProgress) -> None:
        self.num_pairs = 0
        self._source, self._what, self._on_progress = source, what, on_progress

    def pairs(self) -> Iterator[tuple[int, Pair]]:
        """Pairs by their numbers, from 1."""
        for number, pair in enumerate(self._source.pairs(), start=1):
            self.num_pairs = number
            if number % PAIRS_A_NEWS == 0:
                self._on_progress(f"{self._what}, {number:,} pairs", None, 0)
            yield number, pair


def _write(
    folder: Path, split: str, pairs: Iterator[tuple[int, Pair]], tokenizer: Tokenizer, source: PairSource
) -> tuple[int, int, int]:
    """Writes the shards of a split: its pairs, source tokens and target tokens."""
    dtype = numpy.dtype(dtype_for(tokenizer.vocabulary_size)).newbyteorder("<")
    ends = {side: array.array("q") for side in SIDES}
    num_tokens = dict.fromkeys(SIDES, 0)
    with contextlib.ExitStack() as stack:
        files = {side: stack.enter_context((folder / ids_file(split, side)).open("wb")) for side in SIDES}
        for number, pair in pairs:
            for side, sentence, place in zip(SIDES, pair, source.places(number), strict=True):
                ids = encoded(tokenizer, sentence)
                if ids.max() >= tokenizer.vocabulary_size:
                    raise UsageError(
                        f"{place}: {sentence[int(ids.argmax())]!r} is not among the characters of the training lines; "
                        "prepare with bpe or bytes"
                    )
                files[side].write(ids.astype(dtype).tobytes())
                num_tokens[side] += len(ids)
                ends[side].append(num_tokens[side])
    for side in SIDES:
        (folder / ends_file(split, side)).write_bytes(numpy.array(ends[side], dtype="<i8").tobytes())
    return len(ends["source"]), num_tokens["source"], num_tokens["target"]
