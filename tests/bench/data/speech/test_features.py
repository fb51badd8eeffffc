"""Log-mel features are those of a library, and what is normalised has mean 0 and deviation 1 without its padding."""

import math

import numpy
import pytest
import torch

from bench.data.speech.features import log_mel, mel_filters, normalised, transform_size


@pytest.fixture(scope="module")
def audio_utils():
    return pytest.importorskip("transformers.audio_utils")


@pytest.mark.parametrize(("rate", "num_bands"), [(8000, 40), (16000, 80)])
def test_filters_are_those_of_a_library(audio_utils, rate, num_bands):
    expected = audio_utils.mel_filter_bank(
        transform_size(rate) // 2 + 1, num_bands, 0.0, rate / 2, rate, norm=None, mel_scale="htk"
    )
    torch.testing.assert_close(mel_filters(rate, num_bands), torch.from_numpy(expected).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rate", "num_bands"), [(8000, 40), (16000, 80)])
def test_features_are_those_of_a_library(audio_utils, rate, num_bands):
    time = numpy.arange(4321) / rate
    samples = 0.3 * numpy.sin(2 * math.pi * 440 * time) + 0.05 * numpy.random.default_rng(0).standard_normal(4321)
    window = round(0.025 * rate)
    expected = audio_utils.spectrogram(
        samples,
        audio_utils.window_function(window, "hann", frame_length=transform_size(rate)),
        frame_length=transform_size(rate),
        hop_length=round(0.01 * rate),
        fft_length=transform_size(rate),
        power=2.0,
        pad_mode="constant",
        mel_filters=mel_filters(rate, num_bands).double().numpy(),
        log_mel="log",
        mel_floor=1e-10,
    ).T
    found = log_mel(torch.from_numpy(samples), rate, num_bands)
    assert len(found) == 1 + len(samples) // (rate // 100), "one each 10 ms, the first at the start"
    torch.testing.assert_close(found, torch.from_numpy(expected).double(), rtol=1e-4, atol=1e-4)


def test_utterances_have_mean_0_and_deviation_1_whatever_their_padding():
    x = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0)) * 5 + 2
    num_frames = torch.tensor([20, 7, 1])
    found = normalised(x, num_frames)
    for one, length in zip(found, num_frames, strict=True):
        inside = one[:length]
        torch.testing.assert_close(inside.mean(), torch.tensor(0.0), rtol=0, atol=1e-6)
        torch.testing.assert_close(inside.std(correction=0), torch.tensor(1.0), rtol=0, atol=1e-5)
        assert not one[length:].any()
    torch.testing.assert_close(found[1, :7], normalised(x[1, :7], num_frames[1]))


def test_silence_stays_silent():
    assert not normalised(log_mel(torch.zeros(800), 8000, 40), torch.tensor(11)).any()
