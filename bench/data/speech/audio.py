"""read_audio(): samples of a recording, WAV by the standard library, others by soundfile (the extra `speech`)."""

from __future__ import annotations

import contextlib
import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

SPEECH_EXTRA = "pip install 'attention-robustness-bench[speech]'"
SAMPLE_BYTES = 2
FULL_SCALE = 32768.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Audio:
    """One channel: samples in [-1, 1], float32, `rate` of them a second."""

    samples: numpy.ndarray
    rate: int


def read_audio(content: bytes, *, place: str) -> Audio:
    """The samples of the content of a file: of a WAV with one channel of 16 bits, or of what soundfile reads.

    Raises UsageError, which begins with `place`, for more channels, other widths, a file that is cut, damaged or empty,
    and if soundfile is missing.
    """
    if not content:
        raise UsageError(f"{place}: an empty file; a recording is required")
    audio = _wav(content, place) if content[:4] == b"RIFF" else _other(content, place)
    if not len(audio.samples):
        raise UsageError(f"{place}: no samples; a recording is required")
    return audio


def _wav(content: bytes, place: str) -> Audio:
    import numpy

    try:
        with contextlib.closing(wave.open(io.BytesIO(content))) as file:
            num_channels, width, rate, num_samples, *_ = file.getparams()
            samples = file.readframes(num_samples)
    except (wave.Error, EOFError, ValueError) as error:
        raise UsageError(f"{place}: no WAV that can be read: {str(error) or 'it ends early'}") from error
    if num_channels != 1:
        raise UsageError(f"{place}: {num_channels} channels; one is required")
    if width != SAMPLE_BYTES:
        raise UsageError(f"{place}: samples of {8 * width} bits; 16 are required")
    if len(samples) != num_samples * SAMPLE_BYTES:
        got = len(samples) // SAMPLE_BYTES
        raise UsageError(f"{place}: cut: {got:,} samples; its header says that there must be {num_samples:,}")
    return Audio(samples=numpy.frombuffer(samples, dtype="<i2").astype(numpy.float32) / FULL_SCALE, rate=rate)


def _other(content: bytes, place: str) -> Audio:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UsageError(f"{place}: needs soundfile: {SPEECH_EXTRA}") from error
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = getattr(error, "error_string", str(error)).strip()  # without the name of what it read
        raise UsageError(f"{place}: no audio that can be read: {' '.join(reason.split()) or 'no message'}") from error
    if samples.shape[1] != 1:
        raise UsageError(f"{place}: {samples.shape[1]} channels; one is required")
    return Audio(samples=samples[:, 0], rate=int(rate))
