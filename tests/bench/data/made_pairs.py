"""Prepared pairs for tests: each line of a text, and itself as its translation."""

from pathlib import Path

from bench.data.pairs.sources import pair_files
from bench.data.pairs.write import write_pairs
from tests.trials import text


def echoes(place: Path, *, num_sentences: int = 60, tokenizer: str = "characters") -> Path:
    """The folder `pairs` of prepared pairs below a place; the last tenth of the sentences is held out."""
    lines = place / "lines of pairs"
    lines.write_text(text(num_sentences))
    write_pairs(place / "pairs", pair_files(str(lines), str(lines)), tokenizer)
    return place / "pairs"
