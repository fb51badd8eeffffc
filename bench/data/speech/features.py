"""Log-mel features of recordings: frames of a short-time Fourier transform through triangular filters.

Shapes: leading dimensions (...), T frames, M bands, F frequencies of a transform.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
LEAST_POWER = 1e-10  # before the log, of samples in [-1, 1]
LEAST_DEVIATION = 1e-5  # silence is not amplified


def mel_of_hz(hz: float) -> float:
    """Source: O'Shaughnessy 1987, p. 150: 2595 log10(1 + f / 700)."""
    return 2595 * math.log10(1 + hz / 700)


def hz_of_mel(mel: float) -> float:
    """The inverse of `mel_of_hz`."""
    return 700 * (10 ** (mel / 2595) - 1)


@functools.cache
def mel_filters(rate: int, num_bands: int) -> Tensor:
    """Triangular filters (F, M), float32, with peak 1, equally wide in mel from 0 Hz to half the rate."""
    size = transform_size(rate)
    edges = torch.linspace(0, mel_of_hz(rate / 2), num_bands + 2, dtype=torch.float64)
    hz = torch.tensor([hz_of_mel(mel) for mel in edges.tolist()], dtype=torch.float64)
    hz_F1 = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    rising_FM = (hz_F1 - hz[:-2]) / (hz[1:-1] - hz[:-2])
    falling_FM = (hz[2:] - hz_F1) / (hz[2:] - hz[1:-1])
    return torch.minimum(rising_FM, falling_FM).clamp_min(0).float()


def transform_size(rate: int) -> int:
    """The power of two that a window fits into."""
    return 1 << math.ceil(math.log2(round(WINDOW_SECONDS * rate)))


def log_mel(samples: Tensor, rate: int, num_bands: int) -> Tensor:
    """Natural log of the power in each band, (T, M), of samples in [-1, 1]: Hann windows of 25 ms each 10 ms.

    Beyond its ends a recording is silent.
    """
    size, window = transform_size(rate), round(WINDOW_SECONDS * rate)
    spectrum_FT = torch.stft(
        samples,
        size,
        hop_length=round(HOP_SECONDS * rate),
        win_length=window,
        window=torch.hann_window(window, dtype=samples.dtype, device=samples.device),
        pad_mode="constant",
        return_complex=True,
    )
    power_TF = spectrum_FT.abs().square().mT
    return (power_TF @ mel_filters(rate, num_bands).to(power_TF)).clamp_min(LEAST_POWER).log()


def normalised(log_mel: Tensor, num_frames: Tensor) -> Tensor:
    """Frames (..., T, M) with mean 0 and deviation 1 over time and bands of each utterance; 0 from its end on."""
    time = torch.arange(log_mel.shape[-2], device=log_mel.device)
    is_inside = (time < num_frames[..., None])[..., None]
    count = (num_frames * log_mel.shape[-1])[..., None, None]
    mean = torch.where(is_inside, log_mel, 0.0).sum(dim=(-2, -1), keepdim=True) / count
    centred = torch.where(is_inside, log_mel - mean, 0.0)
    deviation = (centred.square().sum(dim=(-2, -1), keepdim=True) / count).sqrt()
    return centred / deviation.clamp_min(LEAST_DEVIATION)
