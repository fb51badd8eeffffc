"""Of `bench data`: recordings and their transcripts, from a folder or a data set, and what a prepared folder holds."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.preparation import Preparation
from bench.cli.streams import printable
from bench.cli.writing import OnProgress
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.data.speech.prepared import SpeechFacts
    from bench.data.speech.recordings import Recordings

SAMPLE_TRANSCRIPTS = 5
SPOKEN_DIGITS = "spoken_digits"
# Options of `bench data prepare` that recordings have no use for.
OF_OTHERS = (
    *("tokenizer", "max_tokens", "vocabulary_size"),
    *("target", "val_source", "val_target", "source_field", "target_field"),
)


def are_recordings(asked: Preparation) -> bool:
    """Whether SOURCE is a folder of recordings, or an option that is for recordings alone was given."""
    if asked.has_any("audio_field", "speaker_field", "bands"):
        return True
    from bench.data.speech.recordings import has_recordings

    return has_recordings(Path(asked.source).expanduser())


def prepare_speech(asked: Preparation, folder: Path, on_progress: OnProgress) -> None:
    """Makes the folder. Raises UsageError for options that do not fit, and what write_speech raises."""
    from bench.data.speech.write import write_speech
    from bench.data.text.sources import HUB_PREFIX

    if asked.has_any(*OF_OTHERS):
        raise UsageError(f"{asked.source}: of recordings; leave out the options of texts and translation")
    if asked.bands is not None and asked.bands < 1:
        raise UsageError(f"--bands must be at least 1, got {asked.bands}")
    source = _of_hub(asked) if asked.source.startswith(HUB_PREFIX) else _of_folder(asked)
    write_speech(folder, source, num_bands=asked.bands, on_progress=on_progress)


def _of_folder(asked: Preparation) -> Recordings:
    from bench.data.speech.recordings import find_recordings

    if asked.has_any("audio_field", "speaker_field", "text_field", "split", "val_split"):
        raise UsageError(
            "--audio-field, --speaker-field, --text-field, --split and --val-split are for data sets of hf:"
        )
    return find_recordings(Path(asked.source).expanduser().absolute())


def _of_hub(asked: Preparation) -> Recordings:
    from bench.data.hub import hub_recordings

    if asked.audio_field is None:
        raise UsageError("recordings of a data set of hf: need --audio-field, such as audio")
    return hub_recordings(
        asked.source,
        fields=(asked.audio_field, asked.text_field or "text", asked.speaker_field),
        splits=(asked.split or "train", asked.val_split),
    )


def print_spoken_digits(*, as_json: bool) -> None:
    """What the synthetic digits are, as a suite that names nothing else has them, and transcripts of seed 0."""
    import torch

    from bench.data.speech.labels import text_of
    from bench.data.speech.spoken_digits import NUM_WORDS, SpokenDigits

    speech = SpokenDigits(num_words=NUM_WORDS)
    zero = torch.zeros(1, dtype=torch.int64)
    sample = [text_of(labels) for labels in speech.train(zero, zero, SAMPLE_TRANSCRIPTS).labels[0, 0].tolist()]
    facts = {"source": SPOKEN_DIGITS, "num_bands": speech.num_bands, "num_words": NUM_WORDS, "digest": speech.digest()}
    if as_json:
        print(json.dumps(facts | {"sample": sample}, indent=2))
        return
    print("source: synthetic, number words from formants, made anew at every seed and step")
    print(f"features: {speech.num_bands} bands of log-mel each 10 ms")
    print(f"utterances: of at most {NUM_WORDS} words and {speech.num_frames} frames, unless a suite says otherwise")
    print(f"digest: {speech.digest()}", *sample, sep="\n")


def has_speech(folder: Path) -> bool:
    """Whether a folder holds prepared speech."""
    from bench.data.speech.prepared import is_prepared_speech

    return is_prepared_speech(folder)


def print_speech(folder: Path, *, as_json: bool, has_sample: bool = False) -> None:
    """What a folder of prepared speech holds; with a sample its first transcripts. Raises UsageError if damaged."""
    from bench.data.speech.prepared import read_speech_facts

    facts = read_speech_facts(folder)
    sample = _sample(folder, facts) if has_sample else []
    if as_json:
        print(json.dumps(asdict(facts) | ({"sample": sample} if has_sample else {}), indent=2))
        return
    print(f"source: {printable(facts.source)}")
    print(f"recordings: {facts.num_train + facts.num_val:,} ({facts.num_train:,} train, {facts.num_val:,} held out)")
    print(f"speakers: {facts.num_speakers:,}")
    print(f"features: {facts.num_bands} bands of log-mel each 10 ms, of {facts.rate:,} samples a second")
    mean, longest = _lengths(folder, facts)
    print(f"frames of a recording: {mean:.1f} on average, at most {longest:,}")
    print(f"digest: {facts.digest}")
    for transcript in sample:
        print(printable(transcript))


def _lengths(folder: Path, facts: SpeechFacts) -> tuple[float, int]:
    """Mean and most frames of the recordings that training reads."""
    import numpy

    from bench.data.speech.prepared import open_speech

    num_frames = numpy.diff(open_speech(folder, facts)["train"].frame_ends, prepend=0)
    return float(num_frames.mean()), int(num_frames.max())


def _sample(folder: Path, facts: SpeechFacts) -> list[str]:
    from bench.data.speech.labels import text_of
    from bench.data.speech.prepared import open_speech

    train = open_speech(folder, facts)["train"]
    ends = [0, *train.label_ends[:SAMPLE_TRANSCRIPTS].tolist()]
    return [text_of(train.labels[start:end].tolist()) for start, end in itertools.pairwise(ends)]
