"""Text in the encodings that it says is read; of other text the message has the command that converts it."""

import bz2
import gzip
import io
import lzma
import re
import shutil
import subprocess
import zipfile

import polars as pl
import pytest

from bench.errors import UsageError
from bench.imports.columns import MAX_BYTES
from bench.imports.tidy_file import read_tidy

HEADER = "method,lr,seed,final_loss,initial_loss,note"
TEXT = f"{HEADER}\nnaïve,0.1,0,2.5,4.5,café\nb,0.1,1,2.25,4.5,été\n"
JSON = '{"method": "naïve", "lr": 0.1, "note": "café"}\n{"method": "b", "lr": 0.1, "note": "été"}\n'
METHODS = ["naïve", "b"]
QUOTED = TEXT.replace("café", "“café” – €5")
needs_iconv = pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")


def methods(path) -> list[str]:
    return read_tidy(path).cells["method"].to_list()


def refused(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_tidy(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def zipped(**contents: str | bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return archive.getvalue()


@pytest.mark.parametrize("text", [TEXT, JSON, TEXT.replace("\n", "\r\n"), TEXT.replace("\n", "\r")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_says_its_encoding_is_read(tmp_path, text, encoding):
    (tmp_path / "runs").write_bytes(text.encode(encoding))
    assert methods(tmp_path / "runs") == METHODS


def test_marks_of_either_byte_order_are_known(tmp_path):
    for order, mark in (("utf-16-be", b"\xfe\xff"), ("utf-16-le", b"\xff\xfe"), ("utf-32-be", b"\0\0\xfe\xff")):
        (tmp_path / "runs").write_bytes(mark + TEXT.encode(order))
        assert methods(tmp_path / "runs") == METHODS
        assert f"text in {order[:6].upper()}" in read_tidy(tmp_path / "runs").notes


@needs_iconv
@pytest.mark.parametrize(
    ("encoding", "text", "words"),
    [
        ("latin-1", TEXT, "line 2: not UTF-8; looks like Latin-1"),
        ("latin-1", JSON, "line 1: not UTF-8; looks like Latin-1"),
        ("cp1252", QUOTED, "line 2: not UTF-8; looks like Windows-1252"),
        ("utf-16-le", TEXT, "looks like UTF-16LE without its mark"),
        ("utf-16-be", TEXT, "looks like UTF-16BE without its mark"),
    ],
)
@pytest.mark.parametrize("packed", [None, gzip, bz2, lzma])
def test_the_command_of_the_message_converts(tmp_path, encoding, text, words, packed):
    suffix = {None: "", gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[packed]
    name = f"my runs.csv{suffix}"
    content = text.encode(encoding)
    found = refused(tmp_path / name, content if packed is None else packed.compress(content))
    assert words in found
    command = re.search("`(.*)`", found)
    assert command is not None
    tool = command[1].split()[0]
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    subprocess.run(command[1], shell=True, check=True, cwd=tmp_path)
    (converted,) = tmp_path.glob("*-utf8.csv")
    assert converted.read_text(encoding="utf-8") == text


def test_text_of_other_scripts_is_told_from_latin(tmp_path):
    for encoding, word in (("koi8-r", "мягкий"), ("gbk", "注意力机制"), ("shift-jis", "注意機構")):
        found = refused(tmp_path / "runs.csv", TEXT.replace("naïve", word).replace("é", "e").encode(encoding))
        assert "looks like an encoding of other scripts, such as GBK, Shift_JIS or KOI8-R; `iconv -f GBK" in found


def test_zeros_in_text_and_binary_files_are_told_apart(tmp_path):
    found = refused(tmp_path / "runs.csv", TEXT.replace("\nb,", "\nb\0,").encode())
    assert "line 3: a NUL byte, which text has none of; if it means nothing, `tr -d '\\0' < " in found
    assert "line 2: a binary file" in refused(tmp_path / "runs.csv", bytes(range(1, 256)) * 9)
    assert "line 1: a binary file" in refused(tmp_path / "runs.csv", bytes(range(256)) * 9)


def test_what_is_cut_short_or_empty_is_said(tmp_path):
    path = tmp_path / "runs.csv"
    assert "line 4: ends within a letter of UTF-8: cut short" in refused(path, f"{TEXT}é".encode()[:-1])
    assert "cut short or damaged: begins as UTF-16 and is not" in refused(path, TEXT.encode("utf-16")[:-1])
    for empty in (b"", b" \n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xbb\xbf\r\n"):
        assert "the file is empty" in refused(path, empty)


def test_the_one_file_of_an_archive_is_read(tmp_path):
    path = tmp_path / "runs.zip"
    parquet = io.BytesIO()
    pl.DataFrame({"method": METHODS}).write_parquet(parquet)
    contents = {"runs.csv": TEXT, "__MACOSX/._runs.csv": "x", ".DS_Store": "x"}
    for content in (zipped(**contents), zipped(runs=parquet.getvalue()), zipped(runs=TEXT.encode("utf-16"))):
        path.write_bytes(content)
        assert methods(path) == METHODS
        assert "unpacked from ZIP" in read_tidy(path).notes


def test_archives_that_can_not_be_read_say_why(tmp_path):
    path = tmp_path / "runs.zip"
    two = zipped(**{"a.csv": TEXT, "b.csv": TEXT})
    assert "a ZIP archive of a.csv, b.csv; `unzip " in refused(path, two)
    assert "a ZIP archive of no files" in refused(path, zipped(**{"folder/": ""}))
    assert "a workbook of Excel; save the sheet as CSV" in refused(path, zipped(**{"[Content_Types].xml": "x"}))
    assert "damaged, can't be unpacked from ZIP" in refused(path, zipped(runs=TEXT)[:-30])
    assert "over 67 MB unpacked from ZIP" in refused(path, zipped(runs=b"0" * (MAX_BYTES + 1)))
    many = zipped(**{f"{place}.csv": "" for place in range(6000)})
    assert "a ZIP archive of thousands of files" in refused(path, many)
    locked = bytearray(zipped(runs=TEXT))
    locked[6] |= 1  # the flag of encryption, in the file's head and in the list
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "a ZIP archive with a password" in refused(path, bytes(locked))
