"""Transcripts as labels of CTC: the 28 symbols of LibriSpeech's transcripts, by character; 0 is the blank."""

from __future__ import annotations

import itertools

from bench.errors import UsageError

SYMBOLS = " 'abcdefghijklmnopqrstuvwxyz"  # label 1 is the first
SPACE = 1 + SYMBOLS.index(" ")
NUM_SYMBOLS = 1 + len(SYMBOLS)  # with the blank
_LABELS = {symbol: label for label, symbol in enumerate(SYMBOLS, start=1)}


def labels_of(text: str, *, place: str) -> list[int]:
    """Labels of a transcript in lower case, with one space between words.

    Raises UsageError, which begins with `place`, for one without a word or with a character that is no symbol.
    """
    symbols = " ".join(text.lower().split())
    if not symbols:
        raise UsageError(f"{place}: the transcript is empty; at least one word is required")
    for position, symbol in enumerate(symbols):
        if symbol not in _LABELS:
            raise UsageError(
                f"{place}: unknown character {symbol!r} at position {position + 1} of the transcript; characters that "
                "exist: a to z, apostrophe and space"
            )
    return [_LABELS[symbol] for symbol in symbols]


def text_of(labels: list[int]) -> str:
    """The transcript of labels, blanks left out."""
    return "".join(SYMBOLS[label - 1] for label in labels if label)


def frames_needed(labels: list[int]) -> int:
    """Least number of frames from which CTC can say labels: one each, and a blank between two that are equal."""
    return len(labels) + sum(one == other for one, other in itertools.pairwise(labels))
