"""write_speech(): recordings as log-mel frames and labels in a folder, as a stream, whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy

from bench.data.speech.audio import read_audio
from bench.data.speech.features import HOP_SECONDS, log_mel
from bench.data.speech.labels import SYMBOLS, frames_needed, labels_of
from bench.data.speech.prepared import (
    FACTS_FILE,
    SHARDS,
    SPLITS,
    SpeechFacts,
    shard,
    speech_facts_json,
    with_speech_digest,
)
from bench.data.speech.recordings import Recording, Recordings
from bench.data.text.sources import one_line
from bench.data.text.write import OnProgress, made_whole, no_progress
from bench.errors import UsageError
from bench.lazy import torch

NEWS_EVERY = 100  # recordings between two reports of progress
BANDS = {8_000: 40}  # by samples a second
MOST_BANDS = 80  # of other rates


def write_speech(
    folder: Path, source: Recordings, *, num_bands: int | None = None, on_progress: OnProgress = no_progress
) -> SpeechFacts:
    """Makes `folder` with the frames and labels of `source`, in its order; returns what it says of itself.

    num_bands: 40 at 8 kHz, else 80, unless given. The folder is written beside its place and renamed; an error or
    Ctrl-C leaves nothing.

    Raises AlreadyMadeError if the folder holds something; UsageError, with the place, for recordings that can't be
    read, of different rates, or too short for their transcripts, for characters that are no symbols, and if a split is
    empty; BudgetError if the disk is full.
    """
    with made_whole(folder) as temporary, contextlib.ExitStack() as stack:
        splits = {name: _Split(temporary, name, stack) for name in SPLITS}
        speakers: dict[str, int] = {}
        rate, bands = 0, num_bands or MOST_BANDS
        for number, recording in enumerate(source.each(), start=1):
            audio = read_audio(recording.content(), place=recording.place)
            if rate and audio.rate != rate:
                raise UsageError(
                    f"{recording.place}: {audio.rate:,} samples a second, those before have {rate:,}; one rate is "
                    "required"
                )
            rate, bands = audio.rate, num_bands or BANDS.get(audio.rate, MOST_BANDS)
            frames = log_mel(torch.from_numpy(audio.samples), rate, bands).half().numpy()
            speaker = speakers.setdefault(recording.speaker, len(speakers))
            splits["val" if recording.is_held_out else "train"].add(recording, frames, speaker)
            if number % NEWS_EVERY == 0:
                on_progress("reading recordings", number / source.count if source.count else None, 0)
        for name, split in splits.items():
            if not split.num_recordings:
                what = "training" if name == "train" else "validation"
                raise UsageError(f"{one_line(source.name)}: too small: no recording is left for {what}")
        stack.close()
        facts = with_speech_digest(temporary, _facts(source.name, rate, bands, len(speakers), splits))
        (temporary / FACTS_FILE).write_bytes(speech_facts_json(facts))
    return facts


class _Split:
    """The shards of a split, written recording by recording, and how much they hold."""

    def __init__(self, folder: Path, split: str, stack: contextlib.ExitStack) -> None:
        self._files = {kind: stack.enter_context((folder / shard(split, kind)).open("wb")) for kind in SHARDS}
        self.num_recordings = self.num_frames = self.num_labels = 0

    def add(self, recording: Recording, frames: numpy.ndarray, speaker: int) -> None:
        labels = labels_of(recording.text, place=recording.place)
        if (needed := frames_needed(labels)) > len(frames):
            raise UsageError(
                f"{recording.place}: {len(frames)} frames of {1000 * HOP_SECONDS:g} ms are too few for a transcript "
                f"that needs {needed}, one a character and one between equal ones"
            )
        self.num_recordings += 1
        self.num_frames += len(frames)
        self.num_labels += len(labels)
        written = {
            "frames": frames,
            "frame_ends": self.num_frames,
            "labels": labels,
            "label_ends": self.num_labels,
            "speakers": speaker,
        }
        for kind, values in written.items():
            dtype = numpy.dtype(SHARDS[kind]).newbyteorder("<")
            self._files[kind].write(numpy.asarray(values, dtype=dtype).tobytes())


def _facts(source: str, rate: int, num_bands: int, num_speakers: int, splits: dict[str, _Split]) -> SpeechFacts:
    train, val = splits["train"], splits["val"]
    return SpeechFacts(
        source=source,
        rate=rate,
        num_bands=num_bands,
        symbols=SYMBOLS,
        num_speakers=num_speakers,
        num_train=train.num_recordings,
        num_val=val.num_recordings,
        num_train_frames=train.num_frames,
        num_val_frames=val.num_frames,
        num_train_labels=train.num_labels,
        num_val_labels=val.num_labels,
        digest="",
    )
