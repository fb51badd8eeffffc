"""find_recordings(): recordings and their transcripts in a folder, as LibriSpeech has them, or a word a file as FSDD.

LibriSpeech: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac (or .wav), and beside them SPEAKER-CHAPTER.trans.txt
with a line `ID TRANSCRIPT` for each. FSDD: files DIGIT_SPEAKER_INDEX.wav, whose word is the digit's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.data.speech.formants import DIGITS
from bench.data.text.sources import one_line
from bench.errors import UsageError

SUFFIXES = (".wav", ".flac")
TRANSCRIPTS = "*.trans.txt"
HELD_OUT_EVERY = 10  # where no subset is called dev or test: the recordings 9, 19, 29, ... of the sorted ones
FSDD_HELD_OUT = 5  # recordings 0 to 4 of each digit and speaker, by custom of the data set
_FSDD_NAME = re.compile(r"([0-9])_([^_]+)_([0-9]+)")
LAYOUTS = (
    "required recordings with NAME.trans.txt beside them, as LibriSpeech has, or DIGIT_SPEAKER_INDEX.wav, as FSDD has"
)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording: where it is, whose it is, what is said; `content` reads the bytes of its file."""

    place: str
    speaker: str
    text: str
    is_held_out: bool
    content: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """All recordings of a source; `count` is None where it is not known before."""

    name: str
    count: int | None
    each: Callable[[], Iterator[Recording]]


def has_recordings(folder: Path) -> bool:
    """Whether a folder holds transcripts as LibriSpeech has them, or recordings for at least half of its files."""
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    num_recordings = sum(name.lower().endswith(SUFFIXES) for name in names)
    return any(name.endswith(TRANSCRIPTS[1:]) for name in names) or (
        num_recordings > 0 and 2 * num_recordings >= len(names)
    )


def find_recordings(folder: Path) -> Recordings:
    """The recordings of a folder of one of the two layouts, sorted by path.

    Raises UsageError for another layout, a recording without a transcript or with two, and a transcript without a
    recording.
    """
    transcripts = sorted(folder.rglob(TRANSCRIPTS))
    recordings = _of_librispeech(folder, transcripts) if transcripts else _of_digits(folder)
    return Recordings(name=str(folder), count=len(recordings), each=lambda: iter(recordings))


def _of_librispeech(folder: Path, transcripts: list[Path]) -> list[Recording]:
    lines = [(path, number, line) for path in transcripts for number, line in _lines(path)]
    has_subsets = any(_is_held_out_subset(folder, path) for path in transcripts)
    recordings: dict[Path, Recording] = {}
    for index, (path, number, line) in enumerate(lines):
        name, _, text = line.partition(" ")
        place = f"{one_line(path)}:{number}"
        audio = next((path.parent / (name + s) for s in SUFFIXES if (path.parent / (name + s)).is_file()), None)
        if audio is None:
            raise UsageError(f"{place}: a transcript without audio; required {name}.flac or {name}.wav beside it")
        if audio in recordings:
            raise UsageError(
                f"{place}: a second transcript of {name}, after {recordings[audio].place}; one is required"
            )
        recordings[audio] = Recording(
            place=place,
            speaker=name.partition("-")[0],
            text=text,
            is_held_out=_is_held_out_subset(folder, path) if has_subsets else _is_held_out(index),
            content=_reader(audio),
        )
    for audio in _audio_files(folder):
        if audio not in recordings:
            raise UsageError(
                f"{one_line(audio)}: a recording without a transcript; required a line of it in a .trans.txt beside it"
            )
    return list(recordings.values())


def _of_digits(folder: Path) -> list[Recording]:
    words, recordings = list(DIGITS), []
    for audio in _audio_files(folder):
        match = _FSDD_NAME.fullmatch(audio.stem)
        if match is None:
            raise UsageError(f"{one_line(audio)}: no transcript; {LAYOUTS}")
        digit, speaker, index = match.groups()
        recordings.append(
            Recording(
                place=one_line(audio),
                speaker=speaker,
                text=words[int(digit)],
                is_held_out=int(index) < FSDD_HELD_OUT,
                content=_reader(audio),
            )
        )
    if not recordings:
        raise UsageError(f"{one_line(folder)}: no recordings; {LAYOUTS}")
    return recordings


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, from 1. Raises UsageError for a file that can't be read or is no text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{one_line(path)}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _audio_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _is_held_out_subset(folder: Path, transcript: Path) -> bool:
    return transcript.relative_to(folder).parts[0].startswith(("dev", "test"))


def _is_held_out(index: int) -> bool:
    return index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def _reader(path: Path) -> Callable[[], bytes]:
    def content() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error

    return content
