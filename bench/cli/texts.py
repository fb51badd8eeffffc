"""Of `bench data`: text, from files or a data set, and what a corpus holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.preparation import Preparation
from bench.cli.shared import say
from bench.cli.streams import printable
from bench.cli.writing import OnProgress
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.data.text.prepared import CorpusFacts
    from bench.data.text.sources import Source


def prepare_text(asked: Preparation, folder: Path, on_progress: OnProgress) -> None:
    """Makes the folder. Raises UsageError for a source that is prepared already, and what write_corpus raises."""
    from bench.data.text.write import write_corpus

    write_corpus(
        folder,
        _source(asked),
        asked.tokenizer or "bytes",
        val_fraction=asked.val_fraction,
        max_tokens=asked.max_tokens,
        vocabulary_size=asked.vocabulary_size,
        on_progress=on_progress,
    )


def _source(asked: Preparation) -> Source:
    from bench.data.text.corpus import prepared_tokenizer
    from bench.data.text.sources import HUB_PREFIX, find_source, one_line

    if asked.source.startswith(HUB_PREFIX):
        from bench.data.hub import hub_source

        return hub_source(asked.source, text_field=asked.text_field or "text", split=asked.split or "train")
    if asked.has_any("text_field", "split"):
        say("--text-field and --split have no effect: they are for data sets of hf:")
    if prepared_tokenizer(asked.source) is not None:
        raise UsageError(f"{one_line(asked.source)}: prepared already; name it in a suite as it is")
    return find_source(asked.source)


def print_text(folder: Path, *, as_json: bool) -> None:
    """What a folder of a prepared corpus holds."""
    from bench.data.text.prepared import read_facts

    print_text_facts(read_facts(folder), as_json=as_json)


def print_text_facts(facts: CorpusFacts, *, as_json: bool, sample: str | None = None) -> None:
    """What a corpus holds; with a sample its first letters."""
    if as_json:
        plain = {key: value for key, value in asdict(facts).items() if key != "vocabulary"}
        print(json.dumps(plain | ({} if sample is None else {"sample": sample}), indent=2))
        return
    num_skipped = facts.num_files - facts.num_documents
    files = f", {facts.num_files:,} files" if facts.num_files > 1 else ""
    files += f" ({num_skipped:,} skipped, not text in UTF-8)" if num_skipped > 0 else ""
    print(f"source: {printable(facts.source)}{files}")
    print(f"tokenizer: {facts.tokenizer}, {facts.vocabulary_size:,} ids ({facts.dtype})")
    print(f"tokens: {facts.num_train + facts.num_val:,} ({facts.num_train:,} train, {facts.num_val:,} held out)")
    print(f"digest: {facts.digest}")
    if sample is not None:
        print(f"sample:\n{printable(sample)}")
