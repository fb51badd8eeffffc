"""`bench data` for real: what it prints, where, and what it leaves."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from bench.data.images.labelled import open_images
from bench.data.text.corpus import open_corpus
from bench.data.text.prepared import check_corpus, read_facts

TEXT = "the cat sat on the mat\n" * 40


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "bench.cli", "data", *map(str, words)]


def bench_data(folder: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BENCH_DATA": str(folder / "cache"), "HF_HOME": str(folder / "hub")} | variables
    return subprocess.run(
        command(*words), cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def text(tmp_path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.mark.whole
def test_images_are_shown_with_what_their_pixels_say(tmp_path):
    shown = bench_data(tmp_path, "show", "digits", "--json")
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["digest"] == open_images("digits").digest
    assert (facts["num_train"], facts["num_val"], facts["shape"]) == (1438, 359, [8, 8, 1])
    assert facts["raw_pixels"] == {"val_knn_accuracy": 0.7688, "val_probe_accuracy": 0.5209}


@pytest.mark.whole
@pytest.mark.parametrize("made", ["numbers", pytest.param("spoken_digits", marks=pytest.mark.repetition)])
def test_data_that_are_made_are_shown_with_a_sample(tmp_path, made):
    shown = bench_data(tmp_path, "show", made)
    plain = json.loads(bench_data(tmp_path, "show", made, "--json").stdout)
    assert shown.returncode == 0, shown.stderr
    assert f"digest: {plain['digest']}" in shown.stdout.splitlines()
    assert len(plain["sample"]) == 5
    first = plain["sample"][0]
    assert (first if isinstance(first, str) else first[0]) in shown.stdout.splitlines()


@pytest.mark.whole
def test_damaged_images_are_told_in_one_line(tmp_path, stl):
    assert "4 without a class" in bench_data(tmp_path, "check", stl).stdout
    (stl / "train_y.bin").write_bytes(b"\0\1\2")
    checked = bench_data(tmp_path, "check", stl)
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.strip().splitlines() == [f"{stl / 'train_y.bin'}: labels must be 1 to 10, got 0"]


def test_prepare_then_show_then_check_agree(tmp_path, text):
    prepared = bench_data(tmp_path, "prepare", text, "--out", "out", "--tokenizer", "characters", "--json")
    assert prepared.returncode == 0, prepared.stderr
    shown = bench_data(tmp_path, "show", "out", "--json")
    checked = bench_data(tmp_path, "check", "out", "--json")
    facts = json.loads(prepared.stdout)
    assert json.loads(checked.stdout) == facts
    assert json.loads(shown.stdout) == facts | {"sample": TEXT[:200]}
    assert (facts["vocabulary_size"], facts["num_train"], facts["num_val"]) == (len(set(TEXT)), 828, 92)
    assert str(tmp_path / "out") in prepared.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "text.txt"]


def test_byte_pairs_are_prepared_shown_and_checked(tmp_path, text):
    how = (text, "--tokenizer", "bpe", "--vocabulary-size", "264")
    made = [bench_data(tmp_path, "prepare", *how, "--out", out, "--json") for out in ("one", "two")]
    assert [one.returncode for one in made] == [0, 0], made[0].stderr
    facts = json.loads(made[0].stdout)
    assert (facts["tokenizer"], facts["vocabulary_size"]) == ("bpe", 264)
    assert facts == json.loads(made[1].stdout)
    shown = bench_data(tmp_path, "show", "one")
    assert "tokenizer: bpe, 264 ids (uint16)" in shown.stdout.splitlines()
    assert "the cat sat on the mat" in shown.stdout.splitlines()
    assert bench_data(tmp_path, "check", "one").returncode == 0
    refused = bench_data(tmp_path, "prepare", text, "--vocabulary-size", "270", "--out", "three")
    assert (refused.returncode, (tmp_path / "three").exists()) == (2, False)
    assert "vocabulary_size is for the tokenizer bpe, got bytes" in refused.stderr


def test_a_vocabulary_that_is_damaged_is_told_in_one_line(tmp_path, text):
    assert bench_data(tmp_path, "prepare", text, "--tokenizer", "bpe", "--out", "one").returncode == 0
    path = tmp_path / "one/corpus.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary": "{}"}))
    checked = bench_data(tmp_path, "check", "one")
    assert checked.returncode == 2
    assert checked.stderr.endswith("corpus.json: vocabulary can't be read; prepare it again\n")
    assert checked.stderr.count("\n") == 1


def test_show_prints_for_people_without_steering_their_terminal(tmp_path, text):
    text.write_text("\x1b[31mred\x07 ’é’\n" * 40)
    shown = bench_data(tmp_path, "show", text)
    assert shown.returncode == 0, shown.stderr
    assert "tokens: 760 (684 train, 76 held out)" in shown.stdout
    assert "�[31mred� ’é’\n" in shown.stdout
    assert "\x1b" not in shown.stdout + shown.stderr


def test_files_that_are_no_text_are_counted(tmp_path, text):
    folder = tmp_path / "texts"
    folder.mkdir()
    text.rename(folder / "a.txt")
    (folder / "b.png").write_bytes(b"\x89PNG\0")
    assert "2 files (1 skipped, not text in UTF-8)" in bench_data(tmp_path, "show", folder).stdout


def test_options_without_effect_are_said(tmp_path, text):
    prepared = bench_data(tmp_path, "prepare", text, "--out", "out", "--split", "test")
    assert prepared.returncode == 0
    assert "have no effect" in prepared.stderr


def test_a_terminal_gets_a_bar_without_colours_under_no_color(tmp_path, text):
    text.write_text(TEXT * 5000)
    reading, writing = pty.openpty()
    environment = os.environ | {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    words = command("prepare", text, "--out", tmp_path / "out")
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    drawn = b""
    try:
        while part := os.read(reading, 4096):
            drawn += part
    except OSError:  # Linux's end of file for a terminal
        pass
    os.close(reading)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"writing tokens" in drawn
    assert not re.search(rb"\x1b\[[0-9;]*m", drawn)
    assert b"\x1b" not in printed


# Ctrl-C as soon as the first file of a new corpus is opened.
INTERRUPTED = """
import os, signal, sys


def interrupt(event, arguments):
    if event == "open" and ".tmp-out-" in str(arguments[0]) and not sent:
        sent.append(True)
        os.kill(os.getpid(), signal.SIGINT)


sent = []
sys.addaudithook(interrupt)
from bench.cli.app import main

main()
"""


def test_ctrl_c_leaves_nothing(tmp_path, text):
    words = ["data", "prepare", str(text), "--out", str(tmp_path / "out"), "--tokenizer", "characters"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped; nothing half-built is left\n")
    assert list(tmp_path.iterdir()) == [text]


@pytest.mark.slow
def test_a_data_set_is_streamed_with_a_separator_before_each_row(tmp_path):
    pytest.importorskip("datasets", reason="needs the extra 'text'")
    rows = ["first é", "second", "", "third"] * 5
    (tmp_path / "set").mkdir()
    lines = "".join(json.dumps({"story": row, "number": number}) + "\n" for number, row in enumerate(rows))
    (tmp_path / "set" / "train.jsonl").write_text(lines)
    words = ("prepare", f"hf:{tmp_path}/set", "--out", "out", "--text-field", "story")
    prepared = bench_data(tmp_path, *words, HF_HUB_OFFLINE="1")
    assert prepared.returncode == 0, prepared.stderr
    corpus = open_corpus(str(tmp_path / "out"))
    written = corpus.decode(corpus.train) + corpus.decode(corpus.val)
    assert written == "".join("\x1c" + row for row in rows if row)
    assert read_facts(tmp_path / "out").num_documents == 15


def test_gpt2_gives_the_published_ids(tmp_path, text):
    pytest.importorskip("tiktoken", reason="needs the extra 'text'")
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("hello world")
    (folder / "b.txt").write_text("hello world<|endoftext|>" * 5)
    prepared = bench_data(tmp_path, "prepare", folder, "--out", "out", "--tokenizer", "gpt2")
    if "can't download GPT-2's vocabulary" in prepared.stderr:
        pytest.skip("GPT-2's vocabulary is neither here nor can it be downloaded")
    assert prepared.returncode == 0, prepared.stderr
    corpus = open_corpus(str(tmp_path / "out"), tokenizer="gpt2")
    ids = numpy.concatenate([corpus.train, corpus.val])
    assert (corpus.vocabulary_size, ids.dtype) == (50_257, numpy.uint16)
    assert ids[:6].tolist() == [50_256, 31_373, 995, 50_256, 31_373, 995]
    assert (ids == 50_256).sum() == 2
    assert corpus.decode(ids[4:]) == "hello world<|endoftext|>" * 5
    check_corpus(tmp_path / "out")


def test_help_loads_nothing_heavy():
    heavy = {"numpy", "rich.progress", "tiktoken", "datasets", "torch"}
    code = f"import sys, bench.cli.app; print({heavy!r} & {{*sys.modules}})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


@pytest.fixture
def pairs(tmp_path) -> Path:
    (tmp_path / "train.en").write_text("".join(f"the cat sees {number} dogs\n" for number in range(30)))
    (tmp_path / "train.de").write_text("".join(f"die Katze sieht {number} Hunde\n" for number in range(30)))
    return tmp_path


def test_pairs_are_prepared_then_shown_then_checked(pairs):
    words = ("train.en", "--target", "train.de", "--out", "out", "--tokenizer", "characters", "--json")
    prepared = bench_data(pairs, "prepare", *words)
    assert prepared.returncode == 0, prepared.stderr
    facts = json.loads(prepared.stdout)
    assert (facts["num_train"], facts["num_val"]) == (27, 3)
    assert json.loads(bench_data(pairs, "check", "out", "--json").stdout) == facts
    shown = bench_data(pairs, "show", "out").stdout
    assert "pairs: 30 (27 train, 3 held out)" in shown
    assert "the cat sees 0 dogs\n    die Katze sieht 0 Hunde\n" in shown


def test_pairs_of_other_lengths_end_with_2_and_one_line_and_leave_nothing(pairs):
    (pairs / "train.de").write_text("die Katze\n")
    prepared = bench_data(pairs, "prepare", "train.en", "--target", "train.de", "--out", "out")
    assert (prepared.returncode, prepared.stdout, prepared.stderr.count("\n")) == (2, "", 1)
    assert "train.de:1: the last line, but" in prepared.stderr
    assert sorted(path.name for path in pairs.iterdir()) == ["train.de", "train.en"]


@pytest.mark.slow
def test_pairs_of_a_data_set_lie_in_fields_of_fields(tmp_path):
    pytest.importorskip("datasets", reason="needs the extra 'text'")
    rows = [{"translation": {"en": f"cat {number}", "de": f"Katze {number}"}} for number in range(20)]
    rows[3]["translation"]["de"] = " "
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = ("--source-field", "translation.en", "--target-field", "translation.de", "--tokenizer", "bytes")
    prepared = bench_data(tmp_path, "prepare", f"hf:{tmp_path}/set", "--out", "out", *fields, HF_HUB_OFFLINE="1")
    assert prepared.returncode == 0, prepared.stderr
    sample = json.loads(bench_data(tmp_path, "show", "out", "--json").stdout)["sample"]
    assert sample[:4] == [[f"cat {number}", f"Katze {number}"] for number in (0, 1, 2, 4)]
