"""Small folders of recordings, as FSDD and LibriSpeech have them: tones and noise, of seeded samples."""

import io
import wave
from pathlib import Path

import numpy

from bench.data.speech.formants import DIGITS


def samples_of(seed: int, num_samples: int = 2400) -> numpy.ndarray:
    """A tone in noise, int16, another one for each seed."""
    time = numpy.arange(num_samples)
    noise = numpy.random.default_rng(seed).normal(0, 300, num_samples)
    return (3000 * numpy.sin(time * (0.05 + 0.01 * (seed % 37))) + noise).astype("<i2")


def wav(samples: numpy.ndarray, *, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    """The content of a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def fsdd_like(folder: Path, *, num_speakers: int = 2, indices: tuple[int, ...] = (0, 5, 6)) -> Path:
    """DIGIT_SPEAKER_INDEX.wav of 0.3 s each; those of index 0 are held out."""
    folder.mkdir(parents=True)
    for digit in range(len(DIGITS)):
        for speaker in range(num_speakers):
            for index in indices:
                content = wav(samples_of(100 * digit + 10 * speaker + index, 2400 + 80 * digit))
                (folder / f"{digit}_s{speaker}_{index}.wav").write_bytes(content)
    return folder


def librispeech_like(folder: Path, *, suffix: str = ".wav") -> Path:
    """SUBSET/SPEAKER/CHAPTER, two recordings a chapter of 16 kHz."""
    for subset, speaker in (("train-clean", "19"), ("train-clean", "26"), ("dev-clean", "84")):
        chapter = folder / subset / speaker / "100"
        chapter.mkdir(parents=True)
        lines = []
        for number in range(2):
            name = f"{speaker}-100-{number:04d}"
            samples = samples_of(int(speaker) + number, 16000)
            if suffix == ".wav":
                (chapter / f"{name}.wav").write_bytes(wav(samples, rate=16000))
            else:
                import soundfile

                soundfile.write(chapter / f"{name}{suffix}", samples, 16000)
            lines.append(f"{name} IT'S NUMBER {('ONE', 'TWO')[number]}\n")
        (chapter / f"{speaker}-100.trans.txt").write_text("".join(lines))
    return folder
