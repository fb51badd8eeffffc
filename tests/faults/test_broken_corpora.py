"""Broken text, folders and settings: exit code 2 and one line that says what, where and what would be right."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.app import main
from bench.data.text.sources import CHUNK_BYTES, find_source
from bench.data.text.write import write_corpus

TEXT = "the cat sat on the mat\n" * 40
HINT = re.compile(
    r"required|must|exist|ask for|prepare (it|the corpus)|too small|use 'bytes'|pip install|set TIKTOKEN|"
    r"remove the folder|can't be (read|written)|name it in a suite"
)


@pytest.fixture
def bench_data(tmp_path, monkeypatch, capsys):
    """The command line in this process, its working folder the temporary one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "__all__")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["bench", "data", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(words, caught.value.code, printed.out, printed.err)

    return call


def in_a_process(folder: Path, *words: str, blocked: str = "", limit: int | None = None, **variables: str):
    """The same in its own process, where a `blocked` library can't be imported and no file may exceed the limit."""
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked.split()!r})); from bench.cli.app import main; main()"
    environment = os.environ | {"BENCH_DATA": str(folder / "cache"), "HF_HOME": str(folder / "hub")} | variables
    return subprocess.run(
        [sys.executable, "-c", code, "data", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def refused(result: subprocess.CompletedProcess[str], *, code: int = 2) -> str:
    """The one line of a refusal."""
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].isprintable()
    assert code != 2 or HINT.search(lines[0]), lines[0]
    return lines[0]


def text(content: bytes):
    return lambda folder: (folder / "x").write_bytes(content)


def folder_of(**files: bytes):
    def make(folder: Path) -> None:
        (folder / "x").mkdir()
        for name, content in files.items():
            (folder / "x" / name).write_bytes(content)

    return make


# What is made of the path x, and what `bench data show x` says of it.
SOURCES = {
    "missing": (lambda folder: None, "x: no such file or folder; required 'python' (the"),
    "empty file": (text(b""), "x: the file is empty"),
    "empty folder": (folder_of(), "x: no text: the folder holds no file that is not empty"),
    "folder of empty files": (folder_of(a=b"", b=b""), "no file that is not empty"),
    "folder of binary files": (folder_of(a=b"\0" * 99, b=b"\xff" * 99), "none of its 2 files is in UTF-8"),
    "picture": (text(b"\x89PNG\r\n\x1a\n\0" * 9), "x: a binary file (it holds a NUL byte)"),
    "Latin-1": (text(b"caf\xe9 au lait, caf\xe9 noir"), "x: not text (byte 0xe9: invalid continuation byte)"),
    "UTF-16": (text(TEXT.encode("utf-16")), "x: a binary file"),
    "UTF-16 without NUL": (text("\u4e2d\u6587".encode("utf-16") * 20), "x: not text (byte 0xff"),
    "binary after a megabyte": (text(b"a" * CHUNK_BYTES + b"\xff"), "x: not text (byte 0xff"),
    "cut in a character": (text(TEXT.encode() + b"\xe2\x82"), "byte 0xe2: unexpected end of data"),
    "nine bytes": (text(b"too small"), "x: too small: 9 tokens, with 0.1 held out none are left for validation"),
    "pipe": (lambda folder: os.mkfifo(folder / "x"), "x: must be a file or a folder"),
    "circle of links": (lambda folder: (folder / "x").symlink_to("x"), "x: no such file or folder"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_broken_source_is_refused(case, tmp_path, bench_data):
    make, words = SOURCES[case]
    make(tmp_path)
    assert words in refused(bench_data("show", "x"))
    assert not list(tmp_path.glob("cache/corpora/*"))


# Words of a command where x is a text, out a folder prepared from it by 'characters', and what is said.
COMMANDS = {
    "unknown tokenizer": ("show x --tokenizer gpt5", "unknown tokenizer 'gpt5'; tokenizers that exist: bytes, charac"),
    "another tokenizer": ("show out --tokenizer bytes", "out: prepared with the tokenizer 'characters', not 'bytes'"),
    "check of a text": ("check x", "x: no prepared corpus"),
    "check of nothing": ("check nowhere", "nowhere: no prepared corpus"),
    "out exists": ("prepare x --out out", "out: exists already; name a folder that is new or empty"),
    "out is a file": ("prepare x --out x", "x: exists already"),
    "out below a file": ("prepare x --out x/out", "x/out: can't be written"),
    "prepared already": ("prepare out --out new", "out: prepared already"),
    "nothing held out": ("prepare x --out new --val-fraction 0", "must be between 0 and 1, got 0"),
    "all held out": ("prepare x --out new --val-fraction 1", "must be between 0 and 1, got 1"),
    "no number held out": ("prepare x --out new --val-fraction nan", "must be between 0 and 1, got nan"),
    "too much held out": ("prepare x --out new --val-fraction 1e-9", "none are left for validation"),
    "no tokens": ("prepare x --out new --max-tokens 0", "max_tokens must be at least 1, got 0"),
    "one token": ("prepare x --out new --max-tokens 1", "too small: 1 tokens"),
    "hub without preparing": ("show hf:a/b", "hf:a/b: prepare it first: bench data prepare hf:a/b --out FOLDER"),
    "hub without a name": ("prepare hf: --out new", "must be hf:owner/name or hf:owner/name/config"),
    "hub with four parts": ("prepare hf:a/b/c/d --out new", "must be hf:owner/name or hf:owner/name/config"),
}


@pytest.fixture
def prepared(tmp_path) -> Path:
    (tmp_path / "x").write_text(TEXT)
    write_corpus(tmp_path / "out", find_source(str(tmp_path / "x")), "characters")
    return tmp_path / "out"


@pytest.mark.parametrize("case", COMMANDS)
def test_broken_command_is_refused_and_leaves_nothing(case, prepared, bench_data):
    words, said = COMMANDS[case]
    folder = prepared.parent
    before = sorted(folder.rglob("*"))
    assert said in refused(bench_data(*words.split()))
    assert sorted(folder.rglob("*")) == before


def facts(**changes):
    def change(folder: Path) -> None:
        path = folder / "corpus.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def rewritten(name: str, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


# What is done to a prepared folder, and what both `show` and `check` say of it.
DAMAGES = {
    "shard cut": (rewritten("train.bin", lambda raw: raw[:-1]), "train.bin: cut: 827 bytes, corpus.json tells 828"),
    "shard empty": (rewritten("val.bin", lambda raw: b""), "val.bin: cut: 0 bytes, corpus.json tells 92"),
    "shard too long": (rewritten("val.bin", lambda raw: raw + b"\0"), "val.bin: too long: 93 bytes"),
    "shard missing": (lambda folder: (folder / "train.bin").unlink(), "train.bin: can't be read: No such file"),
    "facts cut": (rewritten("corpus.json", lambda raw: raw[:-9]), "corpus.json: not JSON"),
    "facts empty": (rewritten("corpus.json", lambda raw: b""), "corpus.json: not JSON"),
    "facts binary": (rewritten("corpus.json", lambda raw: b"\xff\0"), "corpus.json: not JSON"),
    "facts nested": (rewritten("corpus.json", lambda raw: b"[" * 100_000), "corpus.json: not JSON"),
    "facts of a gigabyte": (lambda folder: os.truncate(folder / "corpus.json", 1 << 30), "corpus.json: too large"),
    "facts a list": (rewritten("corpus.json", lambda raw: b"[]"), "corpus.json: not of a prepared corpus"),
    "facts of something else": (rewritten("corpus.json", lambda raw: b'{"a": 1}'), "not of a prepared corpus"),
    "another version": (facts(version=2), "format version 2, this program reads 1"),
    "count a text": (facts(num_train="828"), "num_train must be a whole number"),
    "count true": (facts(num_val=True), "num_val must be a whole number"),
    "count a fraction": (facts(num_train=828.0), "num_train must be a whole number"),
    "count missing": (facts(num_val=None), "num_val must be a whole number"),
    "count negative": (facts(num_val=-92), "num_train and num_val must be at least 1"),
    "count huge": (facts(num_train=10**30), "train.bin: cut"),
    "unknown tokenizer": (facts(tokenizer="words"), "unknown tokenizer 'words'; tokenizers that exist: bytes"),
    "another vocabulary": (facts(vocabulary="abc"), "vocabulary_size must be 3 here, got 11"),
    "another type": (facts(dtype="uint16"), "dtype must be uint8, got 'uint16'"),
    "no type": (facts(dtype="float64"), "dtype must be uint8, got 'float64'"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_folder_is_refused(case, prepared, bench_data):
    damage, words = DAMAGES[case]
    damage(prepared)
    for command in ("show", "check"):
        assert words in refused(bench_data(command, "out"))


def test_check_finds_an_id_beyond_the_vocabulary(prepared, bench_data):
    raw = bytearray((prepared / "val.bin").read_bytes())
    raw[7] = 11
    (prepared / "val.bin").write_bytes(raw)
    said = refused(bench_data("check", "out"))
    assert "val.bin: token 7 has the id 11, ids must be below 11" in said


def test_check_finds_one_changed_token(prepared, bench_data):
    raw = bytearray((prepared / "train.bin").read_bytes())
    raw[99] ^= 1
    (prepared / "train.bin").write_bytes(raw)
    assert "the tokens are not those of the digest" in refused(bench_data("check", "out"))


def test_damaged_cache_says_what_to_remove(tmp_path, bench_data):
    (tmp_path / "x").write_text(TEXT)
    assert bench_data("show", "x").returncode == 0
    (folder,) = (tmp_path / "cache" / "corpora").iterdir()
    (folder / "train.bin").write_bytes(b"")
    said = refused(bench_data("show", "x"))
    assert f"the cache is damaged: remove the folder {folder}" in said
    shutil.rmtree(folder)
    assert bench_data("show", "x").returncode == 0


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "a" * 5000, "~nobody/x", "x/y"])
def test_name_of_no_corpus_is_one_line(name, tmp_path, bench_data):
    (tmp_path / "x").write_text(TEXT)
    assert "no such file or folder; required 'python'" in refused(bench_data("show", name))


def test_cache_that_can_not_be_written_is_refused(tmp_path, bench_data, monkeypatch):
    (tmp_path / "x").write_text(TEXT)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "x"))
    assert "can't be written" in refused(bench_data("show", "x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize("name", ["x", "."])
def test_file_without_permission_is_refused(name, tmp_path, bench_data):
    (tmp_path / "x").write_text(TEXT)
    (tmp_path / "x").chmod(0)
    assert "x: can't be read: Permission denied" in refused(bench_data("show", name))


def test_too_many_characters_are_refused(tmp_path, bench_data):
    (tmp_path / "x").write_text("".join(chr(0x10000 + i) for i in range(65_536)), encoding="utf-8")
    said = refused(bench_data("show", "x", "--tokenizer", "characters"))
    assert "more than 65,535 different characters" in said


@pytest.mark.parametrize(
    ("library", "words"),
    [("tiktoken", "prepare x --out out --tokenizer gpt2"), ("datasets", "prepare hf:a/b --out out")],
)
def test_missing_library_says_what_to_install(library, words, tmp_path):
    (tmp_path / "x").write_text(TEXT)
    said = refused(in_a_process(tmp_path, *words.split(), blocked=library))
    assert f"needs {library}: pip install 'attention-robustness-bench[text]'" in said
    assert not (tmp_path / "out").exists()


def test_vocabulary_that_can_not_be_downloaded_is_said(tmp_path):
    pytest.importorskip("tiktoken", reason="needs the extra 'text'")
    (tmp_path / "x").write_text(TEXT)
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    words = ("show", "x", "--tokenizer", "gpt2")
    said = refused(in_a_process(tmp_path, *words, TIKTOKEN_CACHE_DIR=str(tmp_path / "none"), **nowhere))
    assert "can't download GPT-2's vocabulary here; set TIKTOKEN_CACHE_DIR" in said


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["--text-field number", "--split test"])
def test_data_set_without_the_field_or_split_is_refused(wrong, tmp_path):
    pytest.importorskip("datasets", reason="needs the extra 'text'")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"text": "a", "number": 1}\n')
    words = ("prepare", f"hf:{tmp_path}/set", "--out", "out", *wrong.split())
    said = refused(in_a_process(tmp_path, *words, HF_HUB_OFFLINE="1"))
    assert "fields that exist: text, number" in said or "can't be read: ValueError: Bad split: test" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", ["show x", "prepare x --out out"])
def test_full_disk_is_exit_code_5_and_leaves_nothing(words, tmp_path):
    (tmp_path / "x").write_text(TEXT * 100)
    said = refused(in_a_process(tmp_path, *words.split(), limit=50_000, PYTHONDONTWRITEBYTECODE="1"), code=5)
    assert "no space left to keep the data; nothing was kept" in said
    assert {path.name for path in tmp_path.rglob("*")} <= {"x", "cache", "corpora"}
