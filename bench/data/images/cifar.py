"""CIFAR-10 from the folder of its binary version. Source: Krizhevsky 2009."""

from __future__ import annotations

from pathlib import Path

import numpy

from bench.data.text.sources import one_line
from bench.errors import UsageError

NUM_CLASSES = 10
SIDE, NUM_CHANNELS = 32, 3
NUM_VALUES = NUM_CHANNELS * SIDE * SIDE
TRAIN_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
TEST_BATCH = "test_batch"

Batch = tuple[numpy.ndarray, numpy.ndarray]  # images (N, 32, 32, 3) uint8, labels (N,) int64


def read_cifar(folder: Path) -> tuple[Batch, Batch]:
    """The 5 training batches as one, and the test batch.

    Raises UsageError if a batch is missing or damaged, and for the version for Python, whose pickles could run code.
    """
    if not (folder / f"{TEST_BATCH}.bin").exists():
        got = ""
        if (folder / TEST_BATCH).exists():
            got = f"; got {TEST_BATCH}, the pickles of the version for Python, which are not read as they can run code"
        raise UsageError(
            f"{one_line(folder)}: no CIFAR-10: must hold data_batch_1.bin to 5 and {TEST_BATCH}.bin (binary version, "
            f"cifar-10-binary.tar.gz){got}"
        )
    batches = [_read(folder / f"{name}.bin") for name in TRAIN_BATCHES]
    images, labels = zip(*batches, strict=True)
    return (numpy.concatenate(images), numpy.concatenate(labels)), _read(folder / f"{TEST_BATCH}.bin")


def _read(path: Path) -> Batch:
    """A row an image: a label, then 3,072 values, channel by channel."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error
    if not content or len(content) % (1 + NUM_VALUES):
        raise UsageError(
            f"{one_line(path)}: {len(content):,} bytes, must be a multiple of {1 + NUM_VALUES} (a label and "
            f"{NUM_VALUES} values an image)"
        )
    rows = numpy.frombuffer(content, dtype=numpy.uint8).reshape(-1, 1 + NUM_VALUES)
    labels = rows[:, 0].astype(numpy.int64)
    if labels.max() >= NUM_CLASSES:
        raise UsageError(
            f"{one_line(path)}: labels must be 0 to {NUM_CLASSES - 1}, got {labels[labels >= NUM_CLASSES].min()}"
        )
    images = rows[:, 1:].reshape(-1, NUM_CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return numpy.ascontiguousarray(images), labels
