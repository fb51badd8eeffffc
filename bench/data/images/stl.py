"""STL-10 from the folder of its binary version. Source: Coates, Ng & Lee 2011."""

from __future__ import annotations

import os
from pathlib import Path

import numpy

from bench.data.text.sources import one_line
from bench.errors import UsageError

NUM_CLASSES = 10
SIDE, NUM_CHANNELS = 96, 3
NUM_VALUES = NUM_CHANNELS * SIDE * SIDE
UNLABELLED = "unlabeled_X.bin"

Labelled = tuple[numpy.ndarray, numpy.ndarray]  # images (N, 96, 96, 3) uint8, labels (N,) int64 from 0


def is_stl(folder: Path) -> bool:
    """Whether a folder holds any of the files that tell it from CIFAR-10."""
    return any(os.path.isfile(folder / name) for name in ("train_X.bin", "test_X.bin", UNLABELLED))


def read_stl(folder: Path) -> tuple[Labelled, Labelled, numpy.ndarray | None]:
    """The 5,000 images to train on, the 8,000 to test on, and the unlabelled ones if their file is there.

    Images are views of the files, read when they are looked at. Raises UsageError if a file is missing or damaged.
    """
    train, test = (_labelled(folder, name) for name in ("train", "test"))
    return train, test, _images(folder / UNLABELLED) if (folder / UNLABELLED).exists() else None


def _labelled(folder: Path, name: str) -> Labelled:
    images_path, labels_path = folder / f"{name}_X.bin", folder / f"{name}_y.bin"
    images = _images(images_path)
    try:
        labels = numpy.fromfile(labels_path, dtype=numpy.uint8).astype(numpy.int64)
    except OSError as error:
        raise UsageError(f"{one_line(labels_path)}: can't be read: {error.strerror}") from error
    if len(labels) != len(images):
        raise UsageError(
            f"{one_line(labels_path)}: {len(labels):,} labels, must be as many as the images of {images_path.name}, "
            f"{len(images):,}"
        )
    if bad := [int(label) for label in labels if not 1 <= label <= NUM_CLASSES]:
        raise UsageError(f"{one_line(labels_path)}: labels must be 1 to {NUM_CLASSES}, got {bad[0]}")
    return images, labels - 1


def _images(path: Path) -> numpy.ndarray:
    """(N, 96, 96, 3), of a file that holds each image channel by channel, each channel column by column."""
    try:
        size = path.stat().st_size
        if not size or size % NUM_VALUES:
            raise UsageError(f"{one_line(path)}: {size:,} bytes, must be a multiple of {NUM_VALUES:,} (an image)")
        values = numpy.memmap(path, dtype=numpy.uint8, mode="r")
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error
    return values.reshape(-1, NUM_CHANNELS, SIDE, SIDE).transpose(0, 3, 2, 1)
