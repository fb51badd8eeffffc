"""Transcripts become labels and text again; what can't is refused with its place."""

import pytest

from bench.data.speech.labels import NUM_SYMBOLS, SPACE, frames_needed, labels_of, text_of
from bench.errors import UsageError


def test_labels_are_those_of_characters_and_back():
    labels = labels_of("  It's\tTWO ", place="a.txt:1")
    assert text_of(labels) == "it's two"
    assert labels[4] == SPACE
    assert max(labels_of("z", place="")) == NUM_SYMBOLS - 1
    assert min(labels_of("a '", place="")) >= 1


def test_equal_neighbours_need_a_frame_more():
    assert frames_needed(labels_of("three", place="")) == 6
    assert frames_needed(labels_of("all look", place="")) == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("caf\u00e9 au", "a.txt:7: unknown character 'é' at position 4"),
        ("7 up", "'7' at position 1"),
        (" \n", "is empty"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_place(text, words):
    with pytest.raises(UsageError, match=words):
        labels_of(text, place="a.txt:7")
