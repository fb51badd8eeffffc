"""The folder of a prepared corpus: types of ids, limits, what is checked while writing."""

import json
from dataclasses import dataclass

import numpy
import pytest

from bench.data.text.corpus import open_corpus
from bench.data.text.prepared import check_corpus, dtype_for, read_facts
from bench.data.text.sources import find_source
from bench.data.text.tokenizers import TOKENIZERS, Tokenizer
from bench.data.text.write import AlreadyMadeError, write_corpus
from bench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CodePoints(Tokenizer):
    """Unicode's code points below a limit, a tokenizer as a user would add it."""

    limit: int = 0x110000

    @property
    def vocabulary_size(self):
        return self.limit

    def encode(self, documents, *, is_separated):
        for document in documents:
            for text in document:
                yield numpy.array([ord(character) for character in text], dtype=numpy.int64)

    def decode(self, ids):
        return "".join(map(chr, ids.tolist()))

    def num_bytes(self):
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TooFew(CodePoints):
    """Says that it has fewer ids than it gives."""

    limit: int = 100


@dataclass(frozen=True, kw_only=True)
class Latin1(CodePoints):
    """Of ASCII, the ids of the tokenizer `bytes`."""

    limit: int = 256


def text_source(folder, text):
    (folder / "text.txt").write_bytes(text.encode())
    return find_source(str(folder / "text.txt"))


@pytest.mark.parametrize(
    ("vocabulary_size", "dtype"),
    [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32"), (2**32, "uint32")],
)
def test_the_type_is_the_smallest_that_holds_every_id(vocabulary_size, dtype):
    assert dtype_for(vocabulary_size) == dtype
    assert numpy.iinfo(dtype).max >= vocabulary_size - 1


@pytest.mark.parametrize(
    ("num_characters", "dtype"), [(255, "uint8"), (256, "uint8"), (257, "uint16"), (65_535, "uint16")]
)
def test_ids_survive_at_the_limits_of_their_type(num_characters, dtype, tmp_path):
    text = "".join(chr(0x10000 + i) for i in range(num_characters))
    write_corpus(tmp_path / "out", text_source(tmp_path, text), "characters")
    corpus = open_corpus(str(tmp_path / "out"), tokenizer="characters")
    ids = numpy.concatenate([corpus.train, corpus.val])
    assert (ids.dtype, ids.tolist()) == (numpy.dtype(dtype), list(range(num_characters)))
    assert corpus.decode(ids) == text
    assert check_corpus(tmp_path / "out").dtype == dtype


def test_ids_of_32_bits_survive(tmp_path, monkeypatch):
    monkeypatch.setitem(TOKENIZERS, "code_points", CodePoints)
    text = "a\uffff\U00010000\U0010ffff" * 5
    write_corpus(tmp_path / "out", text_source(tmp_path, text), "code_points")
    corpus = open_corpus(str(tmp_path / "out"), tokenizer="code_points")
    assert (corpus.train.dtype, corpus.decode(corpus.train) + corpus.decode(corpus.val)) == (numpy.uint32, text)
    assert (tmp_path / "out" / "val.bin").read_bytes() == b"\0\0\1\0\xff\xff\x10\0"
    check_corpus(tmp_path / "out")


def test_an_id_beyond_the_vocabulary_is_never_written(tmp_path, monkeypatch):
    monkeypatch.setitem(TOKENIZERS, "too_few", TooFew)
    with pytest.raises(UsageError, match="token 20 has the id 122; ids must be below 100"):
        write_corpus(tmp_path / "out", text_source(tmp_path, "a" * 20 + "z" * 20), "too_few")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_the_same_ids_of_another_meaning_have_another_digest(tmp_path, monkeypatch):
    monkeypatch.setitem(TOKENIZERS, "latin1", Latin1)
    corpora = {}
    for text, tokenizer in (("abc", "bytes"), ("abc", "latin1"), ("abc", "characters"), ("xyz", "characters")):
        folder = tmp_path / f"{text}-{tokenizer}"
        write_corpus(folder, text_source(tmp_path, text * 10), tokenizer)
        corpora[folder.name] = open_corpus(str(folder), tokenizer=tokenizer)
    assert (corpora["abc-bytes"].train == corpora["abc-latin1"].train).all()
    assert (corpora["abc-characters"].train == corpora["xyz-characters"].train).all()
    assert len({corpus.digest for corpus in corpora.values()}) == 4


@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
@pytest.mark.parametrize("num_tokens", [10, 37, 100])
def test_fewer_tokens_are_the_first_ones(num_tokens, tokenizer, tmp_path):
    text = "".join(chr(0x100 + i) for i in range(50))
    source = text_source(tmp_path, text)
    write_corpus(tmp_path / "few", source, tokenizer, max_tokens=num_tokens)
    few = open_corpus(str(tmp_path / "few"), tokenizer=tokenizer)
    expected = text.encode()[:num_tokens].decode(errors="replace") if tokenizer == "bytes" else text[:num_tokens]
    assert few.decode(numpy.concatenate([few.train, few.val])) == expected
    assert tokenizer == "bytes" or few.vocabulary_size == len(expected)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    source = text_source(tmp_path, "x" * 100)
    (tmp_path / "empty").mkdir()
    write_corpus(tmp_path / "empty", source, "bytes")
    assert read_facts(tmp_path / "empty").num_train == 90
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AlreadyMadeError, match="exists already"):
        write_corpus(tmp_path / "empty", source, "bytes", val_fraction=0.5)
    assert sorted(tmp_path.rglob("*")) == before
    assert read_facts(tmp_path / "empty").num_train == 90


def test_files_that_change_while_they_are_read_are_noticed(tmp_path):
    source = text_source(tmp_path, "x" * 100)
    (tmp_path / "text.txt").write_text("y" * 200)
    with pytest.raises(UsageError, match="the files changed while they were read"):
        write_corpus(tmp_path / "out", source, "bytes")
    assert not (tmp_path / "out").exists()


def test_the_facts_are_plain_json(tmp_path):
    write_corpus(tmp_path / "out", text_source(tmp_path, "abc" * 10), "characters")
    plain = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert {key: plain[key] for key in ("version", "tokenizer", "vocabulary", "dtype", "num_train", "num_val")} == {
        "version": 1,
        "tokenizer": "characters",
        "vocabulary": "abc",
        "dtype": "uint8",
        "num_train": 27,
        "num_val": 3,
    }
