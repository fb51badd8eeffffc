"""Corpora by name and path: the tokens, the split, the digest, the cache."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.text.corpus import corpus_facts, open_corpus, prepared_tokenizer
from bench.data.text.pieces import SEPARATOR
from bench.data.text.sources import CHUNK_BYTES, NOT_LIBRARY, find_source
from bench.data.text.write import write_corpus

TEXT = "To be, or not to be: that is the question.\r\nWhether ’tis nobler 😀\n" * 7


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def text_file(folder: Path, text: str = TEXT) -> Path:
    path = folder / "text.txt"
    path.write_bytes(text.encode())
    return path


def tokens(corpus) -> numpy.ndarray:
    return numpy.concatenate([corpus.train, corpus.val])


def test_tokens_of_bytes_are_those_of_the_file(tmp_path):
    path = text_file(tmp_path)
    corpus = open_corpus(str(path))
    assert (tokens(corpus) == numpy.frombuffer(path.read_bytes(), dtype=numpy.uint8)).all()
    assert (corpus.train.dtype, corpus.vocabulary_size) == (numpy.uint8, 256)


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=10))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
def test_decoding_gives_back_the_file(tokenizer, text, tmp_path):
    corpus = open_corpus(str(text_file(tmp_path, text)), tokenizer=tokenizer)
    assert corpus.decode(tokens(corpus)) == text
    assert tokens(corpus).max() < corpus.vocabulary_size


def test_a_text_of_many_chunks_is_that_of_the_whole(tmp_path):
    text = "aé€😀b\r\n" * 200_000
    path = text_file(tmp_path, text)
    assert path.stat().st_size > 2 * CHUNK_BYTES
    assert (tokens(open_corpus(str(path))) == numpy.frombuffer(text.encode(), dtype=numpy.uint8)).all()
    corpus = open_corpus(str(path), tokenizer="characters")
    vocabulary = sorted(set(text))
    assert tokens(corpus).tolist() == [vocabulary.index(character) for character in text]


@pytest.mark.parametrize("num_tokens", [10, 19, 20, 99, 1000])
def test_the_last_tenth_is_held_out(num_tokens, tmp_path):
    corpus = open_corpus(str(text_file(tmp_path, "x" * num_tokens)))
    assert (len(corpus.val), len(corpus.train)) == (num_tokens // 10, num_tokens - num_tokens // 10)


@pytest.mark.parametrize(("fraction", "num_val"), [(0.29, 29), (0.5, 50), (0.999, 99), (0.01, 1), (0.07, 7)])
def test_the_share_that_is_held_out_is_exact(fraction, num_val, tmp_path):
    write_corpus(tmp_path / "out", find_source(str(text_file(tmp_path, "x" * 100))), "bytes", val_fraction=fraction)
    assert len(open_corpus(str(tmp_path / "out")).val) == num_val


@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
def test_the_digest_is_of_the_tokens_alone(tokenizer, tmp_path):
    path = text_file(tmp_path)
    digest = open_corpus(str(path), tokenizer=tokenizer).digest
    os.utime(path, ns=(1, 1))
    (tmp_path / "elsewhere").mkdir()
    other = text_file(tmp_path / "elsewhere")
    assert open_corpus(str(path), tokenizer=tokenizer).digest == digest
    assert open_corpus(str(other), tokenizer=tokenizer).digest == digest
    other.write_bytes(TEXT.replace("question", "Question", 1).encode())
    assert open_corpus(str(other), tokenizer=tokenizer).digest != digest


def test_tokenizer_and_split_are_in_the_digest(tmp_path):
    source = find_source(str(text_file(tmp_path, "abcdefghij" * 10)))
    digests = set()
    for tokenizer in ("bytes", "characters"):
        for fraction in (0.1, 0.2):
            folder = tmp_path / f"{tokenizer}-{fraction}"
            write_corpus(folder, source, tokenizer, val_fraction=fraction)
            digests.add(open_corpus(str(folder), tokenizer=tokenizer).digest)
    assert len(digests) == 4


@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
def test_prepared_equals_raw(tokenizer, tmp_path):
    path = text_file(tmp_path)
    write_corpus(tmp_path / "out", find_source(str(path)), tokenizer)
    raw, prepared = (open_corpus(str(source), tokenizer=tokenizer) for source in (path, tmp_path / "out"))
    assert (raw.train == prepared.train).all()
    assert (raw.val == prepared.val).all()
    assert (raw.digest, raw.vocabulary_size) == (prepared.digest, prepared.vocabulary_size)
    assert prepared_tokenizer(str(tmp_path / "out")) == tokenizer
    assert prepared_tokenizer(str(path)) is None


def test_a_folder_is_its_text_files_in_order(tmp_path):
    folder = tmp_path / "texts"
    (folder / "b" / ".git").mkdir(parents=True)
    (folder / "z.txt").write_text("last")
    (folder / "b" / "a.md").write_text("second é")
    (folder / "b" / ".git" / "config").write_text("hidden")
    (folder / "a").write_text("first")
    (folder / "image.png").write_bytes(b"\x89PNG\0\xff")
    (folder / "empty.txt").write_text("")
    (folder / "again").symlink_to(folder)
    corpus = open_corpus(str(folder))
    assert corpus.decode(tokens(corpus)) == f"{SEPARATOR}first{SEPARATOR}second é{SEPARATOR}last"
    facts = corpus_facts(str(folder))
    assert (facts.num_files, facts.num_documents) == (4, 3)


def test_the_built_in_corpus_is_the_standard_library():
    corpus = open_corpus("python")
    root = Path(os.__file__).parent
    paths = [
        path
        for path in root.rglob("*.py")
        if not NOT_LIBRARY & set(path.relative_to(root).parts)
        and not path.relative_to(root).as_posix().startswith(("_sysconfigdata", "config-"))
        and path.stat().st_size
    ]
    paths.sort(key=lambda path: path.relative_to(root).as_posix())
    expected = b"".join(b"\x1c" + path.read_bytes().decode(errors="replace").encode() for path in paths)
    assert tokens(corpus).tobytes() == expected
    assert len(expected) > 5_000_000
    assert "import" in corpus.decode(corpus.train[:100_000])


def test_a_cached_corpus_opens_in_20_ms_and_its_facts_without_numpy():
    open_corpus("python")
    seconds = []
    for _ in range(20):
        started = time.process_time()  # of this process: others may take the processor
        open_corpus("python")
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.02
    code = "import sys; from bench.data.text.corpus import corpus_facts; print(corpus_facts('python').digest); "
    code += "assert 'numpy' not in sys.modules"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == open_corpus("python").digest == corpus_facts("python").digest


def test_arrays_are_mapped_and_read_only(tmp_path):
    corpus = open_corpus(str(text_file(tmp_path)))
    assert isinstance(corpus.train.base, numpy.memmap)
    with pytest.raises(ValueError, match="read-only"):
        corpus.train[0] = 1


def test_decoding_refuses_ids_beyond_the_vocabulary(tmp_path):
    corpus = open_corpus(str(text_file(tmp_path, "abcdefghij")), tokenizer="characters")
    assert corpus.decode([[0, 1], [2, 9]]) == "abcj"
    for wrong in ([10], [-1]):
        with pytest.raises(ValueError, match=r"must be in \[0, 10\)"):
            corpus.decode(wrong)


@pytest.mark.whole
def test_processes_may_open_a_corpus_at_once(tmp_path, cache):
    path = text_file(tmp_path, TEXT * 20_000)
    opened = f"open_corpus({str(path)!r}, tokenizer='characters')"
    code = f"from bench.data.text.corpus import open_corpus; print({opened}.digest)"
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in started]
    assert {errors for _, errors in outputs} == {""}
    assert len({digest for digest, _ in outputs}) == 1
    assert len(list((cache / "corpora").iterdir())) == 1


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path, cache):
    path = text_file(tmp_path)
    open_corpus(str(path))
    (folder,) = (cache / "corpora").iterdir()
    old, new = (folder.parent / f".tmp-{folder.name}-{age}" for age in ("old", "new"))
    for leftover in (old, new):
        leftover.mkdir()
        (leftover / "train.bin").write_text("half")
    for part in (old / "train.bin", old):
        os.utime(part, (1, 1))
    for part in (*folder.iterdir(), folder):
        part.unlink() if part.is_file() else part.rmdir()
    open_corpus(str(path))
    assert sorted(folder.parent.iterdir()) == [new, folder]
