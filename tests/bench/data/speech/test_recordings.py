"""Recordings become frames and labels, whole or not at all; what can't be read is one line with its place."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from bench.data.speech.features import log_mel, normalised
from bench.data.speech.formants import DIGITS
from bench.data.speech.labels import text_of
from bench.data.speech.prepared import open_speech, read_speech_facts
from bench.data.speech.recorded import RecordedSpeech
from bench.data.speech.recordings import find_recordings
from bench.data.speech.write import write_speech
from bench.errors import UsageError
from tests.bench.data.made_recordings import fsdd_like, librispeech_like, samples_of, wav
from tests.command_line import bench_here


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A prepared folder of 60 recordings of two speakers."""
    folder = tmp_path_factory.mktemp("speech")
    write_speech(folder / "digits", find_recordings(fsdd_like(folder / "recordings")))
    return folder / "digits"


def test_digits_are_split_by_index_and_their_frames_are_those_of_the_samples(digits):
    facts = read_speech_facts(digits)
    assert (facts.num_train, facts.num_val, facts.num_speakers) == (40, 20, 2)
    assert (facts.rate, facts.num_bands) == (8000, 40)
    train = open_speech(digits, facts)["train"]
    assert text_of(train.labels[: train.label_ends[1]].tolist()) == "zerozero"
    expected = log_mel(torch.from_numpy(samples_of(5).astype(numpy.float32) / 32768), 8000, 40)
    torch.testing.assert_close(
        torch.from_numpy(train.frames[: train.frame_ends[0]].astype(numpy.float32)), expected, rtol=0, atol=0.01
    )


def test_subsets_called_dev_or_test_are_held_out(tmp_path):
    facts = write_speech(tmp_path / "out", find_recordings(librispeech_like(tmp_path / "libri")))
    assert (facts.num_train, facts.num_val, facts.num_speakers, facts.num_bands) == (4, 2, 3, 80)
    val = open_speech(tmp_path / "out", facts)["val"]
    assert text_of(val.labels.tolist()) == "it's number oneit's number two"


def test_flac_is_read_as_wav_is(tmp_path):
    pytest.importorskip("soundfile")
    digests = {
        write_speech(
            tmp_path / f"out{suffix}", find_recordings(librispeech_like(tmp_path / suffix, suffix=suffix))
        ).digest
        for suffix in (".wav", ".flac")
    }
    assert len(digests) == 1


def test_utterances_are_recordings_at_seed_and_step(digits):
    """Each is one of the folder, normalised, with its own labels."""
    speech = RecordedSpeech(folder=str(digits))
    facts = read_speech_facts(digits)
    train = open_speech(digits, facts)["train"]
    starts = [0, *train.frame_ends[:-1]], [0, *train.label_ends[:-1]]
    known = {}
    for first, end, at, label_end in zip(starts[0], train.frame_ends, starts[1], train.label_ends, strict=True):
        frames = torch.from_numpy(train.frames[first:end].astype(numpy.float32))
        known[normalised(frames, torch.tensor(end - first))[3, 7].item()] = text_of(train.labels[at:label_end].tolist())
    drawn = speech.train(torch.tensor([1, 2]), torch.arange(3), 8)
    assert drawn.frames.shape == (3, 2, 8, speech.num_frames, 40)
    for frames, labels in zip(drawn.frames.flatten(0, 2), drawn.labels.flatten(0, 2).tolist(), strict=True):
        assert min(abs(value - frames[3, 7].item()) for value in known) < 1e-5
        nearest = min(known, key=lambda value: abs(value - frames[3, 7].item()))
        assert known[nearest] == text_of(labels)
    alone = speech.train(torch.tensor([2]), torch.tensor([2]), 8)
    torch.testing.assert_close(alone.frames[0, 0], drawn.frames[2, 1])


def test_joined_recordings_are_of_one_speaker_with_spaces_between(digits):
    speech = RecordedSpeech(folder=str(digits), joined=3)
    drawn = speech.train(torch.tensor([1]), torch.arange(4), 16)
    texts = [text_of(labels).split(" ") for labels in drawn.labels.flatten(0, 2).tolist()]
    assert {len(words) for words in texts} == {3}
    assert len({tuple(words) for words in texts}) > 50
    assert {word for words in texts for word in words} <= {
        text_of(labels)
        for labels in RecordedSpeech(folder=str(digits))
        .train(torch.tensor([1]), torch.arange(40), 16)
        .labels.flatten(0, 2)
        .tolist()
    }
    held_out = speech.held_out(2, 10, torch.device("cpu"))
    assert {text_of(labels).split(" ")[0] for labels in held_out.labels.flatten(0, 1).tolist()} >= {"zero", "nine"}
    is_after = torch.arange(speech.num_frames) >= drawn.num_frames[..., None]
    assert not drawn.frames[is_after].any()


def test_a_stride_at_which_something_can_not_be_said_is_refused(digits):
    speech = RecordedSpeech(folder=str(digits))
    speech.check_stride(4)
    with pytest.raises(UsageError, match=r"train.frames: 'three' is said in 34 frames; stride 8 keeps 5, it needs 6"):
        speech.check_stride(8)
    with pytest.raises(UsageError, match="no recording has at most 5 frames; the shortest has 31"):
        RecordedSpeech(folder=str(digits), max_frames=5).check_stride(1)


def test_commands_prepare_show_and_check_recordings(tmp_path):
    fsdd_like(tmp_path / "recordings", num_speakers=1, indices=(0, 7))
    prepared = bench_here(tmp_path, "data", "prepare", "recordings", "--out", "out", "--bands", "20", "--json")
    assert prepared.returncode == 0, prepared.stderr
    facts = json.loads(prepared.stdout)
    assert (facts["num_train"], facts["num_val"], facts["num_bands"]) == (10, 10, 20)
    assert json.loads(bench_here(tmp_path, "data", "check", "out", "--json").stdout) == facts
    shown = bench_here(tmp_path, "data", "show", "out").stdout
    assert "recordings: 20 (10 train, 10 held out)" in shown
    assert "frames of a recording: 35.5 on average, at most 40" in shown
    assert shown.endswith("zero\none\ntwo\nthree\nfour\n")


def test_show_tells_of_synthetic_digits(tmp_path):
    shown = bench_here(tmp_path, "data", "show", "spoken_digits")
    assert shown.returncode == 0, shown.stderr
    assert "synthetic, number words from formants" in shown.stdout
    assert set(shown.stdout.splitlines()[-1].split(" ")) <= set(DIGITS)


def test_rows_of_a_data_set_are_recordings(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"bytes": wav(samples_of(seed)), "path": None} for seed in range(12)]
    table = {"audio": rows, "sentence": ["go on"] * 12, "who": [seed % 3 for seed in range(12)]}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(table).to_parquet(tmp_path / "set" / "train.parquet")
    words = ("--audio-field", "audio", "--text-field", "sentence", "--speaker-field", "who", "--out", "out", "--json")
    prepared = bench_here(tmp_path, "data", "prepare", f"hf:{tmp_path / 'set'}", *words)
    assert prepared.returncode == 0, prepared.stderr
    facts = json.loads(prepared.stdout)
    assert (facts["num_train"], facts["num_val"], facts["num_speakers"]) == (11, 1, 3)


def cut(content: bytes) -> bytes:
    return content[:-1000]


SAMPLES = samples_of(1)
BAD: dict[str, tuple[bytes, str]] = {
    "another rate": (
        wav(SAMPLES, rate=16000),
        r"16,000 samples a second, those before have 8,000; one rate is required",
    ),
    "stereo": (wav(SAMPLES, channels=2), "2 channels; one is required"),
    "24 bits": (wav(numpy.zeros(3600, dtype="u1"), width=3), "samples of 24 bits; 16 are required"),
    "cut": (cut(wav(SAMPLES)), "cut: 1,900 samples; its header says that there must be 2,400"),
    "empty": (wav(SAMPLES[:0]), "no samples; a recording is required"),
    "no wav": (b"RIFFxxxxjunk", "no WAV that can be read"),
    "cut in its header": (wav(SAMPLES)[:30], "no WAV that can be read: it ends early$"),
    "no audio": (b"hello", r"no audio that can be read: Format not recognised\.$"),
    "an empty file": (b"", "an empty file; a recording is required"),
    "too short": (wav(SAMPLES[:240]), "4 frames of 10 ms are too few for a transcript that needs 6"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_is_one_line_with_its_place_and_leaves_nothing(tmp_path, name):
    content, words = BAD[name]
    fsdd_like(tmp_path / "recordings", num_speakers=1, indices=(0, 7))
    (tmp_path / "recordings" / "3_s0_7.wav").write_bytes(content)
    assert re.search("3_s0_7.wav: " + words, refusal_of(tmp_path))


def renamed(folder: Path) -> None:
    (folder / "3_s0_7.wav").rename(folder / "cough.wav")


def all_held_out(folder: Path) -> None:
    for path in folder.glob("*_7.wav"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed, r"cough.wav: no transcript; required recordings with NAME"),
        (all_held_out, "no recording is left for training"),
    ],
)
def test_recordings_without_words_or_for_one_split_alone_are_refused(tmp_path, change: Callable[[Path], None], words):
    change(fsdd_like(tmp_path / "recordings", num_speakers=1, indices=(0, 7)))
    assert re.search(words, refusal_of(tmp_path))


TRANSCRIPT = "train-clean/19/100/19-100.trans.txt"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "19-100-0009 HELLO",
            r"19-100.trans.txt:2: a transcript without audio; required 19-100-0009.flac or 19-100-0009.wav",
        ),
        ("19-100-0001 C'EST \u00c7A", r"19-100.trans.txt:2: unknown character 'ç' at position 7 of the transcript"),
        ("19-100-0000 AGAIN", r"trans.txt:2: a second transcript of 19-100-0000, after .*trans.txt:1; one is required"),
        ("19-100-0001", r"19-100.trans.txt:2: the transcript is empty; at least one word is required"),
        ("", r"19-100-0001.wav: a recording without a transcript; required a line of it in a .trans.txt beside it"),
    ],
)
def test_a_bad_transcript_is_one_line_with_its_place_and_leaves_nothing(tmp_path, line, words):
    path = librispeech_like(tmp_path / "recordings") / TRANSCRIPT
    path.write_text(path.read_text().splitlines()[0] + "\n" + line + "\n")
    assert re.search(words, refusal_of(tmp_path))


def refusal_of(folder: Path) -> str:
    """The one line that refuses to prepare the recordings of a folder, in which nothing is left behind."""
    done = bench_here(folder, "data", "prepare", "recordings", "--out", "out")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert sorted(path.name for path in folder.iterdir()) == ["recordings"]
    return line


def test_a_damaged_folder_is_refused(tmp_path):
    fsdd_like(tmp_path / "recordings", num_speakers=1, indices=(0, 7))
    write_speech(tmp_path / "out", find_recordings(tmp_path / "recordings"))
    labels = tmp_path / "out" / "train.labels"
    whole = labels.read_bytes()
    for content, words in (
        (whole[:-1], "train.labels: cut: 39 bytes, speech.json tells 40"),
        (b"\xff" + whole[1:], "train.labels: labels must be 1 to 28"),
        (bytes([whole[0] - 1]) + whole[1:], "the shards are not those of the digest in speech.json"),
    ):
        labels.write_bytes(content)
        done = bench_here(tmp_path, "data", "check", "out")
        assert done.returncode == 2
        assert words in done.stderr
