"""The folder of prepared speech: log-mel frames and labels of recordings as shards, and speech.json (SpeechFacts)."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.speech.labels import NUM_SYMBOLS, SYMBOLS
from bench.data.text.prepared import check_size, digest_of_shards, plain_facts, typed_facts
from bench.data.text.sources import one_line
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

FORMAT_VERSION = 1
FACTS_FILE = "speech.json"
SPLITS = ("train", "val")
SHARDS = {"frames": "float16", "frame_ends": "int64", "labels": "uint8", "label_ends": "int64", "speakers": "int32"}
MAX_FACTS_BYTES = 1 << 20
MADE = "it must be the one that `bench data prepare` wrote"


@dataclass(frozen=True, kw_only=True)
class SpeechFacts:
    """What speech.json says, but for its version.

    rate: samples of a recording a second. symbols: characters of labels, from label 1 on. `digest` is a SHA-256 over
    rate, bands, symbols and shards: two of the same digest give the same training.
    """

    source: str
    rate: int
    num_bands: int
    symbols: str
    num_speakers: int
    num_train: int
    num_val: int
    num_train_frames: int
    num_val_frames: int
    num_train_labels: int
    num_val_labels: int
    digest: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Recordings: frames (all frames, bands) float16, natural log of power, not normalised; labels.

    frame_ends, label_ends: (recordings,) int64, where each ends; speakers: (recordings,) int32, from 0.
    """

    frames: numpy.ndarray
    frame_ends: numpy.ndarray
    labels: numpy.ndarray
    label_ends: numpy.ndarray
    speakers: numpy.ndarray


def shard(split: str, kind: str) -> str:
    """The name of a shard: one of SHARDS of a split."""
    return f"{split}.{kind}"


def is_prepared_speech(folder: Path) -> bool:
    """Whether a folder holds prepared speech."""
    return os.path.isfile(folder / FACTS_FILE)


def open_speech(folder: Path, facts: SpeechFacts) -> dict[str, Split]:
    """The recordings of both splits, memory-mapped."""
    import numpy

    def mapped(split: str, kind: str) -> numpy.ndarray:
        dtype = numpy.dtype(SHARDS[kind]).newbyteorder("<")
        of_all = numpy.memmap(folder / shard(split, kind), dtype=dtype, mode="r").view(numpy.ndarray)
        return of_all.reshape(-1, facts.num_bands) if kind == "frames" else of_all

    return {split: Split(**{kind: mapped(split, kind) for kind in SHARDS}) for split in SPLITS}


def read_speech_facts(folder: Path) -> SpeechFacts:
    """The facts of prepared speech, once its files have the sizes that they tell.

    Raises UsageError if there are none, if speech.json is damaged or of another version, or if a shard is missing or
    cut.
    """
    path = folder / FACTS_FILE
    if not is_prepared_speech(folder):
        raise UsageError(f"{one_line(folder)}: no prepared speech; it must be a folder made by `bench data prepare`")
    plain = plain_facts(path, max_bytes=MAX_FACTS_BYTES, made=MADE)
    facts = _checked(plain, path)
    for name, size in _sizes(facts).items():
        check_size(folder / name, size, facts_file=FACTS_FILE)
    return facts


def speech_facts_json(facts: SpeechFacts) -> bytes:
    """The content of speech.json."""
    return (json.dumps({"version": FORMAT_VERSION, **asdict(facts)}, indent=2) + "\n").encode()


def with_speech_digest(folder: Path, facts: SpeechFacts) -> SpeechFacts:
    """The facts with the digest of the shards in a folder. Reads all of them."""
    header = {"version": FORMAT_VERSION, **asdict(facts)}
    for name in ("source", "digest"):
        del header[name]
    return replace(facts, digest=digest_of_shards(header, [folder / name for name in _sizes(facts)]))


def check_speech(folder: Path) -> SpeechFacts:
    """The facts of prepared speech, once ends, every frame and label and the digest were found to be right.

    Raises UsageError if there are none, or if a file is damaged.
    """
    import numpy

    facts = read_speech_facts(folder)
    for name, split in open_speech(folder, facts).items():
        for kind, ends in (("frames", split.frame_ends), ("labels", split.label_ends)):
            if numpy.diff(ends, prepend=0).min() < 1 or ends[-1] != len(getattr(split, kind)):
                path = one_line(folder / shard(name, kind[:-1] + "_ends"))
                raise UsageError(f"{path}: ends are not in order, up to the last; prepare it again")
        if not 1 <= split.labels.min() <= split.labels.max() < NUM_SYMBOLS:
            path = one_line(folder / shard(name, "labels"))
            raise UsageError(f"{path}: labels must be 1 to {NUM_SYMBOLS - 1}; prepare it again")
        if not numpy.isfinite(split.frames).all():
            raise UsageError(f"{one_line(folder / shard(name, 'frames'))}: a frame is not finite; prepare it again")
    if with_speech_digest(folder, facts).digest != facts.digest:
        raise UsageError(
            f"{one_line(folder)}: the shards are not those of the digest in {FACTS_FILE}; prepare it again"
        )
    return facts


def _sizes(facts: SpeechFacts) -> dict[str, int]:
    """Every shard with its bytes."""
    sizes = {}
    for split in SPLITS:
        num_recordings, num_frames, num_labels = (
            getattr(facts, f"num_{split}{of}") for of in ("", "_frames", "_labels")
        )
        sizes |= {
            shard(split, "frames"): num_frames * facts.num_bands * 2,
            shard(split, "frame_ends"): num_recordings * 8,
            shard(split, "labels"): num_labels,
            shard(split, "label_ends"): num_recordings * 8,
            shard(split, "speakers"): num_recordings * 4,
        }
    return sizes


def _checked(plain: Any, path: Path) -> SpeechFacts:
    facts = typed_facts(SpeechFacts, plain, path, version=FORMAT_VERSION, of=f"prepared speech; {MADE}", least=1)
    if facts.symbols != SYMBOLS:
        raise UsageError(f"{one_line(path)}: prepared with other characters than {SYMBOLS!r}; prepare it again")
    return facts
