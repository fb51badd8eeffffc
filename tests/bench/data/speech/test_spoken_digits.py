"""Synthetic digits say what their labels say, to whoever knows the formants, and leave frames enough for CTC."""

import pytest
import torch

from bench.data.speech.formants import DIGITS, VOWELS, phone
from bench.data.speech.labels import frames_needed, text_of
from bench.data.speech.spoken_digits import FRAMES_A_SYMBOL, max_frames, max_labels, spoken_digits

NUM_WORDS = 3


@pytest.fixture(scope="module")
def utterances():
    return spoken_digits(torch.tensor([1, 2]), torch.arange(4), 32, NUM_WORDS, stream="test.")


def test_formants_are_those_that_peterson_and_barney_measured():
    """Of men, women and children, in Hz: rows of their Table II."""
    assert phone("IY").voices == ((136, 270, 2290, 3010), (235, 310, 2790, 3310), (272, 370, 3200, 3730))
    assert phone("AA").voices[0][1:] == (730, 1090, 2440)
    assert phone("UW").voices[2][1:] == (430, 1170, 3260)
    assert phone("ER").voices[1][1:] == (500, 1640, 1960)
    assert len(VOWELS) == 10


def test_labels_are_words_with_one_space_between(utterances):
    texts = [text_of(labels) for labels in utterances.labels.flatten(0, 2).tolist()]
    assert {word for text in texts for word in text.split(" ")} == DIGITS.keys()
    assert {len(text.split(" ")) for text in texts} == {2, 3}
    ended = [[*labels, 0] for labels in utterances.labels.flatten(0, 2).tolist()]
    assert not any(any(labels[labels.index(0) :]) for labels in ended)
    assert utterances.labels.shape[-1] == max_labels(NUM_WORDS)


def test_every_symbol_has_frames(utterances):
    for labels, num_frames in zip(
        utterances.labels.flatten(0, 2).tolist(), utterances.num_frames.flatten().tolist(), strict=True
    ):
        assert FRAMES_A_SYMBOL * frames_needed([label for label in labels if label]) <= num_frames
        assert num_frames <= max_frames(NUM_WORDS)


def test_frames_are_normalised_and_silent_after_their_end(utterances):
    frames, num_frames = utterances.frames.flatten(0, 2), utterances.num_frames.flatten()
    is_after = torch.arange(frames.shape[1]) >= num_frames[:, None]
    assert not frames[is_after].any()
    torch.testing.assert_close(frames.sum(dim=(1, 2)), torch.zeros(len(frames)), rtol=0, atol=0.1)


def test_another_stream_is_another_utterance_of_the_same_seed(utterances):
    other = spoken_digits(torch.tensor([1, 2]), torch.arange(4), 32, NUM_WORDS, stream="other.")
    assert not torch.equal(other.labels, utterances.labels)
    assert not torch.equal(other.frames, utterances.frames)


def test_words_differ_more_than_voices(utterances):
    """The mean of 20 frames tells the first word from nine others, by the nearest of ten means, six times in ten."""
    frames = utterances.frames.flatten(0, 2)[:, 6:26].mean(dim=1)
    first = torch.tensor(
        [list(DIGITS).index(text_of(row).split(" ")[0]) for row in utterances.labels.flatten(0, 2).tolist()]
    )
    means = torch.stack([frames[first == digit].mean(dim=0) for digit in range(10)])
    nearest = torch.cdist(frames, means).argmin(dim=1)
    assert (nearest == first).float().mean() > 0.6
