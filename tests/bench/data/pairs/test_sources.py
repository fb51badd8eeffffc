"""Prepared pairs of sentences: what goes in comes out, and bad input leaves nothing but one line."""

import gzip
import json

import numpy
import pytest

from bench.data.pairs.prepared import check_pairs, open_pairs, read_pair_facts
from bench.data.pairs.sources import pair_files
from bench.data.pairs.tokenizers import SENTENCE_TOKENIZERS
from bench.data.pairs.write import write_pairs
from bench.errors import UsageError

PAIRS = [(f"the cat sees {number} dogs", f"die Katze sieht {number} Hündchen") for number in range(40)]


@pytest.fixture
def files(tmp_path):
    """Two files of 40 lines, one of them under gzip."""
    (tmp_path / "train.en").write_text("".join(f"{source}\n" for source, _ in PAIRS))
    (tmp_path / "train.de.gz").write_bytes(gzip.compress("".join(f"{target}\n" for _, target in PAIRS).encode()))
    return tmp_path


def source_of(folder, source="train.en", target="train.de.gz"):
    return pair_files(str(folder / source), str(folder / target))


def pairs_of(folder, split):
    opened = open_pairs(str(folder))
    texts = []
    for side in ("source", "target"):
        sentences = opened.sides[split, side]
        places = zip(sentences.starts, sentences.ends, strict=True)
        texts.append([opened.tokenizer.decode(sentences.ids[start:end]) for start, end in places])
    return list(zip(*texts, strict=True))


@pytest.mark.parametrize("tokenizer", SENTENCE_TOKENIZERS)
def test_pairs_come_back_as_they_were_with_the_last_tenth_held_out(files, tokenizer):
    if tokenizer == "bpe":
        pytest.importorskip("tokenizers", reason="needs the extra 'translation'")
    write_pairs(files / "out", source_of(files), tokenizer, vocabulary_size=300)
    assert pairs_of(files / "out", "train") == PAIRS[:36]
    assert pairs_of(files / "out", "val") == PAIRS[36:]
    facts = check_pairs(files / "out")
    sides = open_pairs(str(files / "out")).sides
    assert facts.num_train_target_tokens == len(sides["train", "target"].ids)
    assert facts.dtype == ("uint16" if facts.vocabulary_size > 256 else "uint8")


def test_a_learned_vocabulary_is_that_of_both_languages_and_of_the_asked_size(files):
    pytest.importorskip("tokenizers", reason="needs the extra 'translation'")
    digests = []
    for name in ("one", "other"):
        write_pairs(files / name, source_of(files), "bpe", vocabulary_size=300)
        digests.append(read_pair_facts(files / name).digest)
    assert digests[0] == digests[1]
    assert read_pair_facts(files / "one").vocabulary_size == 300
    assert "Katze" in read_pair_facts(files / "one").vocabulary
    write_pairs(files / "small", source_of(files), "bpe", vocabulary_size=280)
    assert read_pair_facts(files / "small").digest != digests[0]
    with pytest.raises(UsageError, match="must be at least 256"):
        write_pairs(files / "none", source_of(files), "bpe", vocabulary_size=100)


def test_held_out_files_are_held_out_whole(files):
    (files / "val.en").write_text("a dog\n")
    (files / "val.de").write_text("die\n")
    val = source_of(files, "val.en", "val.de")
    write_pairs(files / "out", source_of(files), "characters", val=val)
    assert pairs_of(files / "out", "train") == PAIRS
    assert pairs_of(files / "out", "val") == [("a dog", "die")]


BROKEN = {
    "a line too few": ("a\nb\n", "a\n", r"de:1: the last line, but .*en has more lines"),
    "a line too many": ("a\n", "a\nb\n", r"en:1: the last line, but .*de has more lines"),
    "no line at all": ("a\n", "", r"de: an empty file, but .*en has more lines"),
    "an empty line": ("a\n\nc\n", "a\nb\nc\n", r"en:2: an empty line"),
    "a line of spaces": ("a\nb\n", "a\n \t\n", r"de:2: an empty line"),
    "an empty file": ("", "", "too small: no pair is left for training"),
    "one pair": ("a\n", "a\n", "too small: no pair is left for validation"),
    "no text": ("a\n", b"a\xff\n", r"de:1: not text \(byte 0xff"),
}


@pytest.mark.parametrize("words", BROKEN)
def test_bad_lines_are_named_with_file_and_place_and_leave_nothing(tmp_path, words):
    *contents, message = BROKEN[words]
    for name, content in zip(("en", "de"), contents, strict=True):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message) as raised:
        write_pairs(tmp_path / "out", source_of(tmp_path, "en", "de"), "bytes")
    assert "\n" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["de", "en"]


def test_a_cut_gzip_is_said(files):
    cut = (files / "train.de.gz").read_bytes()[:-20]
    (files / "train.de.gz").write_bytes(cut)
    with pytest.raises(UsageError, match=r"train.de.gz:\d+: damaged, not gzip from here on, or cut"):
        write_pairs(files / "out", source_of(files), "bytes")
    assert not (files / "out").exists()


def test_an_unknown_character_is_said_with_its_place(files):
    (files / "val.en").write_text("a dog\na jet\n")
    (files / "val.de").write_text("die\ndie\n")
    val = source_of(files, "val.en", "val.de")
    with pytest.raises(UsageError, match=r"val.en:2: 'j' is not among the characters of the training lines"):
        write_pairs(files / "out", source_of(files), "characters", val=val)
    assert not (files / "out").exists()


def test_damaged_folders_are_refused(files):
    write_pairs(files / "out", source_of(files), "bytes")
    ids, ends = files / "out" / "train.target.ids", files / "out" / "val.source.ends"
    whole, whole_ends = ids.read_bytes(), ends.read_bytes()
    ids.write_bytes(whole[:-1])
    with pytest.raises(UsageError, match=r"train.target.ids: cut: .* pairs.json tells"):
        open_pairs(str(files / "out"))
    ids.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(UsageError, match="not those of the digest"):
        check_pairs(files / "out")
    ids.write_bytes(whole)
    ends.write_bytes(numpy.frombuffer(whole_ends, dtype="<i8")[::-1].tobytes())
    with pytest.raises(UsageError, match="ends are not in order"):
        check_pairs(files / "out")
    ends.write_bytes(whole_ends)
    facts = json.loads((files / "out" / "pairs.json").read_text())
    (files / "out" / "pairs.json").write_text(json.dumps(facts | {"version": 2}))
    with pytest.raises(UsageError, match="format version 2"):
        open_pairs(str(files / "out"))
    with pytest.raises(UsageError, match="no prepared pairs"):
        open_pairs(str(files))
