"""Streams of text in pieces: documents joined, cut off, or cut where GPT-2's pattern lets no token reach across."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SEPARATOR = "\x1c"  # ASCII's file separator: before each document, where a corpus has several
PIECE_CHARACTERS = 1 << 20
BATCH_CHARACTERS = 1 << 22

Documents = Iterable[Iterable[str]]


def gpt2_pieces(texts: Iterable[str], *, num_characters: int = PIECE_CHARACTERS) -> Iterator[str]:
    """The text in pieces of at least so many characters whose ids, one after the other, are those of the whole.

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


def batches(documents: Documents) -> Iterator[list[tuple[bool, str]]]:
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
        if is_first:  # of an empty document
            batch.append((is_first, ""))
    if batch:
        yield batch


def up_to(documents: Documents, max_characters: int | None) -> Iterator[Iterator[str]]:
    """The documents up to so many characters."""
    left = max_characters

    def cut(document: Iterable[str]) -> Iterator[str]:
        nonlocal left
        for text in document:
            text = text[:left]
            left = None if left is None else left - len(text)
            yield text
            if left == 0:
                return

    for document in documents:
        yield cut(document)
        if left == 0:
            return


def joined(documents: Documents, is_separated: bool) -> Iterator[str]:
    """All text of all documents, with a separator before each where they are separated."""
    for document in documents:
        if is_separated:
            yield SEPARATOR
        yield from document
