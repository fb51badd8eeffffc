"""Of `bench data`: sentences and their translations, from two files or a data set, and what a prepared folder holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.preparation import Preparation
from bench.cli.streams import printable
from bench.cli.writing import OnProgress
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.data.pairs.sources import PairSource

SAMPLE_PAIRS = 5
NUMBERS = "numbers"  # as bench.workloads.translation names them


def are_pairs(asked: Preparation) -> bool:
    """Whether an option that is for translation was given."""
    return asked.has_any("target", "val_source", "val_target", "source_field", "target_field", "val_split")


def prepare_pairs(asked: Preparation, folder: Path, on_progress: OnProgress) -> None:
    """Makes the folder. Raises UsageError for options that do not fit, and what write_pairs raises."""
    from bench.data.pairs.write import write_pairs
    from bench.data.text.sources import HUB_PREFIX
    from bench.data.text.tokenizers import DEFAULT_BPE_SIZE

    if asked.has_any("text_field", "max_tokens"):
        raise UsageError("--text-field and --max-tokens are for a text, and the other options for translation")
    train, val = _of_hub(asked) if asked.source.startswith(HUB_PREFIX) else _of_files(asked)
    tokenizer = asked.tokenizer or "bpe"
    if asked.vocabulary_size is not None and tokenizer != "bpe":
        raise UsageError(f"--vocabulary-size is for the tokenizer bpe, got {tokenizer}")
    write_pairs(
        folder,
        train,
        tokenizer,
        val=val,
        val_fraction=asked.val_fraction,
        vocabulary_size=asked.vocabulary_size or DEFAULT_BPE_SIZE,
        on_progress=on_progress,
    )


def _of_files(asked: Preparation) -> tuple[PairSource, PairSource | None]:
    from bench.data.pairs.sources import pair_files

    if asked.target is None:
        raise UsageError("translation needs --target, the file whose line i translates line i of SOURCE")
    if asked.has_any("source_field", "target_field", "split", "val_split"):
        raise UsageError("--source-field, --target-field, --split and --val-split are for data sets of hf:")
    if (asked.val_source is None) != (asked.val_target is None):
        raise UsageError("held-out lines need --val-source and --val-target, both")
    train = pair_files(asked.source, str(asked.target))
    if asked.val_source is None:
        return train, None
    return train, pair_files(str(asked.val_source), str(asked.val_target))


def _of_hub(asked: Preparation) -> tuple[PairSource, PairSource | None]:
    from bench.data.hub import hub_pairs

    if asked.source_field is None or asked.target_field is None:
        raise UsageError("pairs of a data set of hf: need --source-field and --target-field, such as en and de")
    if asked.has_any("target", "val_source", "val_target"):
        raise UsageError("--target, --val-source and --val-target are for files; a data set of hf: has fields")
    fields = (asked.source_field, asked.target_field)
    train = hub_pairs(asked.source, fields=fields, split=asked.split or "train")
    if asked.val_split is None:
        return train, None
    return train, hub_pairs(asked.source, fields=fields, split=asked.val_split)


def has_pairs(folder: Path) -> bool:
    """Whether a folder holds prepared pairs."""
    from bench.data.pairs.prepared import is_prepared_pairs

    return is_prepared_pairs(folder)


def print_pairs(folder: Path, *, as_json: bool, has_sample: bool = False) -> None:
    """What a folder of prepared pairs holds; with a sample its first pairs. Raises UsageError if it is damaged."""
    from bench.data.pairs.prepared import read_pair_facts

    facts = read_pair_facts(folder)
    sample = _sample(folder) if has_sample else []
    if as_json:
        plain = {key: value for key, value in asdict(facts).items() if key != "vocabulary"}
        print(json.dumps(plain | ({"sample": sample} if has_sample else {}), indent=2))
        return
    print(f"source: {printable(facts.source)}\ntarget: {printable(facts.target)}")
    print(f"tokenizer: {facts.tokenizer}, {facts.vocabulary_size:,} ids ({facts.dtype})")
    print(f"pairs: {facts.num_train + facts.num_val:,} ({facts.num_train:,} train, {facts.num_val:,} held out)")
    for side, (longest, mean) in _lengths(folder).items():
        print(f"tokens of a {side}: {mean:.1f} on average, at most {longest:,}")
    print(f"digest: {facts.digest}")
    for source, target in sample:
        print(printable(f"{source}\n    {target}"))


def print_numbers(*, as_json: bool) -> None:
    """What the pairs of number words are, as a suite that names nothing else has them, and the first of seed 0."""
    import torch

    from bench.data.pairs.number_words import MAX_DIGITS
    from bench.workloads.number_pairs import HELD_OUT_ONE_IN, LARGEST_TRAINED, NumberPairs

    pairs = NumberPairs(digits=MAX_DIGITS, num_held_out=1)
    zero = torch.zeros(1, dtype=torch.int64)
    sides = [side[0, 0].tolist() for side in pairs.train(zero, zero, SAMPLE_PAIRS)]
    sample = [(pairs.text(source), pairs.text(target)) for source, target in zip(*sides, strict=True)]
    if as_json:
        facts = {"source": NUMBERS, "digits": MAX_DIGITS, "vocabulary_size": pairs.vocabulary_size}
        print(json.dumps(facts | {"digest": pairs.digest(), "sample": sample}, indent=2))
        return
    print("source: number words, English to German, made anew at every seed and step")
    print(f"tokenizer: characters, {pairs.vocabulary_size} ids")
    print(f"pairs: numbers of 1 to {MAX_DIGITS} digits, unless a suite says otherwise")
    print(f"held out: of those above {LARGEST_TRAINED} one in {HELD_OUT_ONE_IN}, by a hash of the number")
    print(f"tokens: of a source at most {pairs.source_tokens}, of a target at most {pairs.target_tokens}")
    print(f"digest: {pairs.digest()}")
    for source, target in sample:
        print(f"{source}\n    {target}")


def _lengths(folder: Path) -> dict[str, tuple[int, float]]:
    """Most tokens, and the mean, of the sentences of a side that training reads."""
    from bench.data.pairs.prepared import open_pairs
    from bench.data.pairs.sources import SIDES

    sides = open_pairs(str(folder)).sides
    return {side: (int(sides["train", side].lengths.max()), sides["train", side].lengths.mean()) for side in SIDES}


def _sample(folder: Path) -> list[tuple[str, str]]:
    from bench.data.pairs.prepared import open_pairs
    from bench.data.pairs.sources import SIDES

    opened = open_pairs(str(folder))
    texts: list[list[str]] = []
    for side in SIDES:
        sentences = opened.sides["train", side]
        places = zip(sentences.starts[:SAMPLE_PAIRS], sentences.ends[:SAMPLE_PAIRS], strict=True)
        texts.append([opened.tokenizer.decode(sentences.ids[start:end]) for start, end in places])
    return list(zip(*texts, strict=True))
