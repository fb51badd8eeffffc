"""Recordings that were prepared, as training reads them: drawn at (seed, step), several of one speaker joined.

Shapes: leading dimensions (...), R recordings of a split, J joined ones, F frames, N bands, L labels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.speech.features import normalised
from bench.data.speech.labels import SPACE, frames_needed, text_of
from bench.data.speech.prepared import SPLITS, SpeechFacts, Split, open_speech, read_speech_facts, shard
from bench.data.speech.utterances import Utterances
from bench.data.text.sources import one_line
from bench.errors import UsageError
from bench.lazy import torch
from bench.randomness import integers

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

MAX_ON_DEVICE = 2**30  # bytes of frames that are copied to the device whole; of more, those of a batch are


@dataclass(frozen=True, kw_only=True, eq=False)
class _Index:
    """Those recordings of a split that are used, by speaker: first frame and label of each and how many, (R,) int64.

    first_of_speaker, num_of_speaker: for each recording, where those of its speaker begin among them, and how many.
    """

    first_frame: numpy.ndarray
    num_frames: numpy.ndarray
    first_label: numpy.ndarray
    num_labels: numpy.ndarray
    first_of_speaker: numpy.ndarray
    num_of_speaker: numpy.ndarray


@dataclass(frozen=True, kw_only=True)
class RecordedSpeech:
    """The recordings of a prepared folder; utterances are `joined` ones of one speaker with a space between.

    max_frames: recordings that are longer are left out; None: none is.
    """

    folder: str
    joined: int = 1
    max_frames: int | None = None

    @property
    def facts(self) -> SpeechFacts:
        """Facts of the prepared folder, as its speech.json has them."""
        return _opened(self.folder)[0]

    @property
    def num_bands(self) -> int:
        """Numbers of a frame."""
        return self.facts.num_bands

    @property
    def num_frames(self) -> int:
        """Number of frames of the longest utterance that can be."""
        return self.joined * max(int(self._index(split).num_frames.max()) for split in SPLITS)

    @property
    def num_labels(self) -> int:
        """Number of labels of the longest utterance that can be."""
        return self.joined * (max(int(self._index(split).num_labels.max()) for split in SPLITS) + 1) - 1

    @property
    def num_held_out(self) -> int:
        """Recordings that are held out."""
        return len(self._index("val").num_frames)

    def digest(self) -> str:
        """SHA-256 of all that training reads."""
        return self.facts.digest

    def check_stride(self, stride: int) -> None:
        """Raises UsageError for the first recording that one frame in `stride` is too few to say."""
        _check_stride(self, stride)

    def train(self, seeds_S: Tensor, steps_T: Tensor, size: int) -> Utterances:
        """(T, S, B, ...), a function of each (seed, step) alone."""
        count = len(self._index("train").num_frames)
        first = integers(seeds_S, "data.recordings", steps_T[:, None], (size,), count)
        other = integers(seeds_S, "data.joined", steps_T[:, None], (size, self.joined - 1), 2**24)
        return self._utterances("train", first, other)

    def held_out(self, num_batches: int, size: int, device: torch.device) -> Utterances:
        """(E, B, ...), spread evenly over what is held out."""
        first = torch.arange(num_batches * size, device=device) * self.num_held_out // (num_batches * size)
        first = first.reshape(num_batches, size)
        zero = torch.zeros((), dtype=torch.int64, device=device)
        other = integers(zero, "held_out.joined", zero, (num_batches, size, self.joined - 1), 2**24)
        return self._utterances("val", first, other)

    def _index(self, split: str) -> _Index:
        return _indexed(self.folder, split, self.max_frames)

    def _utterances(self, split: str, first: Tensor, other: Tensor) -> Utterances:
        """Of recordings `first` (...), each with one of its speaker for each of `other` (..., J - 1), of 24 bits."""
        index = _on_device(self.folder, split, self.max_frames, str(first.device))
        of_speaker = index["first_of_speaker"][first][..., None]
        drawn = of_speaker + ((other * index["num_of_speaker"][first][..., None]) >> 24)
        chosen = torch.cat([first[..., None], drawn], dim=-1)
        place, _, length = _places(index["first_frame"][chosen], index["num_frames"][chosen], self.num_frames)
        frames = self._frames(split, place).float()
        num_labels = index["num_labels"][chosen] + 1  # with the space after it
        at_label, is_space, label_length = _places(index["first_label"][chosen], num_labels, self.num_labels)
        labels = index["labels"][at_label.clamp_max(len(index["labels"]) - 1)].long()
        is_label = torch.arange(self.num_labels, device=first.device) < label_length[..., None] - 1
        labels = torch.where(is_label, torch.where(is_space, SPACE, labels), 0)
        return Utterances(frames=normalised(frames, length), num_frames=length, labels=labels)

    def _frames(self, split: str, place: Tensor) -> Tensor:
        frames = _opened(self.folder)[1][split].frames
        if frames.nbytes <= MAX_ON_DEVICE:
            return _frames_on_device(self.folder, split, str(place.device))[place]
        return torch.from_numpy(frames[place.cpu().numpy()]).to(place.device)


def _places(first: Tensor, count: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each of `size` elements (..., size) of joined spans comes from, whether it is its span's last, how many.

    first, count: (..., J) of the spans; how many they are together: (...). Beyond them it is the first's place.
    """
    ends = count.cumsum(-1)
    time = torch.arange(size, device=first.device).expand(*first.shape[:-1], -1).contiguous()
    span = torch.searchsorted(ends, time, right=True)
    is_inside = span < first.shape[-1]
    span = span.clamp_max(first.shape[-1] - 1)
    place = first.gather(-1, span) + time - (ends - count).gather(-1, span)
    is_last = time == ends.gather(-1, span) - 1
    return torch.where(is_inside, place, first[..., :1]), is_last, ends[..., -1]


@functools.cache
def _check_stride(speech: RecordedSpeech, stride: int) -> None:
    for split in SPLITS:
        index, labels = _indexed(speech.folder, split, speech.max_frames), _opened(speech.folder)[1][split].labels
        rows = zip(index.num_frames.tolist(), index.first_label.tolist(), index.num_labels.tolist(), strict=True)
        for num_frames, first, count in rows:
            said = labels[first : first + count].tolist()
            # Joined ones keep as many frames as their sum does, and a space is said between them; what is enough for
            # each, joined to itself, is enough for all.
            total = speech.joined * num_frames
            kept = -(-total // stride) if speech.joined == 1 else total // stride
            needed = speech.joined * (frames_needed(said) + 1) - 1
            if needed > kept:
                times = f", {speech.joined} times," if speech.joined > 1 else ""
                raise UsageError(
                    f"{one_line(Path(speech.folder) / shard(split, 'frames'))}: {text_of(said)!r}{times} is said in "
                    f"{total} frames; stride {stride} keeps {kept}, it needs {needed}; take a smaller stride"
                )


@functools.cache
def _opened(folder: str) -> tuple[SpeechFacts, dict[str, Split]]:
    path = Path(folder).expanduser().absolute()
    facts = read_speech_facts(path)
    return facts, open_speech(path, facts)


@functools.cache
def _indexed(folder: str, split: str, max_frames: int | None) -> _Index:
    """Raises UsageError if no recording is short enough."""
    import numpy

    of_split = _opened(folder)[1][split]
    num_frames, num_labels = (numpy.diff(ends, prepend=0) for ends in (of_split.frame_ends, of_split.label_ends))
    order = numpy.argsort(of_split.speakers, kind="stable")
    if max_frames is not None:
        order = order[num_frames[order] <= max_frames]
    if not len(order):
        raise UsageError(
            f"{one_line(Path(folder) / shard(split, 'frames'))}: no recording has at most {max_frames} frames; the "
            f"shortest has {num_frames.min()}"
        )
    _, first, inverse, count = numpy.unique(
        of_split.speakers[order], return_index=True, return_inverse=True, return_counts=True
    )
    return _Index(
        first_frame=(of_split.frame_ends - num_frames)[order],
        num_frames=num_frames[order],
        first_label=(of_split.label_ends - num_labels)[order],
        num_labels=num_labels[order],
        first_of_speaker=first[inverse],
        num_of_speaker=count[inverse],
    )


@functools.cache
def _on_device(folder: str, split: str, max_frames: int | None, device: str) -> dict[str, Tensor]:
    """The index, and all labels of the split."""
    import numpy

    arrays = vars(_indexed(folder, split, max_frames)) | {"labels": _opened(folder)[1][split].labels}
    return {name: torch.from_numpy(numpy.array(array)).to(device) for name, array in arrays.items()}


@functools.cache
def _frames_on_device(folder: str, split: str, device: str) -> Tensor:
    import numpy

    return torch.from_numpy(numpy.array(_opened(folder)[1][split].frames)).to(device)  # a copy: the map is read-only
