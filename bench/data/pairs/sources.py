"""Sentences with their translations, as a stream: two text files, line i of one translating line i of the other."""

from __future__ import annotations

import gzip
import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.data.text.sources import Stamp, one_line
from bench.errors import UsageError

Pair = tuple[str, str]  # a sentence and its translation
SIDES = ("source", "target")
BOTH = "line i of one must be the translation of line i of the other"


@dataclass(frozen=True, kw_only=True)
class PairSource:
    """Pairs to tokenize, the same at every call of `pairs`, none of whose sides is empty.

    stamps: the files that they are read from, empty for a stream from a hub. places: what each side's pair of a number
    (from 1) is called in a message, `train.en:12`.
    """

    names: tuple[str, str]
    pairs: Callable[[], Iterator[Pair]]
    places: Callable[[int], tuple[str, str]]
    paths: tuple[str, ...] = ()

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Size and time of each file of the source, as it is now. Raises UsageError if one can't be read."""
        try:
            states = [(path, os.stat(path)) for path in self.paths]
        except OSError as error:
            raise UsageError(f"{one_line(error.filename)}: can't be read: {error.strerror}") from error
        return tuple((path, state.st_size, state.st_mtime_ns) for path, state in states)


def pair_files(source: str, target: str) -> PairSource:
    """The lines of two text files in UTF-8, or of such files under gzip, whose names end in .gz.

    Raises UsageError if one is no file; while reading, with file and line, for an empty line, for what is not UTF-8,
    and where one file ends before the other.
    """
    paths = tuple(os.path.abspath(os.path.expanduser(name)) for name in (source, target))
    for path in paths:
        if not os.path.isfile(path):
            what = "must be a text file" if os.path.exists(path) else "no such file"
            raise UsageError(f"{one_line(path)}: {what}; translation needs two, and {BOTH}")

    def places(number: int) -> tuple[str, str]:
        return f"{one_line(paths[0])}:{number}", f"{one_line(paths[1])}:{number}"

    def pairs() -> Iterator[Pair]:
        sides = itertools.zip_longest(_lines(paths[0]), _lines(paths[1]))
        for number, (source_text, target_text) in enumerate(sides, start=1):
            if source_text is None or target_text is None:
                ended, goes_on = paths if source_text is None else paths[::-1]
                last = f":{number - 1}: the last line, but" if number > 1 else ": an empty file, but"
                raise UsageError(f"{one_line(ended)}{last} {one_line(goes_on)} has more lines; {BOTH}")
            for place, text in zip(places(number), (source_text, target_text), strict=True):
                if not text.strip():
                    raise UsageError(f"{place}: an empty line; each line must be a sentence, and {BOTH}")
            yield source_text, target_text

    return PairSource(names=(paths[0], paths[1]), pairs=pairs, places=places, paths=paths)


def _lines(path: str) -> Iterator[str]:
    """The lines of a file without their ends. Raises UsageError with the line for what can't be read as text."""
    number = 0
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            for line in file:
                number += 1
                yield line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UsageError(
            f"{one_line(path)}:{number}: not text (byte 0x{byte:02x}: {error.reason}); text in UTF-8 is required"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{one_line(path)}:{number}: damaged, not gzip from here on, or cut ({error})") from error
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error
