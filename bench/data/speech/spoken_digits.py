"""spoken_digits(): log-mel frames of number words, synthesised from formants, as a function of (seed, step).

Synthetic: nobody spoke, and no samples are made. A frame of 10 ms is what a bank of filters would see of three
resonances over a fundamental, of noise, and of a room. Shapes: leading dimensions (...), B utterances, W words, P
phones of a word with the silence before it, K = W P phones, T frames, M bands, S labels.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.data.speech.features import hz_of_mel, mel_of_hz, normalised
from bench.data.speech.formants import DIGITS, PHONES, SILENCE, phone
from bench.data.speech.labels import SPACE, frames_needed, labels_of
from bench.data.speech.utterances import Utterances
from bench.errors import UsageError
from bench.lazy import torch
from bench.randomness import integers, normal

if TYPE_CHECKING:
    from torch import Tensor

NUM_BANDS = 40
NUM_WORDS = 3  # of an utterance at most, where nothing else is said
LOWEST_HZ, HIGHEST_HZ = 60.0, 3900.0  # of the bands' centres
FRAMES_A_SYMBOL = 4  # at least, so that an encoder that keeps one frame in so many can still say all symbols
MAX_WORD_FRAMES = 56  # with the silence before it
LAST_SILENCE = 4  # frames
SMOOTHING = (0.15, 0.5, 0.85, 1.0, 0.85, 0.5, 0.15)  # of what is articulated, over frames
BANDWIDTHS_HZ = (108.0, 156.0, 228.0)
EMPHASIS_HZ = 500.0  # spectra rise with frequency, as with the pre-emphasis of recordings
NOISE_WIDTH_HZ = 900.0
SNR_DB = (5.0, 25.0)
REVISION = 1  # of what is synthesised; a part of the digest


@dataclass(frozen=True, kw_only=True)
class SpokenDigits:
    """Utterances of half `num_words` to all words, new ones at every step; held-out ones have a stream of their own."""

    num_words: int

    @property
    def num_bands(self) -> int:
        """Numbers of a frame."""
        return NUM_BANDS

    @property
    def num_frames(self) -> int:
        """Number of frames of the longest utterance."""
        return max_frames(self.num_words)

    @property
    def num_held_out(self) -> int:
        """As many as are asked for."""
        return 2**31

    def digest(self) -> str:
        """SHA-256 of the tables that speech is made of."""
        tables = [REVISION, SNR_DB, MAX_WORD_FRAMES, DIGITS, [asdict(phone(name)) for name in PHONES]]
        return hashlib.sha256(json.dumps(tables).encode()).hexdigest()

    def check_stride(self, stride: int) -> None:
        """Raises UsageError above FRAMES_A_SYMBOL."""
        if stride > FRAMES_A_SYMBOL:
            raise UsageError(f"stride must be at most {FRAMES_A_SYMBOL}, the frames of a symbol here, got {stride}")

    def train(self, seeds_S: Tensor, steps_T: Tensor, size: int) -> Utterances:
        """(T, S, B, ...), a function of each (seed, step) alone."""
        return spoken_digits(seeds_S, steps_T, size, self.num_words, stream="data.digits.")

    def held_out(self, num_batches: int, size: int, device: torch.device) -> Utterances:
        """(E, B, ...), the same for every seed."""
        seed, steps = torch.zeros(1, dtype=torch.int64, device=device), torch.arange(num_batches, device=device)
        drawn = spoken_digits(seed, steps, size, self.num_words, stream="held_out.digits.")
        return Utterances(frames=drawn.frames[:, 0], num_frames=drawn.num_frames[:, 0], labels=drawn.labels[:, 0])


def max_frames(num_words: int) -> int:
    """Frames of the longest utterance of so many words."""
    return MAX_WORD_FRAMES * num_words + LAST_SILENCE


def max_labels(num_words: int) -> int:
    """Labels of the longest utterance of so many words."""
    return num_words * (max(map(len, DIGITS)) + 1) - 1


def spoken_digits(seeds_S: Tensor, steps_T: Tensor, size: int, num_words: int, *, stream: str) -> Utterances:
    """`size` utterances (T, S, B, ...) for each step and seed, of half `num_words` to all words.

    stream: another one for held-out data, of other words, voices and noise.
    """
    draw = _Draws(seeds_S=seeds_S, steps_T1=steps_T[:, None], stream=stream, size=size)
    digits = draw.integers("digits", num_words, high=len(DIGITS))
    least = (num_words + 1) // 2
    count = least + draw.integers("count", high=num_words - least + 1)
    is_said = torch.arange(num_words, device=digits.device) < count[..., None]
    labels = _labels(digits, is_said)
    phones, ends = _timing(draw, digits, is_said)
    num_frames = ends[..., -1] + LAST_SILENCE
    time = torch.arange(max_frames(num_words), device=digits.device)
    place = torch.searchsorted(ends, time.expand(*ends.shape[:-1], -1).contiguous(), right=True)
    silence = torch.full_like(place, PHONES.index(SILENCE))
    at_frame = phones.gather(-1, place.clamp_max(phones.shape[-1] - 1))
    log_mel = _spectra(draw, torch.where(place < phones.shape[-1], at_frame, silence))
    return Utterances(frames=normalised(log_mel, num_frames), num_frames=num_frames, labels=labels)


@dataclass(frozen=True, kw_only=True)
class _Draws:
    """Random numbers of a batch, (T, S, B, ...) each; those of one name are the same at every call."""

    seeds_S: Tensor
    steps_T1: Tensor
    stream: str
    size: int

    def integers(self, name: str, *shape: int, high: int) -> Tensor:
        return integers(self.seeds_S, self.stream + name, self.steps_T1, (self.size, *shape), high)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """In (0, 1)."""
        return (self.integers(name, *shape, high=2**24).float() + 0.5) * 2.0**-24

    def normal(self, name: str, *shape: int) -> Tensor:
        return normal(self.seeds_S, self.stream + name, self.steps_T1, (self.size, *shape))


@functools.cache
def _tables(device: str) -> dict[str, Tensor]:
    """Of phones: voices (phones, 3, 4), others (phones, ...); of digits: phones and labels (10, ...), how many."""
    sounds = [phone(name) for name in PHONES]
    labels = [[*labels_of(word, place=word), SPACE] for word in DIGITS]
    most_phones, most_labels = max(map(len, DIGITS.values())), max(map(len, labels))
    silence = PHONES.index(SILENCE)
    spoken = [[silence, *map(PHONES.index, phones)] for phones in DIGITS.values()]
    tables = {
        "voices": torch.tensor([one.voices for one in sounds], dtype=torch.float32),
        "amplitudes": torch.tensor([one.amplitudes for one in sounds]),
        "sources": torch.tensor([(one.voiced, one.noise, float(one.noise_hz)) for one in sounds]),
        "frames": torch.tensor([float(one.frames) for one in sounds]),
        "phones": torch.tensor([one + [silence] * (most_phones + 1 - len(one)) for one in spoken]),
        "num_phones": torch.tensor([len(one) for one in spoken]),
        "labels": torch.tensor([one + [0] * (most_labels - len(one)) for one in labels]),
        "num_labels": torch.tensor([len(one) for one in labels]),
        "least_frames": torch.tensor([float(FRAMES_A_SYMBOL * frames_needed(one)) for one in labels]),
    }
    return {name: table.to(device) for name, table in tables.items()}


def _labels(digits: Tensor, is_said: Tensor) -> Tensor:
    """(..., W) -> (..., S): words with spaces between, 0 after the last."""
    tables, num_words = _tables(str(digits.device)), digits.shape[-1]
    ends = torch.where(is_said, tables["num_labels"][digits], 0).cumsum(-1)
    place = torch.arange(max_labels(num_words), device=digits.device).expand(*ends.shape[:-1], -1).contiguous()
    word = torch.searchsorted(ends, place, right=True).clamp_max(num_words - 1)
    start = torch.nn.functional.pad(ends, (1, 0)).gather(-1, word)
    within = (place - start).clamp_max(tables["labels"].shape[1] - 1)
    return torch.where(place < ends[..., -1:] - 1, tables["labels"][digits.gather(-1, word), within], 0)


def _timing(draw: _Draws, digits: Tensor, is_said: Tensor) -> tuple[Tensor, Tensor]:
    """The phones of an utterance (..., K), and the frame before which each ends; of those that are not said, the last.

    How fast an utterance is and how long each phone is vary; a word has FRAMES_A_SYMBOL frames a symbol, a blank
    between equal ones counted, and at most MAX_WORD_FRAMES.
    """
    tables = _tables(str(digits.device))
    phones = tables["phones"][digits]
    are_said = torch.arange(phones.shape[-1], device=digits.device) < tables["num_phones"][digits][..., None]
    are_said = are_said & is_said[..., None]
    pace = torch.exp(0.7 * (draw.uniform("pace") - 0.5))[..., None, None]
    frames = tables["frames"][phones] * pace * torch.exp(0.25 * draw.normal("durations", *phones.shape[-2:]))
    frames = torch.where(are_said, frames, 0.0)
    total = frames.sum(-1, keepdim=True)
    wanted = torch.minimum(
        torch.maximum(total, tables["least_frames"][digits][..., None]), total.new_tensor(MAX_WORD_FRAMES - 1.0)
    )
    within = torch.where(total > 0, frames.cumsum(-1) * (wanted / total.clamp_min(1e-6)), 0.0).ceil().long()
    starts = torch.nn.functional.pad(within[..., -1].cumsum(-1)[..., :-1], (1, 0))
    return phones.flatten(-2), (starts[..., None] + within).flatten(-2)


def _spectra(draw: _Draws, phones: Tensor) -> Tensor:
    """Log-mel frames (..., T, M) of the phone of each frame (..., T)."""
    tables, num_frames = _tables(str(phones.device)), phones.shape[-1]
    who = draw.integers("voice", high=3)
    voices = tables["voices"][phones, who[..., None]]  # (..., T, 4)
    articulated = torch.cat([voices[..., 1:], tables["amplitudes"][phones], tables["sources"][phones]], dim=-1)
    articulated = _smoothed(articulated)
    tract = torch.exp(0.16 * (draw.uniform("tract") - 0.5))[..., None, None]
    hz_M = _centres(str(phones.device))
    voiced = torch.zeros(())
    for which, width in enumerate(BANDWIDTHS_HZ):
        formant, amplitude = articulated[..., which : which + 1] * tract, articulated[..., 3 + which : 4 + which]
        voiced = voiced + amplitude / (1 + ((hz_M - formant) / width) ** 2)
    pitch = tables["voices"][PHONES.index("AH")][who, 0] * torch.exp(0.3 * (draw.uniform("pitch") - 0.5))
    time = torch.arange(num_frames, device=phones.device) / 14
    sway = 1 + 0.1 * torch.sin(time + 2 * math.pi * draw.uniform("sway")[..., None])
    harmonics = torch.cos(2 * math.pi * hz_M / (pitch[..., None] * sway)[..., None])
    voiced = voiced * (hz_M / EMPHASIS_HZ) * (1 + 0.5 * harmonics * torch.exp(-hz_M / 900))
    distance = (hz_M - articulated[..., 8:9] * tract.sqrt()) / NOISE_WIDTH_HZ
    sound = articulated[..., 6:7] * voiced + articulated[..., 7:8] * torch.exp(-(distance**2))
    return _recorded(draw, sound.square(), hz_M)


def _recorded(draw: _Draws, power: Tensor, hz_M: Tensor) -> Tensor:
    """Log of what a microphone in a room makes of power spectra (..., T, M): tilt, grain of the filters, noise."""
    shape = power.shape[-2:]
    tilt = torch.exp(2 * (draw.uniform("tilt")[..., None, None] - 0.5) * hz_M / HIGHEST_HZ)
    grain = torch.exp(0.3 * draw.normal("grain", *shape))
    snr_db = SNR_DB[0] + (SNR_DB[1] - SNR_DB[0]) * draw.uniform("snr")[..., None, None]
    noise = 0.3 * 10 ** (-snr_db / 10) * torch.exp(0.5 * draw.normal("noise", *shape))
    return (power * tilt * grain + noise).log()


def _smoothed(values: Tensor) -> Tensor:
    """(..., T, N): each frame a weighted mean of itself and its neighbours; at the ends of those that there are."""
    half = len(SMOOTHING) // 2
    ends = values[..., :1, :].expand(*values.shape[:-2], half, -1), values[..., -1:, :]
    padded = torch.cat([ends[0], values, ends[1].expand_as(ends[0])], dim=-2)
    weights = [weight / sum(SMOOTHING) for weight in SMOOTHING]
    length = values.shape[-2]
    return torch.stack([w * padded[..., at : at + length, :] for at, w in enumerate(weights)]).sum(dim=0)


@functools.cache
def _centres(device: str) -> Tensor:
    """Centres of the bands in Hz, (M,), equally spaced in mel."""
    mels = torch.linspace(mel_of_hz(LOWEST_HZ), mel_of_hz(HIGHEST_HZ), NUM_BANDS, dtype=torch.float64)
    return torch.tensor([hz_of_mel(mel) for mel in mels.tolist()], dtype=torch.float32, device=device)
